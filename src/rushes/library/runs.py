"""Runs through `Rushes`: a batch that is made once for the same items, found again, and resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from rushes.database_wiring import new_batch_id, wall_clock_ms
from rushes.domain.acceptance.best_of import Acceptance
from rushes.domain.errors import InputError
from rushes.domain.input.auto import read_auto
from rushes.domain.input.prompts import TaskDraft, check_request_id
from rushes.domain.retries import RetryPolicy
from rushes.library.batches import WithBatches
from rushes.library.opened import DEFAULT_ACCOUNT
from rushes.money import accept as accepting
from rushes.money import once, reserving
from rushes.store import batches, ledger
from rushes.store.tasks import NewTask


@dataclass(frozen=True, slots=True)
class _Wanted:
    drafts: Sequence[TaskDraft]
    tasks: Sequence[NewTask]
    policy: RetryPolicy
    acceptance: Acceptance
    request_hash: str
    request_id: str | None
    reuse: bool


class WithRuns(WithBatches):
    """What `rushes run` does with its items."""

    async def start_run(
        self,
        drafts: Sequence[TaskDraft],
        *,
        account: str = DEFAULT_ACCOUNT,
        request_id: str | None = None,
        grant: int | None = None,
        retries: int | Mapping[str, Any] | None = None,
        gate: bool | Mapping[str, Any] | None = None,
        accept: Mapping[str, Any] | None = None,
        auto: Mapping[str, Any] | None = None,
        reuse: bool = False,
        again: bool = False,
        folder: str | Path | None = None,
    ) -> dict[str, Any]:
        """The batch of these items: the one that an earlier run of them made, or a new one.

        An earlier run counts while its batch is open, and later if it had a success, unless it was
        cancelled; with `again` none does, and with a `request_id` only the batch of that id. Whichever it
        is, `idempotent_replay` says. A new batch reserves its credits; `grant` gives the account that many
        first, and in an installation without tenants the default account is granted what it lacks. Paths of
        files start at `folder`, see `create_batch`.
        """
        check_request_id(request_id)
        now_ms = wall_clock_ms()
        facts = self.facts_of(retries, gate, accept, auto, reuse)
        try:
            rule = read_auto(auto, self.catalogue, now_ms)
            given, known, priced = await self._priced(drafts, account, folder, now_ms, rule)
            policy, acceptance = self.asked_of(priced, known, retries, gate, accept, now_ms, rule)
        except InputError:  # its model may have gone since
            asked = await self._as_uploaded(drafts, account, folder)
            earlier = await self._earlier(asked, facts, account=account, request_id=request_id, again=again)
            if earlier is None:
                raise
            return earlier
        hashed = accepting.request_hash(given.drafts, *facts)
        tasks = accepting.priced_tasks(priced)
        wanted = _Wanted(given.drafts, tasks, policy, acceptance, hashed, request_id, reuse)
        await self._keep_files(given, account)
        return await self.database.transact(
            self._start, wanted, account=account, grant=grant, again=again, now_ms=now_ms
        )

    def _start(
        self,
        connection: Connection,
        wanted: "_Wanted",
        *,
        account: str,
        grant: int | None,
        again: bool,
        now_ms: int,
    ) -> dict[str, Any]:
        account_id = ledger.ensure_account(connection, account, now_ms)
        scope = f"account:{account_id}"
        ledger.lock(connection, account_id)  # so that of two at once the second finds the first
        runs = once.runs_of(connection, scope, wanted.drafts)
        if wanted.request_id is not None:
            is_new = batches.find_by_request(connection, scope, wanted.request_id) is None
        else:
            is_new = again or runs.earlier is None
            if runs.earlier is not None and not again:
                return self._batch_view(connection, runs.earlier) | {"idempotent_replay": True}
        request = accepting.BatchRequest(
            account_id=account_id,
            request_scope=scope,
            request_id=runs.next_request_id if wanted.request_id is None else wanted.request_id,
            request_hash=wanted.request_hash,
            tasks=wanted.tasks,
            retry_policy=wanted.policy,
            acceptance=wanted.acceptance,
            uploads_kept_ms=self.uploads.keep_ms,
            reuse=wanted.reuse,
        )
        if is_new:
            request = accepting.reusing(connection, request, now_ms=now_ms)
        if is_new and grant is not None:
            self.grant_in(connection, account, grant, now_ms=now_ms)
        elif is_new and account == DEFAULT_ACCOUNT:
            required = request.required_credits
            reserving.grant_missing(connection, account_id, required=required, now_ms=now_ms)
        accepted = accepting.accept_batch(connection, request, public_id=new_batch_id(), now_ms=now_ms)
        batch = self._batch_view(connection, accepted.row)
        return batch | {"idempotent_replay": accepted.idempotent_replay}

    async def _earlier(
        self,
        drafts: Sequence[TaskDraft],
        facts: Sequence[object],
        *,
        account: str,
        request_id: str | None,
        again: bool,
    ) -> dict[str, Any] | None:
        if request_id is not None:
            return await self._replay_of(account, request_id, drafts, *facts)
        return None if again else await self._earlier_run(drafts, account)

    async def earlier_run(
        self,
        drafts: Sequence[TaskDraft],
        *,
        account: str = DEFAULT_ACCOUNT,
        folder: str | Path | None = None,
    ) -> dict[str, Any] | None:
        """The batch that `start_run` would find for these items, or None."""
        return await self._earlier_run(await self._as_uploaded(drafts, account, folder), account)

    async def _earlier_run(self, drafts: Sequence[TaskDraft], account: str) -> dict[str, Any] | None:

        def run(connection: Connection) -> dict[str, Any] | None:
            account_id = ledger.account_id_if_any(connection, account)
            if account_id is None:
                return None
            found = once.runs_of(connection, f"account:{account_id}", drafts).earlier
            if found is None:
                return None
            return self._batch_view(connection, found) | {"idempotent_replay": True}

        return await self.database.read(run)
