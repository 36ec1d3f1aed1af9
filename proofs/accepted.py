"""`accepted`: what an accepted clip costs plainly, with re-rolls, with best of n, with repairs, and with the model chosen.

The engine's own transactions on SQLite, against models whose laws of quality are known (those of the
simulator). Every credit is compared with what was delivered, caps are checked item by item, and the audit
looks at the books of every world.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from sqlalchemy import Connection, text

from proofs.result import ProofResult
from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.acceptance.repairs import Action, LastModel, Rule, Side, pays
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.retries import NO_RETRIES, RetryPolicy
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.files.due import recording_successes
from rushes.money.accept import BatchRequest, accept_batch, priced_tasks
from rushes.money.audit.audit import audit
from rushes.money.choosing.choose import Models, choose_models
from rushes.money.rebuy import buy_next
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.read.acceptance.repairs import gains
from rushes.read.scope import OPERATOR
from rushes.run.lane.fairness import claim_fairly
from rushes.simulator.quality.laws import HARD_PROMPT, SOUND_MODERATION, Law
from rushes.store import ledger, workers
from rushes.store.acceptance import verdicts
from rushes.store.acceptance.verdicts import Decision
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import ClaimedTask

TASKS = 260
SEEDS = 20
CLIPS_MAX: Final = 8
FIRST_CLIP, LAST_CLIP = 101, 300
"""The clips of a world by which the choice is measured, once it has learned from the first hundred."""

LAWS: Final[dict[str, tuple[int, Law]]] = {
    "a": (10, Law(black=0.05, frozen=0.05, slow=0.01, rejected=0.05, hard=0.05, sound=0.1, tall=0.05)),
    "b": (7, Law(black=0.2, frozen=0.2, slow=0.02, rejected=0.1, hard=0.3, sound=0.2, tall=0.1)),
    "c": (13, Law(black=0.05, frozen=0.05, slow=0.05, rejected=0.05, hard=0.5, sound=0.3, tall=0.1)),
    "d": (40, Law(black=0.02, rejected=0.02, hard=0.05, sound=0.05)),
}
"""The credits of a clip, and how good it is."""

PLAIN_MODEL: Final = "c"
HARD_EVERY: Final = 3
"""Of so many prompts one is hard."""

OPTIONS: Final = {"duration": 10, "resolution": "1080p", "sound": True, "seed": 7}
_LIKE: Final = "seedance-2.5"
CATALOGUE: Final = DEFAULT_CATALOGUE.with_overrides(
    {name: {"like": _LIKE, "credits": price} for name, (price, _) in LAWS.items()}
)
PROVIDER: Final = CATALOGUE.get("a").provider


def add_options(command: argparse.ArgumentParser) -> None:
    """How many worlds."""
    command.add_argument("--seeds", type=int, default=SEEDS, help="worlds of each way (default: %(default)s)")


def prompt_of(index: int) -> str:
    """Every third prompt is hard."""
    return f"take {index}{f' {HARD_PROMPT}' if index % HARD_EVERY == 0 else ''}"


def cost_by_law(name: str, clips_max: int = CLIPS_MAX) -> float:
    """What an accepted clip of the model costs by its law, best of that many for each item."""
    price, law = LAWS[name]
    clips = accepted = 0.0
    for index in range(HARD_EVERY):
        share = law.accepted_share(prompt_of(index), OPTIONS)
        reached = 1 - (1 - share) ** clips_max
        clips, accepted = clips + reached / share, accepted + reached
    return price * clips / accepted


@dataclass(slots=True)
class World:
    """A database, a clock, and models that draw by their laws; it remembers what they delivered."""

    database: Database
    draw: random.Random
    now_ms: int = 1_000
    delivered: list[tuple[int, int, bool]] = field(default_factory=list)
    """Of each clip the task, the credits, and whether it was accepted, in the order in which they came."""
    gains: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> None:
        """An account with credits, and a worker."""

        def run(connection: Connection) -> None:
            account_id = ledger.ensure_account(connection, "default", self.now_ms)
            ledger.grant(connection, account_id, 10**6, now_ms=self.now_ms)
            workers.register(
                connection, "w", host="here", pid=1, now_ms=self.now_ms, lease_expires_at_ms=10**12
            )

        self.database.run(run)

    def batch(self, model: str, items: int, acceptance: Acceptance, retries: RetryPolicy) -> None:
        """These items, made and judged to the end."""
        drafts = [TaskDraft(prompt_of(index), model, OPTIONS) for index in range(items)]
        request = BatchRequest(
            account_id=1,
            request_scope="account:1",
            request_id="r1",
            request_hash="r1",
            tasks=priced_tasks(validate_drafts(drafts, CATALOGUE, 0.0, auto=acceptance.auto)),
            retry_policy=retries,
            acceptance=acceptance,
        )
        self.database.run(accept_batch, request, public_id="b1", now_ms=self.now_ms)
        while self._turn():
            self.now_ms += 1

    def _turn(self) -> bool:
        """Models are chosen, and everything that waits is made and judged; whether anything was."""
        self.database.run(choose_models, 1, Models(CATALOGUE), self.now_ms)
        claimed = self.database.run(
            claim_fairly, provider=PROVIDER, worker_id="w", limit=1000, now_ms=self.now_ms
        )
        if not claimed:
            return False
        accepted = [(task.task_id, task.attempt, f"r-{task.task_id}-{task.attempt}") for task in claimed]
        ended: list[tuple[int, int, Any]] = []
        made: list[ClaimedTask] = []
        for task in claimed:
            failure = LAWS[task.model][1].failure_of(task.options, self.draw.random())
            if failure is None:
                made.append(task)
                ended.append((task.task_id, task.attempt, Succeeded(f"https://files.example/{task.task_id}")))
            else:
                ended.append((task.task_id, task.attempt, _failed(failure)))
        for group in (Group(accepted=accepted), Group(verdicts=ended)):
            self.database.run(
                apply_group,
                group,
                worker_id="w",
                now_ms=self.now_ms,
                before_closing=recording_successes({PROVIDER: 7200.0}, self._retry),
            )
        self.database.run(self._judge, made)
        return True

    @staticmethod
    def _retry(connection: Connection, finished: Any, now_ms: int) -> int:
        return retry_failed(connection, finished, now_ms, reprice=CATALOGUE.charge)

    def _judge(self, connection: Connection, made: Sequence[ClaimedTask]) -> None:
        decided: list[int] = []
        for task in made:
            price, law = LAWS[task.model]
            seconds = float(task.options.get("duration") or 0)
            reason = law.defect_of(seconds, self.draw.random())
            if not reason and law.is_rejected(task.prompt, self.draw.random()):
                reason = "judge:off prompt"
            self.delivered.append((task.task_id, price, not reason))
            verdict = Verdict.REJECTED if reason else Verdict.ACCEPTED
            decision = Decision(verdict, [reason] if reason else [])
            if verdicts.decide_if_measured(connection, task.task_id, decision, now_ms=self.now_ms):
                decided.append(task.task_id)
        buy_next(connection, decided, self.now_ms, reprice=CATALOGUE.charge)

    def cost(self, first: int = 1, last: int | None = None) -> float:
        """Credits per accepted clip, of the clips from the first to the last of these."""
        clips = self.delivered[first - 1 : last]
        return sum(price for _, price, _ in clips) / max(1, sum(accepted for _, _, accepted in clips))

    def differences(self, best_of: BestOf | None) -> list[str]:
        """Where the books are not what was delivered, or a cap was passed."""

        def read(connection: Connection) -> list[str]:
            spent = connection.scalar(text("SELECT COALESCE(SUM(credits_settled), 0) FROM batches"))
            dearest = connection.execute(
                text(
                    "SELECT COUNT(*) AS clips, SUM(credits) AS credits FROM video_tasks"
                    " WHERE status = 'succeeded' GROUP BY batch_id, item_index"
                )
            ).all()
            open_batches = connection.scalar(
                text("SELECT COUNT(*) FROM batches WHERE finalized_at_ms IS NULL")
            )
            wrong = [str(violation) for violation in audit(connection).violations]
            delivered = sum(price for _, price, _ in self.delivered)
            if spent != delivered:
                wrong.append(f"{spent} credits settled, {delivered} delivered")
            clips = max((row.clips for row in dearest), default=0)
            if clips > (1 if best_of is None else best_of.clips_max):
                wrong.append(f"an item bought {clips} clips")
            credits = max((row.credits for row in dearest), default=0)
            if best_of is not None and best_of.credits_max is not None and credits > best_of.credits_max:
                wrong.append(f"an item's clips cost {credits} credits")
            if open_batches:
                wrong.append(f"{open_batches} batches are open")
            return wrong

        return self.database.run_reading(read)


def _failed(why: str) -> Failed:
    if why == "sound":
        return Failed(SOUND_MODERATION, FailureType.OUTPUT_MODERATION)
    return Failed("the model is busy at this resolution", FailureType.MODEL_ERROR)


@dataclass(frozen=True, slots=True)
class Way:
    """How a user buys; the model `auto` is chosen clip by clip."""

    name: str
    model: str = PLAIN_MODEL
    best_of: BestOf | None = None
    retries: RetryPolicy = NO_RETRIES

    @property
    def acceptance(self) -> Acceptance:
        """What its batch asks of clips."""
        rule = AutoRule(tuple(LAWS)) if self.model == "auto" else None
        return Acceptance(DEFAULT_THRESHOLDS, self.best_of, rule)


_RETRIES: Final = RetryPolicy(max=5)
_BEST_OF: Final = BestOf(CLIPS_MAX, credits_max=320)
_REPAIRS: Final = (
    Rule("audio_moderation", Action.SOUND_OFF),
    Rule("frozen", Action.SHORTER),
    Rule("model_error", Action.LOWER_RESOLUTION),
    Rule("judge", Action.NEXT_MODEL, (LastModel.of(CATALOGUE.get("a")),)),
    Rule("black", Action.SEED),
)
WAYS: Final = (
    Way("(a) plain"),
    Way("(b) re-rolls", retries=_RETRIES),
    Way("(c) best of 8", best_of=_BEST_OF, retries=_RETRIES),
    Way("(d) best of 8, repairs", best_of=_BEST_OF, retries=replace(_RETRIES, repairs=_REPAIRS)),
    Way("(e) best of 8, auto", "auto", _BEST_OF, _RETRIES),
)


def run_way(way: Way, seed: int, items: int, template: Path, folder: Path) -> tuple[World, float, list[str]]:
    """A world of this way, the share of its items that have an accepted clip, and differences."""
    books = folder / "books.db"
    shutil.copy(template, books)
    database = Database(f"sqlite:///{books}", inline=True)
    try:
        world = World(database, random.Random(f"{seed} {way.name}"))
        world.start()
        world.batch(way.model, items, way.acceptance, way.retries)
        share = sum(accepted for _, _, accepted in world.delivered) / items
        world.gains = database.run_reading(gains, OPERATOR, since_ms=0)
        return world, share, world.differences(way.best_of)
    finally:
        database.close()


def empty_books(folder: Path) -> Path:
    """A database with its tables, to be copied for each world."""
    path = folder / "template.db"
    database = Database(f"sqlite:///{path}", inline=True)
    migrate.upgrade(database)
    database.close()
    return path


def interval(values: Sequence[float]) -> str:
    """`12.3 ± 0.4`: the mean, and half of its 95 % interval."""
    half = 1.96 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{mean(values):.2f} ± {half:.2f}"


def add_gains(gained: dict[str, Counter[str]], found: Sequence[Mapping[str, Any]]) -> None:
    """Add what a world's report says of its repairs."""
    for gain in found:
        sums = gained.setdefault(gain["rule"], Counter())
        for side in ("with", "without"):
            sums.update({f"{side} {name}": gain[side][name] for name in ("tries", "passed", "credits")})


