"""Signatures of services' callbacks, by the Standard Webhooks scheme."""

from collections.abc import Mapping

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError, WebhookVerificationError

from rushes.domain.errors import SettingsError


class CallbackSignature:
    """Checks callbacks with the service's secret; without one, every callback passes.

    Callbacks are nudges whatever they say: a signature keeps strangers from causing polls, even those who
    have seen a callback's address. Raises `SettingsError` for a secret that cannot be one.
    """

    def __init__(self, secret: str, variable: str) -> None:
        try:
            self._webhook = Webhook(secret) if secret else None
        except (ValueError, EmptyWebhookSecretError):
            raise SettingsError(f"{variable} is no secret of Standard Webhooks: whsec_ and Base64") from None

    def is_genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the service signed this body a few minutes ago at most."""
        if self._webhook is None:
            return True
        try:
            self._webhook.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError):
            return False
        return True
