"""Batches through `Rushes`: made, read, cancelled, retried."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from rushes.database_wiring import new_batch_id, wall_clock_ms
from rushes.domain.acceptance.best_of import Acceptance, BestOf, read_acceptance
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.errors import (
    InputError,
    InsufficientCredits,
)
from rushes.domain.input.auto import NO_BOUNDS, AutoRule, read_auto
from rushes.domain.input.duplicates import duplicates
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import Defaults, TaskDraft, check_request_id, drafts_from_objects
from rushes.domain.retries import RetryPolicy, read_policy
from rushes.files.due import recording_successes
from rushes.files.uploads import GivenUploads, check_file, check_given_files, upload_view
from rushes.library.opened import DEFAULT_ACCOUNT
from rushes.library.reading import Reading
from rushes.money import accept as accepting
from rushes.money import adoption
from rushes.money.retry import retry_all, retry_failed
from rushes.money.settle import BeforeClosing
from rushes.providers.answers import is_remote_task_id
from rushes.read.acceptance.expected import expected
from rushes.read.quotes import bought_before
from rushes.store import batches, ledger
from rushes.store.tasks.items import failed_indexes
from rushes.wiring import (
    gate_rules,
    poll_where_sent,
)

LOGGED_ITEMS_MAX = 100
"""Items of one act that the log of actions names."""


def _raised(refused: InputError) -> dict[str, Any]:
    raise refused


class _GrantedTwice(Exception):
    """The request id was used before, so the grant that came with it must not be stored again."""


class WithBatches(Reading):
    """Batches and their items."""

    def drafts(
        self, items: Sequence[Mapping[str, Any] | str], *, model: str | None = None, **options: Any
    ) -> list[TaskDraft]:
        """Checked items: prompts, or objects with the fields of the HTTP API's items.

        Without a `model`, items that name none get the catalogue's default.
        """
        objects = [{"prompt": item} if isinstance(item, str) else item for item in items]
        return drafts_from_objects(objects, Defaults.of(self.catalogue, model, options))

    async def create_batch(
        self,
        items: Sequence[TaskDraft] | Sequence[Mapping[str, Any] | str],
        *,
        account: str = DEFAULT_ACCOUNT,
        model: str | None = None,
        request_id: str | None = None,
        grant: int | None = None,
        retries: int | Mapping[str, Any] | None = None,
        gate: bool | Mapping[str, Any] | None = None,
        accept: Mapping[str, Any] | None = None,
        auto: Mapping[str, Any] | None = None,
        reuse: bool = False,
        folder: str | Path | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Reserve the credits and accept the batch; returns it. Nothing is written when it is refused.

        Files are URLs, `upl_…` ids, data URIs, or paths within `folder` (the working directory without one).
        `retries` is a number of re-rolls or the HTTP API's object; `gate`, `accept`, `auto`, `reuse` are as
        there. `grant` gives the account credits in the same transaction; a `request_id` that was used before
        gives nothing and returns its batch.
        """
        drafts = self._drafts_of(items, model, options)
        check_request_id(request_id)
        now_ms = wall_clock_ms()
        facts = self.facts_of(retries, gate, accept, auto, reuse)
        try:
            rule = read_auto(auto, self.catalogue, now_ms)
            given, known, priced = await self._priced(drafts, account, folder, now_ms, rule)
            policy, acceptance = self.asked_of(priced, known, retries, gate, accept, now_ms, rule)
        except InputError as refused:
            asked = await self._as_uploaded(drafts, account, folder)
            return await self._replay_of(account, request_id, asked, *facts) or _raised(refused)
        tasks, public_id = accepting.priced_tasks(priced), new_batch_id()
        due = 0 if reuse else sum(task.credits for task in tasks)
        await self._keep_files(given, account, lambda: self._require_credits(account, due, grant or 0))

        def run(connection: Connection, credits: int | None) -> dict[str, Any]:
            account_id = ledger.ensure_account(connection, account, now_ms)
            if credits is not None:
                self.grant_in(connection, account, credits, now_ms=now_ms)
            request = accepting.BatchRequest(
                account_id=account_id,
                request_scope=f"account:{account_id}",
                request_id=public_id if request_id is None else request_id,
                request_hash=accepting.request_hash(given.drafts, *facts),
                tasks=tasks,
                retry_policy=policy,
                acceptance=acceptance,
                uploads_kept_ms=self.uploads.keep_ms,
                reuse=reuse,
            )
            accepted = accepting.accept_batch(connection, request, public_id=public_id, now_ms=now_ms)
            if accepted.idempotent_replay and credits is not None:
                raise _GrantedTwice
            batch = self._batch_view(connection, accepted.row)
            return batch | {"idempotent_replay": accepted.idempotent_replay}

        return await self._granting_once(run, grant)

    async def _granting_once(
        self, run: Callable[[Connection, int | None], dict[str, Any]], grant: int | None
    ) -> dict[str, Any]:
        try:
            return await self.database.transact(run, grant)
        except _GrantedTwice:
            return await self.database.transact(run, None)

    def asked_of(
        self,
        priced: Sequence[PricedDraft],
        known: KnownUploads,
        retries: object,
        gate: object,
        accept: object,
        now_ms: int,
        rule: AutoRule | None = None,
    ) -> tuple[RetryPolicy, Acceptance]:
        """What a new batch asks of its tries and clips. Raises `InputError`."""
        buys_clips = accept is not None
        policy = read_policy(retries, self.catalogue, priced, now_ms / 1000, known, buys_clips=buys_clips)
        return policy, read_acceptance(gate, accept, gate_rules(self.settings), priced, rule)

    def facts_of(
        self, retries: object, gate: object, accept: object, auto: object, reuse: bool
    ) -> list[object]:
        """What tells a replay from another batch, besides its items.

        Raises `InputError` for reuse where no file is kept.
        """
        if reuse and self.settings.archive_place is None:
            problem = "RUSHES_ARCHIVE_URL is none: no file is kept that could be reused"
            raise InputError(problem, field="reuse")
        named = (("gate", gate), ("accept", accept), ("auto", auto), ("reuse", reuse or None))
        asked = {name: value for name, value in named if value is not None}
        return [*([] if retries is None else [retries]), *([asked] if asked else [])]

    async def bought_before(
        self, priced: Sequence[PricedDraft], *, account: str = DEFAULT_ACCOUNT
    ) -> tuple[list[dict[str, Any]], set[int]]:
        """`index, item_id, completed_at, is_stored` of each item that asks for what the account has bought in
        the last 30 days, and the indexes that `reuse` would not buy: those of repeated items too.
        """

        def run(connection: Connection) -> tuple[list[dict[str, Any]], set[int]]:
            owner = ledger.account_id_if_any(connection, account)
            if owner is None:
                return [], {index for index, _ in duplicates(priced)}
            return bought_before(connection, owner, priced, now_ms=wall_clock_ms())

        return await self.database.read(run)

    async def check_reachable(self, priced: Sequence[PricedDraft], *, account: str = DEFAULT_ACCOUNT) -> None:
        """Raise `InputError`, naming the earliest, for a time to finish by that cannot be met."""

        def run(connection: Connection) -> None:
            owner = ledger.account_id_if_any(connection, account)
            self.forecaster.check_reachable(connection, priced, owner, wall_clock_ms())

        if any(draft.bounds is not None and draft.bounds.finish_by_ms is not None for draft in priced):
            await self.database.read(run)

    async def expected(
        self, priced: Sequence[PricedDraft], best_of: BestOf | None, *, account: str = DEFAULT_ACCOUNT
    ) -> dict[str, Any] | None:
        """What best of n is expected to cost, by the account's own clips: the field `accept` of a quote."""

        def run(connection: Connection) -> dict[str, Any] | None:
            owner = ledger.account_id_if_any(connection, account)
            return expected(connection, owner, priced, best_of, self.catalogue, wall_clock_ms())

        return await self.database.read(run)

    def _drafts_of(
        self,
        items: Sequence[TaskDraft] | Sequence[Mapping[str, Any] | str],
        model: str | None,
        options: Mapping[str, Any],
    ) -> list[TaskDraft]:
        drafts = [item for item in items if isinstance(item, TaskDraft)]
        if drafts and len(drafts) != len(items):
            raise TypeError("items are all drafts or none")
        objects = [item for item in items if not isinstance(item, TaskDraft)]
        return drafts or self.drafts(objects, model=model, **options)

    async def _given_uploads(
        self, drafts: Sequence[TaskDraft], account: str, folder: str | Path | None
    ) -> GivenUploads:
        """The drafts with upload ids in the places of files, which are checked and not stored yet.

        So the same prompts with other pictures are another batch.
        """
        return await asyncio.to_thread(
            check_given_files,
            drafts,
            self.catalogue.fields,
            account=account,
            folder=Path.cwd() if folder is None else Path(folder),
            bytes_max=self.uploads.bytes_max,
        )

    async def _priced(
        self,
        drafts: Sequence[TaskDraft],
        account: str,
        folder: str | Path | None,
        now_ms: int,
        rule: AutoRule | None = None,
    ) -> tuple[GivenUploads, KnownUploads, list[PricedDraft]]:
        given = await self._given_uploads(drafts, account, folder)
        known = await self.uploads.known(await self.database.read(ledger.account_id_if_any, account), given)
        rule = rule or NO_BOUNDS
        priced = validate_drafts(given.drafts, self.catalogue, now_ms / 1000, known, auto=rule)
        await self.check_reachable(priced, account=account)
        return given, known, priced

    async def _as_uploaded(
        self, drafts: Sequence[TaskDraft], account: str, folder: str | Path | None
    ) -> Sequence[TaskDraft]:
        """The drafts as `_given_uploads` has them; as they are where their files are refused."""
        try:
            return (await self._given_uploads(drafts, account, folder)).drafts
        except InputError:
            return drafts

    async def _require_credits(self, account: str, required: int, granted: int) -> None:
        """Refuse a batch that cannot be paid before its files are stored."""
        account_id = await self.database.read(ledger.account_id_if_any, account)
        if account_id is not None:
            await self.database.read(
                accepting.require_credits, account_id, required, granted=granted, now_ms=wall_clock_ms()
            )
        elif required > granted:
            raise InsufficientCredits(required=required, available=granted)

    async def _keep_files(
        self,
        given: GivenUploads,
        account: str,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Store the files of a batch, before it is accepted; `check` may refuse it first."""
        if given.files:
            if check is not None:
                await check()
            account_id = await self.database.transact(ledger.ensure_account, account, wall_clock_ms())
            await self.uploads.keep_all(account_id, account, given.files.values())

    async def upload(self, path: str | Path, *, account: str = DEFAULT_ACCOUNT) -> dict[str, Any]:
        """Keep a picture, video or sound for batches to come; returns it, as the HTTP API does.

        `upload_id, content_type, bytes, width, height, duration_seconds, sha256, expires_at`. Raises
        `InputError` for what is none of these.
        """
        try:
            file = await asyncio.to_thread(check_file, Path(path), bytes_max=self.uploads.bytes_max)
        except ValueError as refused:
            raise InputError(str(refused), source=str(path)) from None
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", source=str(path)) from None
        account_id = await self.database.transact(ledger.ensure_account, account, wall_clock_ms())
        return upload_view(await self.uploads.keep(account_id, account, file))

    async def _replay_of(
        self, account: str, request_id: str | None, drafts: Sequence[TaskDraft], *facts: object
    ) -> dict[str, Any] | None:
        """The batch that a request made before its model was retired, disabled or renamed, or None."""

        def run(connection: Connection) -> dict[str, Any] | None:
            account_id = ledger.account_id_if_any(connection, account)
            if account_id is None:
                return None
            found = accepting.find_replay(connection, f"account:{account_id}", request_id, drafts, *facts)
            if found is None:
                return None
            return self._batch_view(connection, found.row) | {"idempotent_replay": True}

        return await self.database.read(run)

    async def cancel(self, batch_id: str) -> dict[str, Any]:
        """Cancel what is not at the provider yet; returns `batch_id, status, credits_refunded`."""

        def run(connection: Connection) -> dict[str, Any]:
            row_id = batches.batch_row_id(connection, batch_id)
            refunded = accepting.cancel_batch(connection, row_id, now_ms=wall_clock_ms())
            self.acted(connection, "batch.cancel", f"batch {batch_id}", after={"credits_refunded": refunded})
            return {"batch_id": batch_id, "status": "cancelled", "credits_refunded": refunded}

        return await self.database.transact(run)

    async def retry(self, batch_id: str, indexes: Sequence[int] | None = None) -> dict[str, Any]:
        """Try failed items again (all of them by default), all or none; returns the batch."""

        def run(connection: Connection) -> dict[str, Any]:
            row_id = batches.batch_row_id(connection, batch_id)
            chosen = indexes
            if chosen is None:
                chosen = failed_indexes(
                    connection, row_id, failure_type=None, from_index=0, limit=accepting.BATCH_ITEMS_MAX
                )
            retry_all(connection, row_id, chosen, now_ms=wall_clock_ms(), reprice=self.catalogue.charge)
            facts = {"items": len(chosen), "first": list(chosen[:LOGGED_ITEMS_MAX])}
            self.acted(connection, "batch.retry", f"batch {batch_id}", after=facts)
            return self._batch_view(connection, batches.batch_row(connection, row_id))

        return await self.database.transact(run)

    async def adopt(
        self, batch_id: str, index: int, remote_task_id: str, *, account: str | None = None
    ) -> dict[str, Any]:
        """Give an item the remote task that was bought for it; returns the batch.

        For an item that is unconfirmed, or failed as of unknown outcome, timed out or not found. The remote
        task is polled once; if it succeeded, the item is settled with it (a failed one with a new
        reservation), and an unconfirmed item may follow one that is still rendering. With `account` only that
        account's items.
        Raises `NotFound`, `ItemNotAdoptable` or another refusal with the reason: nothing has changed.
        """

        if not is_remote_task_id(remote_task_id):
            raise InputError("must be the provider's own id of the task", field="remote_task_id")

        def find(connection: Connection) -> adoption.Adoptable:
            owner = None if account is None else ledger.account_id(connection, account)
            return adoption.find_adoptable(connection, batch_id, index, remote_task_id, account_id=owner)

        found = await self.database.read(find)
        result, link_seconds = await poll_where_sent(
            self.settings, found.provider, remote_task_id, host=found.host
        )
        answer = adoption.check_answer(found, result)
        before_closing: BeforeClosing = retry_failed
        if self.settings.archive_place is not None:
            before_closing = recording_successes({found.provider: link_seconds}, then=retry_failed)

        def run(connection: Connection) -> dict[str, Any]:
            now_ms = wall_clock_ms()
            adoption.adopt_remote_task(
                connection,
                found,
                remote_task_id,
                answer,
                now_ms=now_ms,
                before_closing=before_closing,
            )
            facts = {"remote_task_id": remote_task_id}
            self.acted(connection, "item.adopt", f"item {batch_id}-{index}", after=facts)
            return self._batch_view(connection, batches.batch_row(connection, found.batch_id))

        return await self.database.transact(run)
