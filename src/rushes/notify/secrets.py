"""Signing secrets of outgoing webhooks: derived, one per account, and nothing of them is stored.

HKDF-SHA256 (RFC 5869) turns the operator's secret, the account's id and the version of its secret into the
account's own `whsec_…`: knowing one account's secret tells nothing of another's, and a copy of the database
tells none. While a secret is being changed, by the account or by the operator, deliveries carry the
signatures of the new one and of the old one.
"""

import base64
from dataclasses import dataclass, field
from typing import TypeAlias

from rushes.domain.secrets import derived_key
from rushes.store.deliveries import DeliveryName
from rushes.store.webhook_keys import KeyVersions

SecretOwner: TypeAlias = int | str
"""An account's id, or the public id of one of its endpoints, which has a secret of its own."""


def webhook_secret(operator_secret: str, owner: SecretOwner, version: int = 1) -> str:
    """The owner's secret of that version in the form of Standard Webhooks: `whsec_` and base64."""
    kind = "account" if isinstance(owner, int) else "endpoint"
    purpose = f"webhook:{kind}:{owner}" + (f":{version}" if version > 1 else "")
    return f"whsec_{base64.b64encode(derived_key(operator_secret.encode(), purpose)).decode()}"


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """The operator's secret and, while it is being changed, the one before."""

    operator_secret: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)

    def current(self, owner: SecretOwner, versions: KeyVersions) -> str:
        """What a receiver should verify with."""
        return webhook_secret(self.operator_secret, owner, versions.current)

    def older(self, owner: SecretOwner, versions: KeyVersions) -> list[str]:
        """What receivers may still verify with; at most three, the likeliest first."""
        found = [] if versions.previous is None else [(self.operator_secret, versions.previous)]
        if self.previous is not None:
            found += [(self.previous, version) for version in versions.all]
        return [webhook_secret(secret, owner, version) for secret, version in found]

    def all(self, owner: SecretOwner, versions: KeyVersions) -> list[str]:
        """All that a delivery is signed with, the current one first."""
        return [self.current(owner, versions), *self.older(owner, versions)]


def webhook_id(batch_public_id: str, seq: int) -> str:
    """The `webhook-id` of an event's delivery: the same however often it is sent, by whichever process."""
    return f"msg_{batch_public_id}_{seq}"


def delivery_id(batch_public_id: str, seq: int, endpoint: str | None) -> str:
    """The name of a delivery: its `webhook-id`, and the endpoint if its account manages it."""
    return webhook_id(batch_public_id, seq) + ("" if endpoint is None else f"-{endpoint}")


def named_by_delivery_id(text: str) -> DeliveryName | None:
    """What a delivery's id names, or None for any other text."""
    message_id, dash, endpoint = text.partition("-")
    event = event_of_webhook_id(message_id)
    return None if event is None or (dash and not endpoint) else DeliveryName(*event, endpoint or None)


def event_of_webhook_id(text: str) -> tuple[str, int] | None:
    """The batch and event number that a `webhook-id` names, or None for any other text."""
    prefix, _, rest = text.partition("_")
    batch_public_id, _, digits = rest.rpartition("_")
    if prefix != "msg" or not batch_public_id or not digits.isascii() or not digits.isdecimal():
        return None
    return (batch_public_id, int(digits)) if len(digits) <= 15 else None
