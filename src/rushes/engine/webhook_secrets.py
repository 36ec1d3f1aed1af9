"""Signing secrets of outgoing webhooks: derived, one per account, and nothing of them is stored.

HKDF-SHA256 (RFC 5869) turns the operator's secret and the account's id into the account's own `whsec_…`:
knowing one account's secret tells nothing of another's, and a copy of the database tells none. A new
operator's secret gives every account a new one.
"""

import base64

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES = 32


def webhook_secret(operator_secret: str, account_id: int) -> str:
    """The account's secret in the form of Standard Webhooks: `whsec_` and base64."""
    derived = HKDF(
        algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=f"webhook:account:{account_id}".encode()
    ).derive(operator_secret.encode())
    return f"whsec_{base64.b64encode(derived).decode()}"


def webhook_id(batch_public_id: str, seq: int) -> str:
    """The `webhook-id` of an event's delivery: the same however often it is sent, by whichever process."""
    return f"msg_{batch_public_id}_{seq}"


def event_of_webhook_id(text: str) -> tuple[str, int] | None:
    """The batch and event number that a `webhook-id` names, or None for any other text."""
    prefix, _, rest = text.partition("_")
    batch_public_id, _, digits = rest.rpartition("_")
    if prefix != "msg" or not batch_public_id or not digits.isascii() or not digits.isdecimal():
        return None
    return (batch_public_id, int(digits)) if len(digits) <= 15 else None
