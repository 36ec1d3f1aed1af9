"""The library's front door: `Rushes`, which the command line stands on."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from sqlalchemy import Connection

from rushes.at_once import at_once
from rushes.client.downloads import folder_at, write_manifest
from rushes.domain.archive import Retention
from rushes.domain.credits import LotKind
from rushes.domain.downloads import DEFAULT_NAMES, DownloadedFile, Manifest, file_names, manifest_of
from rushes.domain.errors import (
    ArchiveUnavailable,
    InputError,
    NotAuthorised,
    NotFound,
    SettingsError,
    StoreError,
)
from rushes.domain.prompts import Defaults, TaskDraft, drafts_from_objects, validate_drafts
from rushes.domain.retries import read_policy
from rushes.domain.task import PollResult, TaskStatus
from rushes.engine import (
    accept,
    archive_upkeep,
    audit,
    holding,
    operator_reads,
    overview,
    pass_rates,
    tries,
    views,
)
from rushes.engine.audit_heads import LedgerHead
from rushes.engine.crew import Crew
from rushes.engine.downloads import PARALLEL_MAX
from rushes.engine.holding import held_reasons
from rushes.engine.retries import retry_all
from rushes.engine.worker import Worker
from rushes.settings import Settings
from rushes.store import archive, batches, ledger, migrate
from rushes.store.objects import ObjectStore
from rushes.store.retries import ask_for
from rushes.wiring import (
    Providers,
    build_crew,
    build_downloader,
    new_batch_id,
    open_database,
    poll_remote_task,
    require_providers,
    wall_clock_ms,
)

DEFAULT_ACCOUNT = "default"

WATCH_SECONDS = 0.25
"""How often `Rushes.run` looks at the batch's row."""

KEY_REFUSED_SECONDS = 45.0
"""How long `Rushes.run` goes on under a refused key while tasks are in flight: past the next trial submit."""


