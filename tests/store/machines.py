"""Two small models and the rules that play them against a real database: the ledger, and a task's life.

Each example has an account of its own in one database, so that it starts from nothing at no cost.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from rushes.domain.errors import InsufficientCredits, ItemNotRetryable
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.money import accept
from rushes.money import retry as retries
from rushes.money.settle import Group
from rushes.store import ledger, workers
from rushes.store.database import Database
from tests.books import PROVIDER, Books

_names = itertools.count()

HOUR_MS = 3_600_000
LONG_LEASE_MS = 10**12

prices = st.lists(st.integers(1, 40), min_size=1, max_size=5)


# --- the ledger -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class ModelLot:
    """A credit lot."""

    remaining: int
    expires_at_ms: int | None


@dataclass(slots=True)
class ModelTask:
    """A task of a batch: `row_id` is its row, `is_open` whether its credits are held."""

    row_id: int
    attempt: int
    price: int
    item_index: int
    is_open: bool = True
    failed: bool = False


@dataclass(slots=True)
class ModelBatch:
    """`lines` are the reservation: lot number and credits neither kept nor given back."""

    batch_id: int
    lines: list[list[int]]
    tasks: list[ModelTask]


@dataclass(slots=True)
class ModelAccount:
    """What the promises say an account must look like, in the simplest words."""

    lots: list[ModelLot] = field(default_factory=list)
    held: int = 0

    @property
    def available(self) -> int:
        """Credits in lots, whether they could still be spent or not."""
        return sum(lot.remaining for lot in self.lots)

    def expire(self, now_ms: int) -> None:
        """What is past its time is gone."""
        for lot in self.lots:
            if lot.expires_at_ms is not None and lot.expires_at_ms <= now_ms:
                lot.remaining = 0

    def reserve(self, amount: int) -> list[list[int]] | None:
        """Taken first what would be lost first; None when there is too little."""
        if sum(lot.remaining for lot in self.lots) < amount:
            return None
        order = sorted(
            range(len(self.lots)),
            key=lambda n: (self.lots[n].expires_at_ms is None, self.lots[n].expires_at_ms or 0, n),
        )
        lines = []
        for number in order:
            taken = min(amount, self.lots[number].remaining)
            if taken:
                self.lots[number].remaining -= taken
                lines.append([number, taken])
                amount -= taken
                self.held += taken
        return lines

    def settle(self, batch: ModelBatch, amount: int) -> None:
        """Kept from the reservation's beginning."""
        self.held -= amount
        for line in batch.lines:
            part = min(amount, line[1])
            line[1] -= part
            amount -= part

    def refund(self, batch: ModelBatch, amount: int) -> None:
        """Given back from the reservation's end, each credit to the lot it came from."""
        self.held -= amount
        for line in reversed(batch.lines):
            part = min(amount, line[1])
            line[1] -= part
            self.lots[line[0]].remaining += part
            amount -= part


