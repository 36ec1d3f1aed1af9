"""Who is signed in to the portal: a cookie with the number of an API key, signed; never the key itself."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from rushes.domain.api_key import api_key_hash, is_api_key
from rushes.domain.secrets import derived_key
from rushes.store import keys
from rushes.store.database import Database
from rushes.store.keys import KeyOwner

TICKET_SECONDS: Final = 12 * 3600
PURPOSE: Final = "portal tickets"
TICKET_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Tickets:
    """Makes and reads tickets. A ticket ends with its time, and at once when its key is revoked."""

    secret: bytes
    database: Database

    async def for_key(self, key: str, *, now_ms: int) -> str | None:
        """A ticket for whoever has this key; None when it is wrong or was revoked."""
        if not is_api_key(key):
            return None
        owner = await self.database.read(keys.owner_if_valid, api_key_hash(key))
        if owner is None:
            return None
        name = f"{owner.key_id}-{now_ms // 1000 + TICKET_SECONDS}"
        return f"{name}-{self._mac(name)}"

    async def owner_of(self, ticket: str, *, now_ms: int) -> KeyOwner | None:
        """Whose ticket it is; None for one that has ended, and for any other text."""
        if len(ticket) > TICKET_CHARACTERS_MAX or not ticket.isascii():
            return None
        name, _, mac = ticket.rpartition("-")
        if not hmac.compare_digest(mac, self._mac(name)):
            return None
        key_id, _, ends_at = name.partition("-")
        if now_ms >= int(ends_at) * 1000:
            return None
        return await self.database.read(keys.owner_by_id_if_valid, int(key_id))

    def _mac(self, name: str) -> str:
        return hmac.new(derived_key(self.secret, PURPOSE), name.encode(), hashlib.sha256).hexdigest()
