"""Work through `Rushes`: a worker in this process, and what there is for workers to do."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from rushes.concurrency import until_stopped
from rushes.database_wiring import wall_clock_ms
from rushes.domain.errors import DatabaseUnreachable, NotAuthorised, StoreError
from rushes.domain.input.auto import AUTO
from rushes.domain.task import PollResult
from rushes.library.batches import WithBatches
from rushes.library.last_look import last_look
from rushes.provider_wiring import require_providers
from rushes.read import holding
from rushes.read.installation import troubles, workers
from rushes.read.installation.sizes import Sizes, sizes
from rushes.run.process import WorkerProcess
from rushes.run.worker import Worker
from rushes.store import archive, batches
from rushes.store.acceptance import verdicts
from rushes.wiring import (
    build_worker_process,
    poll_remote_task,
    require_strong_secrets,
)

WATCH_SECONDS = 0.25
"""How often `Rushes.run` looks at the batch's row."""

KEY_REFUSED_SECONDS = 45.0
"""How long `Rushes.run` goes on under a refused key while tasks are in flight: past the next trial submit."""

FAILOVER_SECONDS = 15.0
"""The same while what waits may yet go to another model of its alias: several looks of the failover."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A batch as `Rushes.run` sees it; `due_count` and `unjudged_count` are of files it waits for.

    `refusal` says why no open task can go on, and `patience_seconds` how long that must last.
    """

    batch: dict[str, Any]
    files: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    due_count: int = 0
    unjudged_count: int = 0
    troubles: dict[str, str] = field(default_factory=dict)
    refusal: str | None = None
    patience_seconds: float = 0.0

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left, as far as the database has just said."""
        open_count = self.batch["pending_count"] + self.batch["processing_count"]
        return open_count + self.due_count + self.unjudged_count == 0 and "database" not in self.troubles


class WithWork(WithBatches):
    """The worker, and what is open."""

    def worker(self) -> Worker:
        """A worker for all providers that have a key; raises `SettingsError` when none has."""
        return self.worker_process().worker

    def worker_process(self) -> WorkerProcess:
        """A worker for all providers that have a key, and what fetches the files of its successes."""
        require_strong_secrets(self.settings, self.database)
        providers = require_providers(self.settings)
        self._providers.append(providers)
        return build_worker_process(self.settings, self.database, providers)

    async def run(
        self,
        batch_id: str,
        *,
        stop: asyncio.Event | None = None,
        on_progress: Callable[[dict[str, Any], dict[str, str]], None] | None = None,
    ) -> dict[str, Any]:
        """Work until the batch and its files are finished, or `stop` is set; returns it as it then is.

        If the database does not answer within `LAST_LOOK_SECONDS` at the end, it is returned as last seen;
        raises `DatabaseUnreachable` when it was never seen.

        A file counts as dealt with when it is stored, or refused, or its link is dead; with a gate each
        clip also has its verdict.

        `on_progress(batch, troubles)` is called a few times a second, with the batch, its `files` and its
        `verdicts` (see `batch_files` and `batch_verdicts`); `troubles` says which providers are held or
        paused, or that the database or the archive is in trouble, and why. Raises `NotAuthorised` when
        nothing can go on because the providers of all open tasks refuse the key; those tasks stay as
        they are.
        """
        process = self.worker_process()
        stop, ending = stop or asyncio.Event(), asyncio.Event()
        seen: dict[str, Any] | None = None
        refusal: str | None = None

        async def end_when_stopped() -> None:
            await stop.wait()
            ending.set()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(process.run(ending))
                stopping = group.create_task(end_when_stopped())
                try:
                    seen, refusal = await self._follow(batch_id, process, stop, on_progress)
                finally:
                    stopping.cancel()
                    ending.set()
        except ExceptionGroup as errors:
            raise _first_of(errors) from None
        if refusal is not None:
            raise NotAuthorised(refusal)
        seen = await last_look(self.batch(batch_id), seen)
        if seen is None:
            raise DatabaseUnreachable("the database did not answer before the stop")
        return seen

    async def _follow(
        self,
        batch_id: str,
        process: WorkerProcess,
        stop: asyncio.Event,
        on_progress: Callable[[dict[str, Any], dict[str, str]], None] | None,
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Report progress until the batch is finished or `stop` is set, or nothing can go on.

        Returns the batch as last seen (None when the stop came first), and why nothing can go on.
        """
        now = asyncio.get_running_loop().time
        refused_at: float | None = None
        batch = await until_stopped(stop, self.batch(batch_id))
        if batch is None:
            return None, None
        look = _Look(batch)
        while not stop.is_set():
            troubles = process.worker.provider_troubles()
            try:
                found = await until_stopped(stop, self._look(batch_id, process, troubles))
                if found is None:
                    break
                look = found
            except StoreError as error:  # the worker rides out a database that is away for a while
                look = replace(look, troubles=troubles | {"database": error.message}, refusal=None)
            if on_progress is not None:
                on_progress(look.batch | {"files": look.files, "verdicts": look.verdicts}, look.troubles)
            if look.is_finished:
                break
            refused_at = None if look.refusal is None else refused_at or now()
            if refused_at is not None and now() - refused_at >= look.patience_seconds:
                return look.batch, look.refusal
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await stop.wait()
        return look.batch, None

    async def _look(self, batch_id: str, process: WorkerProcess, troubles: Mapping[str, str]) -> _Look:
        """The batch now, with the providers' `troubles` and those that the database tells of."""
        batch = await self.batch(batch_id)
        refused = process.worker.key_refusals()
        refusal = await self._key_refusal(batch_id, refused)
        patience_seconds = await self._patience_seconds(batch, refused) if refusal else 0.0
        files, reason = await self.database.read(archive.files_of_batch, batch_id)
        judged = await self.database.read(verdicts.counts_of_batch, batch_id)
        found = dict(troubles)
        if batch["pending_count"] and not batch["processing_count"] and not found:
            found |= {
                item["model"]: f"held: {item['held_reason']}"
                for item in await self.items(batch_id, status="pending", limit=1)
                if item["held_reason"]
            }
        archiver = process.archiver
        if archiver is not None and files["due"]:
            why = archiver.trouble or reason
            found |= {} if why is None else {"archive": why}
        return _Look(
            batch=batch,
            files=files,
            verdicts=judged,
            # those that a process without an archive has left due are not this one's to wait for
            due_count=0 if archiver is None else files["due"],
            unjudged_count=0 if archiver is None else judged.get("open", 0),
            troubles=found,
            refusal=refusal,
            patience_seconds=patience_seconds,
        )

    async def _key_refusal(self, batch_id: str, refused: Mapping[str, str]) -> str | None:
        """Why no open task of the batch can go on, if that is because of the key."""
        if not refused:
            return None
        providers = await self.database.read(workers.open_providers, batch_id)
        if AUTO in providers:  # any of them may be chosen
            now = wall_clock_ms() / 1000
            live = {model.provider for model in self.catalogue if model.takes_new_tasks(now)}
            providers = (providers - {AUTO}) | live
        if not providers or not providers <= refused.keys():  # of a finished batch only files are waited for
            return None
        return "; ".join(f"{name}: {why}" for name, why in sorted(refused.items()))

    async def _patience_seconds(self, batch: Mapping[str, Any], refused: Mapping[str, str]) -> float:
        """How long a refusal must last before the batch is given up."""
        if batch["processing_count"]:
            return KEY_REFUSED_SECONDS
        for name in await self.database.read(workers.open_aliases, batch["batch_id"]):
            alias = self.catalogue.find_alias(name)
            others = () if alias is None else alias.next_models(wall_clock_ms() / 1000)
            if any(model.provider not in refused for model in others):
                return FAILOVER_SECONDS
        return 0.0

    async def poll(self, provider: str, remote_task_id: str) -> PollResult:
        """Ask a provider once about a remote task; see `poll_remote_task`."""
        return await poll_remote_task(self.settings, provider, remote_task_id)

    async def troubles(self, batch_id: str | None = None) -> list[dict[str, Any]]:
        """Answers about open tasks, of all batches or one, that were not understood; see `TroubleGroup`."""

        def run(connection: Connection) -> list[dict[str, Any]]:
            row_id = None if batch_id is None else batches.batch_row_id(connection, batch_id)
            groups = troubles.trouble_groups(connection, wall_clock_ms(), batch_id=row_id)
            return [group.as_dict() | {"text": group.text} for group in groups]

        return await self.database.read(run)

    async def held_tasks(self) -> list[dict[str, Any]]:
        """What waits and is not sent for now, by model: `provider, model, count, reason`."""
        return await self.database.read(holding.held_tasks, self.catalogue, wall_clock_ms())

    async def open_task_count(self) -> int:
        """Tasks of all batches that have no final status yet."""
        return await self.database.read(workers.open_task_count)

    async def due_file_count(self) -> int:
        """Files of all batches that are still to be fetched; none where none are kept."""
        if self.settings.archive_place is None:
            return 0
        return await self.database.read(archive.due_count)

    async def sizes(self) -> Sizes:
        """How large the database and the archive are, and how fast they grow."""
        return await self.database.read(sizes, now_ms=wall_clock_ms())

    async def live_workers(self) -> list[dict[str, Any]]:
        """Workers with a valid lease: `worker_id, host, pid, started_at, lease_expires_at, report`."""
        return await self.database.read(workers.live_workers, now_ms=wall_clock_ms())


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is not a group."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
