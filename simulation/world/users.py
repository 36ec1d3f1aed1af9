"""The people in the simulated world: they ask for batches, cancel, retry, and get credits."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.credits import LotKind
from rushes.domain.errors import (
    BatchNotCancellable,
    InsufficientCredits,
    ItemNotRetryable,
    ModelRetired,
    StoreError,
)
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.task import TaskStatus
from rushes.money import accept
from rushes.money.retry import retry_item
from rushes.store import batches, ledger
from rushes.store.tasks import NewTask
from simulation.truth.broken import broken
from simulation.world.ground import Ground
from simulation.world.kinds import Cancel, Grant, Retire, Retry
from simulation.world.plan import ALIAS, CATALOGUE, PlannedBatch
from simulation.world.process import Process
from simulation.world.records import Machine
from simulation.world.slot import Fleet

T = TypeVar("T")

PATIENCE_SECONDS = 5.0
"""How long a user waits before asking again a database that was away."""

FIRST_GRANT = 500


def _accept(
    connection: Connection,
    request: accept.BatchRequest,
    *,
    public_id: str,
    planned: PlannedBatch,
    now_ms: int,
) -> int:
    """What the route does that takes a batch; the row's id."""
    wanted = replace(request, retry_policy=planned.retry_policy)
    return int(accept.accept_batch(connection, wanted, public_id=public_id, now_ms=now_ms).row["id"])