class LedgerMachine(RuleBasedStateMachine):
    """Grants, reservations, settlements, refunds, expiries, cancels and retries in any order."""

    batches = Bundle("batches")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.books = Books(database, now_ms=1_000_000)
        self.worker = f"ledger-{next(_names)}"
        self.account = self.books.account(f"machine-{next(_names)}")
        self.model = ModelAccount()

    @rule(amount=st.integers(1, 100), hours=st.none() | st.integers(1, 5))
    def grant(self, amount: int, hours: int | None) -> None:
        self._grant(amount, expires_at_ms=None if hours is None else self.books.now_ms + hours * HOUR_MS)

    def _grant(self, amount: int, expires_at_ms: int | None) -> None:
        self.books.grant(self.account, amount, expires_at_ms=expires_at_ms)
        self.model.lots.append(ModelLot(amount, expires_at_ms))

    @rule(hours=st.integers(1, 3))
    def time_passes(self, hours: int) -> None:
        self.books.now_ms += hours * HOUR_MS

    @rule()
    def expire(self) -> None:
        self.books.database.run(ledger.expire_lots, self.books.now_ms, account=self.account)
        self.model.expire(self.books.now_ms)

    @initialize(target=batches, credits_per_item=prices)
    def first_batch(self, credits_per_item: list[int]) -> ModelBatch | None:
        """Every example has a batch: those without one are many, and show little."""
        self._grant(sum(credits_per_item), expires_at_ms=None)
        return self._accept(credits_per_item)

    @rule(target=batches, credits_per_item=prices)
    def accept(self, credits_per_item: list[int]) -> ModelBatch | None:
        return self._accept(credits_per_item)

    def _accept(self, credits_per_item: list[int]) -> ModelBatch | None:
        before = self._stored()
        name = f"bat_m{next(_names)}"
        self.books.worker(self.worker)
        try:
            batch_id = self.books.accept(self.account, credits_per_item, name=name)
        except InsufficientCredits:
            assert self._stored() == before, "a refused batch changes nothing"
            live = ModelAccount([ModelLot(lot.remaining, lot.expires_at_ms) for lot in self.model.lots])
            live.expire(self.books.now_ms)
            assert live.available < sum(credits_per_item), "there was enough"
            return None
        self.model.expire(self.books.now_ms)
        lines = self.model.reserve(sum(credits_per_item))
        assert lines is not None, "there was too little"
        self._claim_all()
        return ModelBatch(batch_id, lines, self._tasks_of(batch_id))

    @rule(batch=batches, number=st.integers(0, 4), succeeds=st.booleans(), twice=st.booleans())
    def end_a_task(self, batch: ModelBatch | None, number: int, succeeds: bool, twice: bool) -> None:
        if batch is None:
            return
        task = batch.tasks[number % len(batch.tasks)]
        verdict = (
            Succeeded("https://files.example/v.mp4") if succeeds else Failed("no", FailureType.MODEL_ERROR)
        )
        for _ in range(2 if twice else 1):  # the second time, and after an end, it changes nothing
            group = Group(verdicts=[(task.row_id, task.attempt, verdict)])
            self.books.apply(group, worker_id=self.worker)
        if task.is_open:
            task.is_open, task.failed = False, not succeeds
            (self.model.settle if succeeds else self.model.refund)(batch, task.price)

    @rule(batch=batches, number=st.integers(0, 4))
    def retry(self, batch: ModelBatch | None, number: int) -> None:
        if batch is None:
            return
        task = batch.tasks[number % len(batch.tasks)]
        before = self._stored()
        try:
            self.books.database.run(
                retries.retry_item, batch.batch_id, task.item_index, now_ms=self.books.now_ms
            )
        except ItemNotRetryable:
            assert not task.failed
            assert self._stored() == before
            return
        except InsufficientCredits:
            assert task.failed
            assert self._stored() == before
            return
        assert task.failed, "only a failed item is tried again"
        self.model.expire(self.books.now_ms)
        lines = self.model.reserve(task.price)
        assert lines is not None
        batch.lines += lines
        self._claim_all()
        batch.tasks[batch.tasks.index(task)] = self._tasks_of(batch.batch_id)[task.item_index]

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        available, held, lots, deltas, seqs = self._stored()
        assert (available, held) == (self.model.available, self.model.held)
        assert lots == [lot.remaining for lot in self.model.lots]
        assert sum(deltas) == available
        assert seqs == list(range(1, len(seqs) + 1))

    def _claim_all(self) -> None:
        self.books.claim(worker_id=self.worker)

    def _tasks_of(self, batch_id: int) -> list[ModelTask]:
        rows = self.books.rows(
            "SELECT id, attempt, credits, item_index, status FROM video_tasks"
            " WHERE batch_id = :id AND is_current = 1 ORDER BY item_index",
            id=batch_id,
        )
        return [ModelTask(row["id"], row["attempt"], row["credits"], row["item_index"]) for row in rows]

    def _stored(self) -> tuple[int, int, list[int], list[int], list[int]]:
        books, account = self.books, self.account
        row = books.row("SELECT available, held FROM accounts WHERE id = :id", id=account)
        lots = books.rows("SELECT remaining FROM credit_lots WHERE account_id = :id ORDER BY id", id=account)
        entries = books.rows(
            "SELECT seq, delta FROM ledger_entries WHERE account_id = :id ORDER BY seq", id=account
        )
        return (
            row["available"],
            row["held"],
            [lot["remaining"] for lot in lots],
            [entry["delta"] for entry in entries],
            [entry["seq"] for entry in entries],
        )


