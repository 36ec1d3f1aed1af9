"""`accepted`: what an accepted clip costs plainly, with re-rolls, with best of n, and with the model chosen.

The engine's own transactions on SQLite, against providers whose laws are known: of each model's clips a fixed
share is accepted, and a fixed share of its tries fails and is refunded. Every credit is compared with what the
provider delivered, caps are checked item by item, and the audit looks at the books of every world.
"""

import argparse
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from sqlalchemy import Connection, text

from proofs.result import ProofResult
from rushes.domain.acceptance.bandit import Record, choose
from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.retries import NO_RETRIES, RetryPolicy
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.files.due import recording_successes
from rushes.money.accept import BatchRequest, accept_batch
from rushes.money.audit.audit import audit
from rushes.money.rebuy import buy_next
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.read.acceptance import reports
from rushes.read.scope import OPERATOR
from rushes.run.lane.fairness import claim_fairly
from rushes.store import ledger, workers
from rushes.store.acceptance import verdicts
from rushes.store.acceptance.verdicts import Decision
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import NewTask

TASKS = 120
SEEDS = 20
LAWS: Final[dict[str, tuple[int, float, float]]] = {
    "a": (10, 0.8, 0.1),
    "b": (6, 0.36, 0.2),
    "c": (15, 0.65, 0.1),
    "d": (40, 0.95, 0.05),
}
"""Credits, share of clips that are accepted, share of tries that fail: 12.5 to 42.1 credits per accepted clip."""

PLAIN_MODEL: Final = "c"
BATCH_ITEMS: Final = 10
CLIPS_MAX: Final = 8
REFUSED: Final = Failed("output_moderation", FailureType.OUTPUT_MODERATION)


def add_options(command: argparse.ArgumentParser) -> None:
    """How many worlds."""
    command.add_argument("--seeds", type=int, default=SEEDS, help="worlds of each way (default: %(default)s)")


@dataclass
class World:
    """A database, a clock, and a provider that draws by its laws; it counts what it delivered."""

    database: Database
    draw: random.Random
    now_ms: int = 1_000
    delivered: dict[int, list[int]] = field(default_factory=dict)
    accepted: int = 0

    def start(self) -> None:
        """An account with credits, and a worker."""

        def run(connection: Connection) -> None:
            account_id = ledger.ensure_account(connection, "default", self.now_ms)
            ledger.grant(connection, account_id, 10**6, now_ms=self.now_ms)
            workers.register(
                connection, "w", host="here", pid=1, now_ms=self.now_ms, lease_expires_at_ms=10**12
            )

        migrate.upgrade(self.database)
        self.database.run(run)

    def batch(self, number: int, model: str, *, best_of: BestOf | None, retries: RetryPolicy) -> None:
        """Ten items of this model, made and judged to the end."""
        price = LAWS[model][0]
        request = BatchRequest(
            account_id=1,
            request_scope="account:1",
            request_id=f"r{number}",
            request_hash=str(number),
            tasks=[
                NewTask(index, None, "p", model, {}, None, price, "grsai", model)
                for index in range(BATCH_ITEMS)
            ],
            retry_policy=retries,
            acceptance=Acceptance(DEFAULT_THRESHOLDS, best_of),
        )
        self.database.run(accept_batch, request, public_id=f"b{number}", now_ms=self.now_ms)
        while self._turn():
            self.now_ms += 1

    def _turn(self) -> bool:
        """Everything that waits is made and judged; whether anything did."""
        claimed = self.database.run(
            claim_fairly, provider="grsai", worker_id="w", limit=1000, now_ms=self.now_ms
        )
        if not claimed:
            return False
        accepted = [(task.task_id, task.attempt, f"r-{task.task_id}-{task.attempt}") for task in claimed]
        ended: list[tuple[int, int, Any]] = []
        for task in claimed:
            price, _, failing = LAWS[task.model]
            if self.draw.random() < failing:
                ended.append((task.task_id, task.attempt, REFUSED))
                continue
            ended.append((task.task_id, task.attempt, Succeeded(f"https://files.example/{task.task_id}")))
            self.delivered[task.task_id] = [price]
        for group in (Group(accepted=accepted), Group(verdicts=ended)):
            self.database.run(
                apply_group,
                group,
                worker_id="w",
                now_ms=self.now_ms,
                before_closing=recording_successes({"grsai": 7200.0}, retry_failed),
            )
        for task in claimed:
            if task.task_id in self.delivered:
                self.database.run(self._judge, task.task_id, LAWS[task.model][1])
        return True

    def _judge(self, connection: Connection, task_id: int, share: float) -> None:
        is_accepted = self.draw.random() < share
        self.accepted += is_accepted
        verdict = Verdict.ACCEPTED if is_accepted else Verdict.REJECTED
        decision = Decision(verdict, [] if is_accepted else ["frozen"])
        if verdicts.decide_if_measured(connection, task_id, decision, now_ms=self.now_ms):
            buy_next(connection, [task_id], self.now_ms)

    def records(self) -> dict[str, Record]:
        """What its own report says of each model's clips."""
        found = self.database.run_reading(reports.cost_by_model, OPERATOR)
        return {each["model"]: Record(each["accepted"], each["clips"]) for each in found}

    def differences(self, best_of: BestOf | None) -> list[str]:
        """Where the books are not what the provider delivered, or a cap was passed."""

        def read(connection: Connection) -> list[str]:
            spent = connection.scalar(text("SELECT COALESCE(SUM(credits_settled), 0) FROM batches"))
            most = connection.execute(
                text(
                    "SELECT COUNT(*) AS clips FROM video_tasks WHERE status = 'succeeded'"
                    " GROUP BY batch_id, item_index ORDER BY clips DESC LIMIT 1"
                )
            ).scalar()
            open_batches = connection.scalar(
                text("SELECT COUNT(*) FROM batches WHERE finalized_at_ms IS NULL")
            )
            wrong = [str(violation) for violation in audit(connection).violations]
            delivered = sum(price for prices in self.delivered.values() for price in prices)
            if spent != delivered:
                wrong.append(f"{spent} credits settled, {delivered} delivered")
            if int(most or 0) > (1 if best_of is None else best_of.clips_max):
                wrong.append(f"an item bought {most} clips")
            if open_batches:
                wrong.append(f"{open_batches} batches are open")
            return wrong

        return self.database.run_reading(read)