def _route_logs() -> None:
    """Give log lines to the standard `logging` (name `rushes`), unless the program has set structlog up."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


class _GrantedTwice(Exception):
    """The request id was used before, so the grant that came with it must not be stored again."""


class Rushes:
    """Batches, credits and the worker, over one database: what the command line does, as a library.

        async with Rushes() as rushes:
            await rushes.grant(100)
            batch = await rushes.create_batch([{"prompt": "a paper boat"}], model="sora-2")
            batch = await rushes.run(batch["batch_id"])

    Answers are dictionaries with the field names of the HTTP API. Every method may raise a `RushesError`.
    """

    def __init__(self, settings: Settings | None = None, *, migrated: bool = True) -> None:
        _route_logs()
        self.settings = settings or Settings.load()
        self.catalogue = self.settings.catalogue()
        self.database = open_database(self.settings)
        self._migrates = migrated
        self._providers: list[Providers] = []

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.prepare)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def prepare(self) -> None:
        """Bring the database to this version's schema."""
        if self._migrates:
            self.migrate()
        else:
            self.database.run_reading(migrate.require_current)

    async def aclose(self) -> None:
        """Release the connections to providers, and close the database."""
        for providers in self._providers:
            await providers.close()
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def schema_revisions(self) -> tuple[str | None, str]:
        """The database's revision (None when it is empty) and the one that this version needs."""
        return self.database.run_reading(migrate.current), migrate.head()

    def migrate(self) -> tuple[str | None, str]:
        """Bring the database to this version's schema; returns the revisions before and after."""
        return migrate.upgrade(self.database)

    # --- credits --------------------------------------------------------------------------------------

    async def grant(
        self,
        amount: int,
        *,
        account: str = DEFAULT_ACCOUNT,
        kind: LotKind = LotKind.PERMANENT,
        expires_at_ms: int | None = None,
        description: str = "",
    ) -> dict[str, Any]:
        """Give an account credits, making it when it is new; returns its balance."""
        now_ms = wall_clock_ms()

        def run(connection: Connection) -> None:
            ledger.grant(
                connection,
                ledger.ensure_account(connection, account, now_ms),
                amount,
                now_ms=now_ms,
                kind=kind,
                expires_at_ms=expires_at_ms,
                description=description,
            )

        await self.database.transact(run)
        return await self.balance(account)

    async def balance(self, account: str = DEFAULT_ACCOUNT) -> dict[str, Any]:
        """`available, reserved, total, lots` of an account."""
        return await self.database.read(views.balance, account, now_ms=wall_clock_ms())

    async def ledger(
        self, account: str = DEFAULT_ACCOUNT, *, limit: int = 100, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The account's ledger entries, newest first."""
        return await self.database.read(views.ledger_entries, account, limit=limit, offset=offset)

    # --- batches --------------------------------------------------------------------------------------

    def drafts(
        self, items: Sequence[Mapping[str, Any] | str], *, model: str = "sora-2", **options: Any
    ) -> list[TaskDraft]:
        """Checked items: prompts, or objects with the fields of the HTTP API's items."""
        objects = [{"prompt": item} if isinstance(item, str) else item for item in items]
        return drafts_from_objects(objects, Defaults(model=model, options=options))

    async def create_batch(
        self,
        items: Sequence[TaskDraft] | Sequence[Mapping[str, Any] | str],
        *,
        account: str = DEFAULT_ACCOUNT,
        model: str = "sora-2",
        request_id: str | None = None,
        grant: int | None = None,
        retries: int | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Reserve the credits and accept the batch; returns it. Nothing is written when it is refused.

        `retries` is a number of re-rolls for each failed item, or the object of the HTTP API.

        `grant` gives the account that many credits in the same transaction. A `request_id` that was used
        before returns its batch, with `idempotent_replay`, and gives nothing.
        """
        drafts = [item for item in items if isinstance(item, TaskDraft)]
        if not drafts:
            objects = [item for item in items if not isinstance(item, TaskDraft)]
            drafts = self.drafts(objects, model=model, **options)
        elif len(drafts) != len(items):
            raise TypeError("items are all drafts or none")
        now_ms = wall_clock_ms()
        facts = [] if retries is None else [retries]
        try:
            priced = validate_drafts(drafts, self.catalogue, now_ms / 1000)
            policy = read_policy(retries, self.catalogue, priced, now_ms / 1000)
        except InputError:
            repeated = await self._replay_of(account, request_id, drafts, *facts)
            if repeated is None:
                raise
            return repeated
        tasks = accept.priced_tasks(priced)
        public_id = new_batch_id()

        def run(connection: Connection, credits: int | None) -> dict[str, Any]:
            account_id = ledger.ensure_account(connection, account, now_ms)
            if credits is not None:
                ledger.grant(connection, account_id, credits, now_ms=now_ms)
            request = accept.BatchRequest(
                account_id=account_id,
                request_scope=f"account:{account_id}",
                request_id=request_id or public_id,
                request_hash=accept.request_hash(drafts, *facts),
                tasks=tasks,
            )
            accepted = accept.accept_batch(connection, request, public_id=public_id, now_ms=now_ms)
            if accepted.idempotent_replay and credits is not None:
                raise _GrantedTwice
            if policy.max and not accepted.idempotent_replay:
                ask_for(connection, accepted.row["id"], policy)
            batch = views.batch_view(accepted.row, now_ms=now_ms)
            return batch | {"idempotent_replay": accepted.idempotent_replay}

        try:
            return await self.database.transact(run, grant)
        except _GrantedTwice:
            return await self.database.transact(run, None)

    async def _replay_of(
        self, account: str, request_id: str | None, drafts: Sequence[TaskDraft], *facts: object
    ) -> dict[str, Any] | None:
        """The batch that a request made before its model was retired, disabled or renamed, or None."""

        def run(connection: Connection) -> dict[str, Any] | None:
            try:
                account_id = ledger.account_id(connection, account)
            except NotFound:
                return None
            found = accept.find_replay(connection, f"account:{account_id}", request_id, drafts, *facts)
            if found is None:
                return None
            return views.batch_view(found.row, now_ms=wall_clock_ms()) | {"idempotent_replay": True}

        return await self.database.read(run)

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch with its `account`, and whether it `is_cancelled`."""
        return await self.database.read(operator_reads.batch_with_account, batch_id, now_ms=wall_clock_ms())

    async def batch_files(self, batch_id: str) -> dict[str, int]:
        """The files of the batch's successes by their state: `due, stored, expired, refused, removed`."""
        counts, _ = await self.database.read(archive.files_of_batch, batch_id)
        return counts

    async def list_batches(
        self, *, limit: int = 20, after: str | None = None, account: str | None = None
    ) -> list[dict[str, Any]]:
        """Batches with their `account`, newest first; of one account when it is named."""
        wanted = operator_reads.BatchFilter(account=account)
        found, _ = await self.database.read(
            operator_reads.batch_page, wanted, limit=limit, before=after, now_ms=wall_clock_ms()
        )
        return found

    async def items(
        self, batch_id: str, *, status: str | None = None, limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The batch's items, each with the fields of the API and of `views.EXPORT_FIELDS`."""

        def run(connection: Connection) -> list[dict[str, Any]]:
            row_id = batches.batch_row_id(connection, batch_id)
            rows = batches.list_items(connection, row_id, status=status, limit=limit, offset=offset)
            held = held_reasons(connection, rows, self.catalogue, wall_clock_ms())
            return [
                views.item_view(row, batch_public_id=batch_id, held_reason=held.get(row["id"]))
                | views.export_view(row, batch_public_id=batch_id)
                for row in rows
            ]

        return await self.database.read(run)

    async def attempts(self, batch_id: str, index: int) -> list[dict[str, Any]]:
        """Every attempt of an item, oldest first, with the fields of the API."""
        found = await self.database.read(tries.item_attempts, batch_id, index)
        attempts: list[dict[str, Any]] = found["attempts"]
        return attempts

    async def rerolls(self, batch_id: str) -> dict[str, Any]:
        """What a batch asked for when its items fail, and what its tries have come to."""
        return await self.database.read(tries.batch_rerolls, batch_id)

    async def model_stats(
        self, *, days: int = 7, prompts: int = 20, account: str | None = None
    ) -> dict[str, Any]:
        """Pass rates by model and by prompt, of the last days, of all accounts or of one."""

        def run(connection: Connection) -> dict[str, Any]:
            account_id = None if account is None else ledger.account_id(connection, account)
            return pass_rates.pass_rates(
                connection, days=days, prompts_max=prompts, account_id=account_id, now_ms=wall_clock_ms()
            )

        return await self.database.read(run)

    async def cancel(self, batch_id: str) -> dict[str, Any]:
        """Cancel what is not at the provider yet; returns `batch_id, status, credits_refunded`."""

        def run(connection: Connection) -> dict[str, Any]:
            row_id = batches.batch_row_id(connection, batch_id)
            refunded = accept.cancel_batch(connection, row_id, now_ms=wall_clock_ms())
            return {"batch_id": batch_id, "status": "cancelled", "credits_refunded": refunded}

        return await self.database.transact(run)

    async def retry(self, batch_id: str, indexes: Sequence[int] | None = None) -> dict[str, Any]:
        """Try failed items again (all of them by default), all or none; returns the batch."""

        def run(connection: Connection) -> dict[str, Any]:
            row_id = batches.batch_row_id(connection, batch_id)
            chosen = indexes
            if chosen is None:
                failed = batches.list_items(connection, row_id, status=TaskStatus.FAILED.value)
                chosen = [row["item_index"] for row in failed]
            retry_all(connection, row_id, chosen, now_ms=wall_clock_ms())
            return views.batch_view(batches.batch_row(connection, row_id), now_ms=wall_clock_ms())

        return await self.database.transact(run)

    async def audit(self, earlier: Sequence[LedgerHead] = ()) -> audit.AuditReport:
        """Replay the ledger against tasks and batches; an `earlier` report's heads must still be there."""
        return await self.database.read(audit.audit, earlier)

    # --- files ------------------------------------------------------------------------------------------

    async def download(
        self,
        batch_id: str,
        folder: str | Path,
        *,
        names: str = DEFAULT_NAMES,
        parallel: int = 8,
        on_file: Callable[[DownloadedFile], None] = lambda _line: None,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Manifest:
        """Copy the batch's videos into a folder, `parallel` at a time; see `domain.downloads.file_names`.

        What is there is kept, what broke off is gone on with. Items without a file are in the manifest with
        the reason, and stop nothing; the manifest is written to `BATCH_ID.manifest.json`. `on_file` hears
        of each item, `on_bytes` of how many bytes came. Raises `InputError` for names that escape or
        collide, before anything is written, and when the folder cannot be written to.
        """
        if not 1 <= parallel <= PARALLEL_MAX:
            raise InputError(f"must be 1 to {PARALLEL_MAX}", field="parallel")

        def read(connection: Connection) -> tuple[list[dict[str, Any]], dict[int, Mapping[str, Any]]]:
            rows = batches.list_items(connection, batches.batch_row_id(connection, batch_id))
            return rows, archive.files_of(connection, [row["id"] for row in rows])

        rows, archived = await self.database.read(read)
        items = [row | views.item_view(row, batch_public_id=batch_id) for row in rows]
        named = list(zip(items, file_names(names, items), strict=True))
        target = folder_at(folder)
        downloader = build_downloader(self.settings, target, on_bytes=on_bytes)
        lines: list[DownloadedFile] = []
        present = 0

        async def fetch(item_and_name: tuple[dict[str, Any], str]) -> None:
            nonlocal present
            item, name = item_and_name
            line, was_there = await downloader.download(item, archived.get(item["id"]), name)
            lines.append(line)
            present += was_there
            on_file(line)

        try:
            await at_once(min(parallel, len(named)), named, fetch)
        finally:
            await downloader.close()
            manifest = manifest_of(batch_id, lines, present=present)
            with contextlib.suppress(InputError) if len(lines) < len(items) else contextlib.nullcontext():
                write_manifest(manifest, target / f"{batch_id}.manifest.json")
        return manifest

    def objects(self) -> ObjectStore:
        """The archive's place; raises `SettingsError` where none is kept."""
        if self.settings.archive_place is None:
            raise SettingsError(
                "RUSHES_ARCHIVE_URL is none: no videos are kept here", variable="RUSHES_ARCHIVE_URL"
            )
        return ObjectStore(self.settings.archive_place)

    async def check_archive(self) -> None:
        """Write, read and delete a small object there; nothing where no videos are kept.

        Raises `ArchiveUnavailable`, saying what is in the way.
        """
        if self.settings.archive_place is not None:
            try:
                await self.objects().check(secrets.token_bytes(16))
            except ArchiveUnavailable as error:
                error.message += "; see RUSHES_ARCHIVE_URL (none keeps no videos)"
                raise

    async def archive_status(self) -> dict[str, Any]:
        """The archive in numbers: files by state, bytes, files at risk, and why files are not stored."""
        found = await self.database.read(archive_upkeep.status, now_ms=wall_clock_ms())
        return {"place": self.settings.archive_place, **found}

    async def verify_archive(
        self,
        *,
        account: str | None = None,
        on_file: Callable[[int, int], None] = lambda _files, _bytes: None,
    ) -> archive_upkeep.Verification:
        """Hash every stored video again; `on_file(files, bytes)` hears how far it is."""
        return await archive_upkeep.verify(self.database, self.objects(), account=account, on_file=on_file)

    async def prune_archive(
        self, *, days: float | None = None, account: str | None = None, dry_run: bool = False
    ) -> archive_upkeep.Pruned:
        """Remove stored files older than so many days, or than the settings say; of one account or all."""
        retention = self.settings.archive_retention if days is None else Retention(days)
        if not retention:
            raise SettingsError(
                "nothing says how long videos are kept: name an age, or set RUSHES_ARCHIVE_KEEP_DAYS"
            )
        if account is not None:
            await self.database.read(ledger.account_id, account)
        now_ms = wall_clock_ms()

        def cut_off_ms(name: str) -> int | None:
            return retention.cut_off_ms(name, now_ms) if account in (None, name) else None

        return await archive_upkeep.prune(self.database, self.objects(), cut_off_ms, dry_run=dry_run)

    # --- work -------------------------------------------------------------------------------------------

    def worker(self) -> Worker:
        """A worker for all providers that have a key; raises `SettingsError` when none has."""
        return self.crew().worker

    def crew(self) -> Crew:
        """A worker for all providers that have a key, and what fetches the files of its successes."""
        providers = require_providers(self.settings)
        self._providers.append(providers)
        return build_crew(self.settings, self.database, providers)

    async def run(
        self,
        batch_id: str,
        *,
        stop: asyncio.Event | None = None,
        on_progress: Callable[[dict[str, Any], dict[str, str]], None] | None = None,
    ) -> dict[str, Any]:
        """Work until the batch and its files are finished, or `stop` is set; returns it as it then is.

        A file counts as dealt with when it is stored, or refused, or its link is dead.

        `on_progress(batch, troubles)` is called a few times a second, with the batch and its `files` (see
        `batch_files`); `troubles` says which providers are held or paused, or that the database or the
        archive is in trouble, and why. Raises `NotAuthorised` when nothing
        can go on because the providers of all open tasks refuse the key; those tasks stay as they are.
        """
        crew = self.crew()
        stop = stop or asyncio.Event()
        refusal: str | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(crew.run(stop))
                try:
                    refusal = await self._follow(batch_id, crew, stop, on_progress)
                finally:
                    stop.set()
        except ExceptionGroup as errors:
            raise _first_of(errors) from None
        if refusal is not None:
            raise NotAuthorised(refusal)
        return await self.batch(batch_id)

    async def _follow(
        self,
        batch_id: str,
        crew: Crew,
        stop: asyncio.Event,
        on_progress: Callable[[dict[str, Any], dict[str, str]], None] | None,
    ) -> str | None:
        """Report progress until the batch is finished or `stop` is set; else why nothing can go on."""
        now = asyncio.get_running_loop().time
        refused_at: float | None = None
        batch = await self.batch(batch_id)
        files, due_count = dict[str, int](), 0
        while True:
            troubles = crew.worker.provider_troubles()
            try:
                batch = await self.batch(batch_id)
                refusal = await self._key_refusal(batch_id, crew.worker.key_refusals())
                files, reason = await self.database.read(archive.files_of_batch, batch_id)
                if batch["pending_count"] and not batch["processing_count"] and not troubles:
                    troubles |= {
                        item["model"]: f"held: {item['held_reason']}"
                        for item in await self.items(batch_id, status="pending", limit=1)
                        if item["held_reason"]
                    }
                # those that a process without an archive has left due are not this one's to wait for
                due_count = 0 if crew.archiver is None else files["due"]
                if crew.archiver is not None and due_count:
                    why = crew.archiver.trouble or reason
                    troubles |= {} if why is None else {"archive": why}
            except StoreError as error:  # the worker rides out a database that is away for a while
                troubles["database"] = error.message
                refusal = None
            if on_progress is not None:
                on_progress(batch | {"files": files}, troubles)
            open_count = batch["pending_count"] + batch["processing_count"]
            if stop.is_set() or (open_count == 0 and due_count == 0 and "database" not in troubles):
                return None
            refused_at = None if refusal is None else refused_at or now()
            if refused_at is not None and (
                batch["processing_count"] == 0 or now() - refused_at > KEY_REFUSED_SECONDS
            ):
                return refusal
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await stop.wait()

    async def _key_refusal(self, batch_id: str, refused: Mapping[str, str]) -> str | None:
        """Why no open task of the batch can go on, if that is because of the key."""
        if not refused or not await self.database.read(overview.open_providers, batch_id) <= refused.keys():
            return None
        return "; ".join(f"{name}: {why}" for name, why in sorted(refused.items()))

    async def poll(self, provider: str, remote_task_id: str) -> PollResult:
        """Ask a provider once about a remote task; see `poll_remote_task`."""
        return await poll_remote_task(self.settings, provider, remote_task_id)

    async def held_tasks(self) -> list[dict[str, Any]]:
        """What waits and is not sent for now, by model: `provider, model, count, reason`."""
        return await self.database.read(holding.held_tasks, self.catalogue, wall_clock_ms())

    async def open_task_count(self) -> int:
        """Tasks of all batches that have no final status yet."""
        return await self.database.read(overview.open_task_count)

    async def due_file_count(self) -> int:
        """Files of all batches that are still to be fetched; none where none are kept."""
        if self.settings.archive_place is None:
            return 0
        return await self.database.read(archive.due_count)

    async def live_workers(self) -> list[dict[str, Any]]:
        """Workers with a valid lease: `worker_id, host, pid, started_at, lease_expires_at, report`."""
        return await self.database.read(overview.live_workers, now_ms=wall_clock_ms())


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is not a group."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