def shown_gain(sums: Counter[str]) -> str:
    """`62 % of 900, 41 % of 220, pays: yes`."""
    with_it, without = (
        Side(sums[f"{side} tries"], sums[f"{side} passed"], sums[f"{side} credits"])
        for side in ("with", "without")
    )
    shares = ", ".join(f"{100 * side.share:.1f} % of {side.tries}" for side in (with_it, without))
    return f"{shares}, pays: {pays(with_it, without)}"


def run(options: argparse.Namespace) -> ProofResult:
    """All ways in all worlds."""
    result, started = ProofResult("accepted"), time.monotonic()
    best = min(cost_by_law(name) for name in LAWS)
    for name in LAWS:
        result.fact(f"model {name} by its law, best of {CLIPS_MAX}", f"{cost_by_law(name):.2f}")
    with tempfile.TemporaryDirectory(prefix="rushes-accepted-") as folder:
        template = empty_books(Path(folder))
        for way in WAYS:
            costs, shares, late = list[float](), list[float](), list[float]()
            gained: dict[str, Counter[str]] = {}
            for seed in range(options.seed, options.seed + options.seeds):
                world, share, wrong = run_way(way, seed, options.tasks, template, Path(folder))
                costs.append(world.cost())
                shares.append(share)
                late.append(world.cost(FIRST_CLIP, LAST_CLIP))
                add_gains(gained, world.gains)
                result.differ(f"{way.name}, seed {seed}: {each}" for each in wrong)
            result.fact(
                f"{way.name}: credits per accepted clip, items with one",
                f"{interval(costs)}, {100 * mean(shares):.1f} %",
            )
            for rule, passed in sorted(gained.items()):
                result.fact(f"{way.name}: {rule}, passed with it and without", shown_gain(passed))
            if way.model == "auto":
                result.fact(f"{way.name}: clips {FIRST_CLIP} to {LAST_CLIP}", interval(late))
                result.fact(
                    f"{way.name}: more than the best model by its law",
                    f"{100 * (mean(late) / best - 1):.1f} %",
                )
    result.headline = f"{len(WAYS)} ways in {options.seeds} worlds of {options.tasks} items"
    result.seconds = time.monotonic() - started
    return result