# --- a task's life --------------------------------------------------------------------------------------


@dataclass(slots=True)
class ModelLife:
    """One task as it must be: who owns which attempt of it, and what is known of that."""

    status: str = "pending"
    attempt: int = 0
    owner: str | None = None
    remote: str | None = None
    is_unconfirmed: bool = False

    def is_at(self, attempt: int) -> bool:
        """Whether this attempt is in flight."""
        return self.status == "processing" and self.attempt == attempt

    def is_owned(self, attempt: int, worker: str) -> bool:
        """Whether this worker may decide about this attempt."""
        return self.is_at(attempt) and self.owner == worker


slots = st.integers(0, 1)
ages = st.sampled_from((0, 0, 0, 1, 2))
"""How many attempts ago the attempt is that a message speaks of."""


class TaskMachine(RuleBasedStateMachine):
    """Two workers, one task, and messages about it: true ones, old ones, those of workers that lost it."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.books = Books(database)
        number = next(_names)
        account = self.books.account(f"life-{number}")
        self.books.grant(account, 10)
        self.batch_id = self.books.accept(account, [10], name=f"bat_l{number}")
        self.task_id = self.books.row("SELECT id FROM video_tasks WHERE batch_id = :id", id=self.batch_id)[
            "id"
        ]
        self.account = account
        self.model = ModelLife()
        self.workers = [f"life-{number}-{slot}" for slot in range(2)]
        self.dead: set[str] = set()
        self.ends = 0

    def teardown(self) -> None:
        # the next example's workers must not find this one's task
        for worker in self.workers:
            self.books.sql(
                "UPDATE workers SET lease_expires_at_ms = :far WHERE id = :id", far=LONG_LEASE_MS, id=worker
            )
        if self.model.status == "pending":
            self.books.database.run(accept.cancel_batch, self.batch_id, now_ms=self.books.now_ms)

    # --- workers ------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.status == "pending")
    @rule(slot=slots)
    def claim(self, slot: int) -> None:
        worker = self.workers[slot]
        if worker in self.dead:
            return
        claimed = self.books.claim(1, worker_id=worker)
        assert [task.task_id for task in claimed] == [self.task_id]
        model = self.model
        model.status, model.owner, model.attempt = "processing", worker, model.attempt + 1
        model.remote, model.is_unconfirmed = None, False
        assert claimed[0].attempt == model.attempt

    @rule(slot=slots)
    def lose_lease_and_be_adopted(self, slot: int) -> None:
        worker, other = self.workers[slot], self.workers[1 - slot]
        if worker in self.dead or other in self.dead:
            return
        self.books.worker(worker)
        self.books.worker(other)
        self.books.sql("UPDATE workers SET lease_expires_at_ms = 1 WHERE id = :id", id=worker)
        adopted = self.books.database.run(
            workers.adopt, other, providers=[PROVIDER], now_ms=self.books.now_ms, limit=10
        )
        model = self.model
        owned = model.status == "processing" and model.owner == worker
        assert [task.task_id for task in adopted] == ([self.task_id] if owned else [])
        if owned:
            model.owner = other
            model.is_unconfirmed = model.is_unconfirmed or model.remote is None
        self.dead.add(worker)

    @rule(slot=slots)
    def come_back_under_a_new_name(self, slot: int) -> None:
        if self.workers[slot] in self.dead:
            self.workers[slot] += "'"

    # --- messages -----------------------------------------------------------------------------------

    @rule(slot=slots, age=ages)
    def accepted(self, slot: int, age: int) -> None:
        """A fact about its attempt, whoever tells it."""
        attempt = self.model.attempt - age
        remote = f"remote-{self.task_id}-{attempt}"
        self._apply(slot, Group(accepted=[(self.task_id, attempt, remote)]))
        if self.model.is_at(attempt) and self.model.remote is None:
            self.model.remote, self.model.is_unconfirmed = remote, False

    @rule(slot=slots, age=ages)
    def unconfirmed(self, slot: int, age: int) -> None:
        attempt = self.model.attempt - age
        self._apply(slot, Group(unconfirmed=[(self.task_id, attempt)]))
        if self.model.is_owned(attempt, self.workers[slot]) and self.model.remote is None:
            self.model.is_unconfirmed = True

    @rule(slot=slots, age=ages)
    def returned(self, slot: int, age: int) -> None:
        """A fact about its attempt, whoever tells it."""
        attempt = self.model.attempt - age
        self._apply(slot, Group(returned=[(self.task_id, attempt)]))
        if self.model.is_at(attempt) and self.model.remote is None:
            self.model.status, self.model.owner, self.model.is_unconfirmed = "pending", None, False

    @rule(slot=slots, age=ages)
    def refused(self, slot: int, age: int) -> None:
        """A fact about its attempt, whoever tells it."""
        attempt = self.model.attempt - age
        refusal = Failed("no", FailureType.INPUT_MODERATION)
        self._apply(slot, Group(refused=[(self.task_id, attempt, refusal)]))
        if self.model.is_at(attempt) and self.model.remote is None:
            self._ended("failed")

    @rule(slot=slots, age=ages)
    def resubmitted(self, slot: int, age: int) -> None:
        attempt = self.model.attempt - age
        self._apply(slot, Group(resubmitted=[(self.task_id, attempt)]))
        if self.model.is_owned(attempt, self.workers[slot]) and self.model.remote is None:
            self.model.status, self.model.owner, self.model.is_unconfirmed = "pending", None, False

    @rule(slot=slots, age=ages)
    def given_up(self, slot: int, age: int) -> None:
        attempt = self.model.attempt - age
        self._apply(slot, Group(given_up=[(self.task_id, attempt)]))
        if self.model.is_owned(attempt, self.workers[slot]) and self.model.remote is None:
            self._ended("failed")

    @rule(slot=slots, age=ages, succeeds=st.booleans())
    def verdict(self, slot: int, age: int, succeeds: bool) -> None:
        attempt = self.model.attempt - age
        verdict: Any = (
            Succeeded("https://files.example/v.mp4") if succeeds else Failed("no", FailureType.MODEL_ERROR)
        )
        self._apply(slot, Group(verdicts=[(self.task_id, attempt, verdict)]))
        if self.model.is_owned(attempt, self.workers[slot]) and not self.model.is_unconfirmed:
            self._ended("succeeded" if succeeds else "failed")

    @precondition(lambda self: self.model.status == "pending")
    @rule()
    def cancel(self) -> None:
        self.books.database.run(accept.cancel_batch, self.batch_id, now_ms=self.books.now_ms)
        self._ended("failed")

    def _apply(self, slot: int, group: Group) -> None:
        self.books.apply(group, worker_id=self.workers[slot])

    def _ended(self, status: str) -> None:
        self.model.status = status
        self.ends += 1

    # --- what must hold -----------------------------------------------------------------------------

    @invariant()
    def the_row_is_as_the_model_says(self) -> None:
        row = self.books.row(
            "SELECT status, attempt, worker_id, remote_task_id, unconfirmed_at_ms FROM video_tasks"
            " WHERE id = :id",
            id=self.task_id,
        )
        model = self.model
        assert (row["status"], row["attempt"]) == (model.status, model.attempt)
        if model.status == "processing":
            assert (row["worker_id"], row["remote_task_id"]) == (model.owner, model.remote)
            assert (row["unconfirmed_at_ms"] is not None) == model.is_unconfirmed

    @invariant()
    def the_credits_follow_the_status(self) -> None:
        account = self.books.row("SELECT available, held FROM accounts WHERE id = :id", id=self.account)
        resolutions = self.books.rows(
            "SELECT kind FROM task_resolutions WHERE task_id = :id", id=self.task_id
        )
        expected = {"succeeded": (0, 0, ["settle"]), "failed": (10, 0, ["refund"])}
        available, held, kinds = expected.get(self.model.status, (0, 10, []))
        assert (account["available"], account["held"]) == (available, held)
        assert [row["kind"] for row in resolutions] == kinds
        assert self.ends == len(kinds)