class Users:
    """Everybody outside. They act through a process of their own, which is never killed."""

    def __init__(self, world: Ground, fleet: Fleet) -> None:
        self._world, self._fleet = world, fleet
        self._process = Process(world, "users", group="users", clock=lambda: 0.0, machine=Machine())
        self._catalogue: Catalogue = CATALOGUE
        self._accounts: list[int] = []
        self.batch_ids: dict[int, int] = {}
        self._busy = 0

    @property
    def is_done(self) -> bool:
        """Whether every batch was asked for and nothing is being asked."""
        return not self._busy and len(self.batch_ids) == len(self._world.plan.batches)

    def start(self) -> None:
        """Make the accounts and plan the batches."""
        self._spawn(self._begin())

    def _spawn(self, coroutine: Any) -> None:
        self._busy += 1

        async def act() -> None:
            await coroutine
            self._busy -= 1

        self._process.spawn(act)

    async def _ask(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """One transaction, asked for until the database has answered."""
        while True:
            try:
                return await self._process.database.transact(function, *args, **kwargs)
            except StoreError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(PATIENCE_SECONDS)

    async def _begin(self) -> None:
        plan = self._world.plan
        for number in range(plan.accounts):
            account = await self._ask(ledger.ensure_account, f"account-{number}", self._process.now_ms())
            self._accounts.append(account)
            await self._grant(account, FIRST_GRANT, None)
        for number, planned in enumerate(plan.batches):
            self._world.at(planned.at, self._spawn_batch, number, planned)

    # --- what users do ------------------------------------------------------------------------------

    def _spawn_batch(self, number: int, planned: PlannedBatch) -> None:
        for _ in range(2 if planned.doubles else 1):
            self._spawn(self._ask_for_batch(number, planned))

    async def _ask_for_batch(self, number: int, planned: PlannedBatch) -> None:
        """Ask for a batch until it is accepted; credits that are missing are bought."""
        account = self._accounts[planned.account]
        while True:
            tasks = self._tasks(number, planned)
            request = accept.BatchRequest(
                account_id=account,
                request_scope=f"account:{account}",
                request_id=f"batch-{number}",
                request_hash=accept.request_hash([]),
                tasks=tasks,
            )
            try:
                batch_id = await self._ask(
                    _accept,
                    request,
                    public_id=f"bat_{number}",
                    planned=planned,
                    now_ms=self._process.now_ms(),
                )
            except InsufficientCredits as short:
                await self._grant(account, short.missing + 7, self._world.draw_bonus_seconds())
                continue
            break
        if self.batch_ids.setdefault(number, batch_id) != batch_id:
            self._world.checked(lambda: broken("ACCEPTED_AGAIN", f"request batch-{number} made two batches"))
        self._fleet.wake_workers()

    def _tasks(self, number: int, planned: PlannedBatch) -> Sequence[NewTask]:
        models = self._world.plan.models
        now_seconds = self._process.now_ms() / 1000
        live = [m for m in models if self._catalogue.get(m).takes_new_tasks(now_seconds)]
        for model in models:
            if model not in live:
                self._must_be_refused(model, now_seconds)
        aliased = round(planned.tasks * self._world.plan.alias_share)
        drafts = drafts_from_objects(
            [
                {
                    "prompt": f"batch {number} item {index}",
                    "model": ALIAS if index < aliased else live[(index + number) % len(live)],
                }
                for index in range(planned.tasks)
            ],
            Defaults(model="sora-2", options={}),
        )
        return accept.priced_tasks(validate_drafts(drafts, self._catalogue, now_seconds))

    def _must_be_refused(self, model: str, now_seconds: float) -> None:
        drafts = drafts_from_objects([{"prompt": "p", "model": model}], Defaults(model="sora-2", options={}))
        try:
            validate_drafts(drafts, self._catalogue, now_seconds)
        except ModelRetired:
            return
        self._world.checked(lambda: broken("RETIRED_ACCEPTED", f"{model} was retired and is accepted"))

    async def _grant(self, account: int, amount: int, bonus_seconds: float | None) -> None:
        now_ms = self._process.now_ms()

        def run(connection: Connection) -> int:
            if bonus_seconds is None:
                return ledger.grant(connection, account, amount, now_ms=now_ms)
            expires_at_ms = now_ms + int(bonus_seconds * 1000) + 1
            return ledger.grant(
                connection, account, amount, now_ms=now_ms, kind=LotKind.BONUS, expires_at_ms=expires_at_ms
            )

        await self._ask(run)

    # --- faults of users ----------------------------------------------------------------------------

    def grant(self, fault: Grant) -> None:
        """An account gets credits."""
        if self._accounts:
            account = self._accounts[fault.account % len(self._accounts)]
            self._spawn(self._grant(account, fault.amount, fault.bonus_seconds))

    def retire(self, fault: Retire) -> None:
        """A model takes no new tasks from now on, unless it is the last one."""
        now = self._process.now_ms() / 1000
        left = [m for m in self._world.plan.models if self._catalogue.get(m).takes_new_tasks(now)]
        if left != [fault.model]:
            self._catalogue = self._catalogue.with_overrides({fault.model: {"sunset_at": int(now)}})

    def cancel(self, fault: Cancel) -> None:
        """A batch is cancelled."""
        batch_id = self.batch_ids.get(fault.batch)
        if batch_id is not None:
            self._spawn(self._cancel(batch_id))

    async def _cancel(self, batch_id: int) -> None:
        with contextlib.suppress(BatchNotCancellable):
            await self._ask(accept.cancel_batch, batch_id, now_ms=self._process.now_ms())

    def retry(self, fault: Retry) -> None:
        """Failed items of a batch are tried again."""
        batch_id = self.batch_ids.get(fault.batch)
        if batch_id is not None:
            self._spawn(self._retry(batch_id, fault.count))

    async def _retry(self, batch_id: int, count: int) -> None:
        def run(connection: Connection) -> int:
            failed = batches.list_items(
                connection, batch_id, wanted={"status": TaskStatus.FAILED.value}, limit=count
            )
            for item in failed:
                retry_item(connection, batch_id, item["item_index"], now_ms=self._process.now_ms())
            return len(failed)

        with contextlib.suppress(ItemNotRetryable, InsufficientCredits):
            await self._ask(run)
        self._fleet.wake_workers()
