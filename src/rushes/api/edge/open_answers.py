"""Answers that go on for long, by the key that they were asked with: they end when the key is revoked."""

import asyncio
from typing import Final

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.store import keys
from rushes.store.database import Database

LOOK_SECONDS: Final = 0.5
"""How often the keys of open answers are looked up. With the time that a key is remembered, a revoked key is
refused within two seconds, in every process."""

log = telemetry.logger()


class OpenAnswers:
    """The requests of this process that only read, by their key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._of_key: dict[int, dict[asyncio.Task[object], asyncio.Event]] = {}

    def hold(self, key_id: int, revoked: asyncio.Event) -> None:
        """The current task answers a request of this key, until it is done.

        `revoked` is set before the task is cancelled for it.
        """
        task = asyncio.current_task()
        assert task is not None
        self._of_key.setdefault(key_id, {})[task] = revoked
        task.add_done_callback(lambda done: self._forget(key_id, done))

    async def run(self) -> None:
        """End the answers of revoked keys, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._of_key:
                continue
            try:
                revoked = await self._database.read(keys.revoked_among, list(self._of_key))
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                continue
            for key_id in revoked:
                for task, was_revoked in list(self._of_key.get(key_id, {}).items()):
                    was_revoked.set()
                    task.cancel()

    def _forget(self, key_id: int, task: asyncio.Task[object]) -> None:
        tasks = self._of_key[key_id]
        tasks.pop(task, None)
        if not tasks:
            del self._of_key[key_id]
