"""Whose an API key is, remembered for a moment."""

import asyncio
import contextlib
from collections import OrderedDict
from typing import Final

from rushes.domain.api_key import api_key_hash, is_api_key
from rushes.domain.errors import StoreError
from rushes.store import keys
from rushes.store.database import Database
from rushes.store.keys import KeyOwner

REMEMBERED_SECONDS: Final = 1.0
"""How long a key's owner is known without asking the database: so soon a revoked key stops working. Answers
under way end as soon, see `open_answers`."""

KEYS_REMEMBERED_MAX: Final = 10_000

NOTE_SECONDS: Final = 60.0
"""How often at most this process notes that a key was used."""


class KeyRing:
    """Finds the owners of API keys; remembers each for a moment, by the key's hash."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, tuple[KeyOwner | None, float]] = OrderedDict()
        self._noted: dict[int, float] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def owner_of(self, key: str) -> KeyOwner | None:
        """The owner, unless the key is nobody's or was revoked."""
        key_hash = api_key_hash(key)
        now = asyncio.get_running_loop().time()
        known = self._known.get(key_hash)
        if known is not None and now < known[1]:
            return known[0]
        if not is_api_key(key):
            return None
        owner = await self._database.read(keys.owner_if_valid, key_hash)
        self._known[key_hash] = (owner, now + REMEMBERED_SECONDS)
        self._known.move_to_end(key_hash)
        while len(self._known) > KEYS_REMEMBERED_MAX:
            self._known.popitem(last=False)
        return owner

    def used(self, key_id: int, *, now_ms: int) -> None:
        """Note beside the request that the key was used, unless that was done a moment ago."""
        now = asyncio.get_running_loop().time()
        if now < self._noted.get(key_id, 0.0):
            return
        if len(self._noted) >= KEYS_REMEMBERED_MAX:
            self._noted.clear()
        self._noted[key_id] = now + NOTE_SECONDS
        task = asyncio.create_task(self._note(key_id, now_ms))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _note(self, key_id: int, now_ms: int) -> None:
        with contextlib.suppress(StoreError):
            await self._database.transact(keys.mark_used, key_id, now_ms=now_ms)
