"""Keeping the database small: finished batches past their retention are folded away, a few at a time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rushes import telemetry
from rushes.concurrency import until_stopped
from rushes.domain.errors import RushesError
from rushes.money.folding import Folded, fold_some
from rushes.store.database import Database
from rushes.store.retention import folds

PASS_SECONDS = 600.0
"""How often a worker looks for what is past its retention."""

DAY_MS = 86_400_000

log = telemetry.logger()


@dataclass(slots=True)
class Pruned:
    """What was folded, or would be: batches, their tasks, ledger entries; and what kept videos hold back."""

    batches: int = 0
    tasks: int = 0
    entries: int = 0
    kept_for_videos: int = 0


async def prune(
    database: Database,
    key: Ed25519PrivateKey,
    *,
    before_ms: int,
    now_ms: Callable[[], int],
    account: str | None = None,
    rest: float = 0.2,
    on_step: Callable[[Pruned], None] = lambda _so_far: None,
) -> Pruned:
    """Fold what was finalized before then, of one account or all; `rest` is the pause after each step.

    A step is one short transaction; the pause is a multiple of the time that it took, in which others write.
    What was interrupted resumes with the next call. Raises `BatchUnsound` at the first books that are wrong.
    """
    done = Pruned()
    for account_id, name in await database.read(folds.accounts):
        if account not in (None, name):
            continue
        after = 0
        while True:
            started = time.monotonic()
            step: Folded = await database.transact(
                fold_some, account_id, key, before_ms=before_ms, after_batch_id=after, now_ms=now_ms()
            )
            if not (step.batches or step.entries or step.last_batch_id):
                break
            after = step.last_batch_id or after
            done.batches += step.batches
            done.tasks += step.tasks
            done.entries += step.entries
            on_step(done)
            await asyncio.sleep(rest * (time.monotonic() - started))
        _, _, kept = await database.read(folds.foldable_totals, account_id, before_ms=before_ms)
        done.kept_for_videos += kept
    return done


async def would_prune(database: Database, *, before_ms: int, account: str | None = None) -> Pruned:
    """What `prune` would fold; of ledger entries nothing is said."""
    found = Pruned()
    for account_id, name in await database.read(folds.accounts):
        if account in (None, name):
            batches, tasks, kept = await database.read(folds.foldable_totals, account_id, before_ms=before_ms)
            found.batches, found.tasks = found.batches + batches, found.tasks + tasks
            found.kept_for_videos += kept
    return found


class Keeper:
    """Prunes beside a worker, for as long as it runs."""

    def __init__(
        self,
        database: Database,
        *,
        signing_key: Callable[[], Ed25519PrivateKey],
        keep_days: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._signing_key = signing_key
        self._keep_ms = int(keep_days * DAY_MS)
        self._now_ms = now_ms

    async def run(self, stop: asyncio.Event) -> None:
        """Fold what is past its retention, now and every ten minutes, until `stop` is set."""
        while not stop.is_set():
            try:
                key = await asyncio.to_thread(self._signing_key)
                before_ms = self._now_ms() - self._keep_ms
                # a stop ends it between two steps, or after the one in hand
                gone = await until_stopped(
                    stop, prune(self._database, key, before_ms=before_ms, now_ms=self._now_ms, rest=2.0)
                )
                if gone is None:
                    return
                if gone.batches or gone.entries:
                    log.info(
                        telemetry.BATCHES_FOLDED, batches=gone.batches, tasks=gone.tasks, entries=gone.entries
                    )
            except RushesError as error:  # nothing of it is lost; the audit names what is wrong
                log.error(telemetry.FOLDING_TROUBLE, error=error.message)
            await until_stopped(stop, asyncio.sleep(PASS_SECONDS))