@dataclass(frozen=True, slots=True)
class Way:
    """How a user buys; `model` None chooses it for each batch."""

    name: str
    model: str | None
    best_of: BestOf | None = None
    retries: RetryPolicy = NO_RETRIES


WAYS: Final = (
    Way("plain", PLAIN_MODEL),
    Way("re-rolls", PLAIN_MODEL, retries=RetryPolicy(max=3)),
    Way("best of 8", PLAIN_MODEL, BestOf(CLIPS_MAX), RetryPolicy(max=3)),
    Way("best of 8, model chosen", None, BestOf(CLIPS_MAX), RetryPolicy(max=3)),
)


def run_way(way: Way, seed: int, items: int, folder: Path) -> tuple[float, float, list[str]]:
    """Credits per accepted clip, the share of items that have one, and differences, of one world."""
    draw = random.Random(f"{seed} {way.name}")
    database = Database(f"sqlite:///{folder / 'books.db'}", inline=True)
    try:
        world = World(database, draw)
        world.start()
        count = max(1, items // BATCH_ITEMS)
        prices = {name: price for name, (price, _, _) in LAWS.items()}
        for number in range(count):
            model = way.model or choose(prices, world.records(), draw.betavariate).model
            world.batch(number, model, best_of=way.best_of, retries=way.retries)
        spent = sum(price for delivered in world.delivered.values() for price in delivered)
        share = world.accepted / (count * BATCH_ITEMS)
        return spent / max(1, world.accepted), share, world.differences(way.best_of)
    finally:
        database.close()


def run(options: argparse.Namespace) -> ProofResult:
    """All ways in all worlds."""
    result, started = ProofResult("accepted"), time.monotonic()
    for way in WAYS:
        costs, shares = [], []
        for seed in range(options.seed, options.seed + options.seeds):
            with tempfile.TemporaryDirectory(prefix="rushes-accepted-") as folder:
                cost, share, wrong = run_way(way, seed, options.tasks, Path(folder))
            costs.append(cost)
            shares.append(share)
            result.differ(f"{way.name}, seed {seed}: {each}" for each in wrong)
        half = 1.96 * stdev(costs) / len(costs) ** 0.5 if len(costs) > 1 else 0.0
        result.fact(
            f"{way.name}: credits per accepted clip, items with one",
            f"{mean(costs):.2f} ± {half:.2f}, {100 * mean(shares):.1f} %",
        )
    best = min(price / share for price, share, _ in LAWS.values())
    result.fact("the best model's law", f"{best:.2f}")
    result.headline = f"{len(WAYS)} ways in {options.seeds} worlds of {options.tasks} items"
    result.seconds = time.monotonic() - started
    return result
