"""`deadlines`: 1,000 items with a time to finish by, a dear fast lane and a cheap slow one: how many are late.

The engine's own choice (`Choosing`, with learned render times), claims and settling on SQLite, against lanes
whose laws of time are known, on a clock that is moved by hand. Two oracles are compared: one that knows each
lane's law, which is the same choice without anything to learn, and one that knows how long each render takes:
no schedule of the places saves more than that one.
"""

import argparse
import asyncio
import heapq
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from statistics import mean
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from proofs.accepted import empty_books
from proofs.result import ProofResult
from rushes import telemetry
from rushes.domain.acceptance.best_of import Acceptance
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.forecast import Pace
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.domain.task import Succeeded
from rushes.money.accept import BatchRequest, accept_batch, priced_tasks
from rushes.money.audit.audit import audit
from rushes.money.choosing.choose import Models, choose_models
from rushes.money.choosing.turns import NO_QUEUES, Queues, Times, queues_of
from rushes.money.settle import Group, apply_group
from rushes.providers.health import HealthState
from rushes.run.lane.choosing import Choosing
from rushes.run.lane.fairness import claim_fairly
from rushes.store import ledger, render_times, workers
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask

TASKS = 1_000
SEEDS = 1
PLACES: Final = 100
"""Tasks that the provider takes at a time, of both lanes together."""

WARM_UP: Final = 100
"""Renders of each lane that were seen before the batch: what is learned at its start."""

STEP_SECONDS: Final = 15
POLL_SECONDS: Final = 10.0
SAVE_SECONDS: Final = 120

_LATE_Z: Final = 1.6448536269514722
"""The 95 % point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Law:
    """How long a lane's renders take: log-normal."""

    median_seconds: float
    sigma: float

    def draw(self, source: random.Random) -> float:
        """One render."""
        return self.median_seconds * exp(source.gauss(0.0, self.sigma))

    def times(self) -> Times:
        """What one believes who knows the law."""
        mean_seconds = self.median_seconds * exp(self.sigma**2 / 2)
        return Times(mean_seconds, self.median_seconds * exp(_LATE_Z * self.sigma))


FAST, SLOW = "fast", "slow"
PRICES: Final = {FAST: 10, SLOW: 4}
LAWS: Final = {FAST: Law(180.0, 0.35), SLOW: Law(4_800.0, 0.4)}
CATALOGUE: Final[Catalogue] = DEFAULT_CATALOGUE.with_overrides(
    {FAST: {"like": "seedance-2.5", "credits": PRICES[FAST], "render_time_p50_seconds": 120}}
).with_overrides({SLOW: {"lane_of": FAST, "credits": PRICES[SLOW], "render_time_p50_seconds": 3_600}})
"""It is wrong about both lanes: their true medians are longer by a third and by a half."""

PROVIDER: Final = CATALOGUE.get(FAST).provider
HOURS: Final = (0.75, 3.0, 6.0, 12.0, 18.0)
"""How long the batch has; with 100 places all of it takes about 32 minutes on the fast lane, 14 hours on the
slow one."""


def add_options(command: argparse.ArgumentParser) -> None:
    """How many worlds."""
    command.add_argument("--seeds", type=int, default=SEEDS, help="worlds of each way (default: %(default)s)")


# --- the engine in a world ----------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """A database, a clock, and lanes that render by their laws; `renders` are those of each item by lane."""

    database: Database
    renders: dict[str, list[float]]
    by_ms: int
    history: random.Random
    now_ms: int = 1_000_000
    in_flight: list[tuple[int, int, ClaimedTask]] = field(default_factory=list)
    ended: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Of each item its lane, and when its video was there."""
    schedule: LearnedSchedule = field(default_factory=lambda: LearnedSchedule(1.0, 30.0, catalogue=CATALOGUE))

    def start(self, hours: float) -> None:
        """An account with credits, a worker, what was seen before, and the batch."""
        self.by_ms = self.now_ms + int(hours * 3_600_000)
        items = len(self.renders[FAST])
        rule = AutoRule((FAST,), finish_by_ms=self.by_ms)
        drafts = [TaskDraft(f"take {index}", "auto", {}) for index in range(items)]
        request = BatchRequest(
            account_id=1,
            request_scope="account:1",
            request_id="r1",
            request_hash="r1",
            tasks=priced_tasks(validate_drafts(drafts, CATALOGUE, self.now_ms / 1000, auto=rule)),
            acceptance=Acceptance(DEFAULT_THRESHOLDS, auto=rule),
        )

        def run(connection: Connection) -> None:
            account_id = ledger.ensure_account(connection, "default", self.now_ms)
            ledger.grant(connection, account_id, 10**6, now_ms=self.now_ms)
            workers.register(
                connection, "w", host="here", pid=1, now_ms=self.now_ms, lease_expires_at_ms=10**12
            )
            accept_batch(connection, request, public_id="b1", now_ms=self.now_ms)

        self.database.run(run)
        for name, law in LAWS.items():
            for _ in range(WARM_UP):
                self._saw(name, law.draw(self.history))
        self.save()

    def _saw(self, model: str, seconds: float) -> None:
        """What polls see of a render that takes that long."""
        last = max(1.0, seconds - POLL_SECONDS * self.history.random())
        self.schedule.saw_running(model=model, after_seconds=0.0, by_seconds=last)
        self.schedule.saw_end(model=model, after_seconds=last, by_seconds=max(seconds, last))

    def save(self) -> None:
        """What was learned goes to the database and back, as a worker does it."""
        stored = self.database.run(render_times.merge, self.schedule.take_unsaved(), now_ms=self.now_ms)
        self.schedule.put_saved(stored)

    async def work(self, choose: Callable[["World"], Any]) -> None:
        """Choose, send and settle until every item has its video."""
        saved_ms = self.now_ms
        while len(self.ended) < len(self.renders[FAST]):
            await choose(self)
            self._send()
            self.now_ms += STEP_SECONDS * 1000
            if self.in_flight:
                self.now_ms = max(self.now_ms, self.in_flight[0][0])
            self._settle()
            if self.now_ms - saved_ms >= SAVE_SECONDS * 1000:
                self.save()
                saved_ms = self.now_ms

    def _send(self) -> None:
        claimed = self.database.run(
            claim_fairly,
            provider=PROVIDER,
            worker_id="w",
            limit=PLACES - len(self.in_flight),
            in_flight_max=PLACES,
            now_ms=self.now_ms,
        )
        for task in claimed:
            seconds = self.renders[task.model][int(task.prompt.removeprefix("take "))]
            heapq.heappush(self.in_flight, (self.now_ms + int(seconds * 1000), task.task_id, task))
        accepted = [(task.task_id, task.attempt, f"r-{task.task_id}") for task in claimed]
        if accepted:
            self.database.run(apply_group, Group(accepted=accepted), worker_id="w", now_ms=self.now_ms)

    def _settle(self) -> None:
        verdicts: list[tuple[int, int, Any]] = []
        while self.in_flight and self.in_flight[0][0] <= self.now_ms:
            at_ms, task_id, task = heapq.heappop(self.in_flight)
            item = int(task.prompt.removeprefix("take "))
            self.ended[item] = (task.model, at_ms)
            self._saw(task.model, self.renders[task.model][item])
            verdicts.append((task_id, task.attempt, Succeeded(f"https://files.example/{task_id}")))
        if verdicts:
            self.database.run(apply_group, Group(verdicts=verdicts), worker_id="w", now_ms=self.now_ms)

    def differences(self) -> list[str]:
        """Where the books are not what was delivered."""

        def read(connection: Connection) -> list[str]:
            wrong = [str(violation) for violation in audit(connection).violations]
            delivered = sum(PRICES[lane] for lane, _ in self.ended.values())
            left = ledger.available_credits(connection, 1, self.now_ms)
            return wrong + (
                [] if 10**6 - left == delivered else [f"{10**6 - left} spent, {delivered} delivered"]
            )

        return self.database.run_reading(read)


# --- ways of choosing ---------------------------------------------------------------------------------------

PACES: Final = {PROVIDER: Pace(None, PLACES)}


def learned(world: World) -> Callable[[World], Any]:
    """As a worker chooses."""
    choosing = Choosing(
        world.database, catalogue=CATALOGUE, now_ms=lambda: world.now_ms, makes_links=False, paces=PACES
    )
    return lambda _world: choosing.choose({PROVIDER: HealthState("closed")})


def by_law(world: World, *, counts_turns: bool = True) -> Callable[[World], Any]:
    """The same by one who knows the laws; or by one who does not look at the wait for a turn."""

    def times(model: Model) -> Times:
        return LAWS[model.name].times()

    async def choose(world: World) -> int:
        queues: Queues = NO_QUEUES
        if counts_turns:
            queues = world.database.run_reading(queues_of, CATALOGUE, PACES, times, world.now_ms)
        models = Models(CATALOGUE, times=times, queues=queues)
        return sum(world.database.run(choose_models, 1, models, world.now_ms).values())

    return choose


def without_turns(world: World) -> Callable[[World], Any]:
    """All lanes chosen at once, as if there were a place for each."""
    return by_law(world, counts_turns=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one world: items that were late, and credits."""

    late: float
    spent: float


def run_way(
    choose: Callable[[World], Callable[[World], Any]],
    renders: dict[str, list[float]],
    hours: float,
    seed: int,
    books: Path,
) -> tuple[Outcome, list[str]]:
    """A world in which lanes are chosen that way, on these books."""
    database = Database(f"sqlite:///{books}", inline=True)
    try:
        world = World(database, renders, 0, random.Random(f"history {seed}"))
        world.start(hours)
        asyncio.run(world.work(choose(world)))
        late = sum(at_ms > world.by_ms for _, at_ms in world.ended.values())
        return Outcome(late, sum(PRICES[lane] for lane, _ in world.ended.values())), world.differences()
    finally:
        database.close()


def bound(renders: dict[str, list[float]], by_seconds: float) -> Outcome:
    """What nobody can do better who knows each render: late are only those that are late by themselves, and
    the places have that much time in all.
    """
    late = sum(min(pair) > by_seconds for pair in zip(renders[FAST], renders[SLOW], strict=True))
    left = PLACES * by_seconds - sum(renders[FAST])
    more = sorted(
        slow - fast for fast, slow in zip(renders[FAST], renders[SLOW], strict=True) if slow <= by_seconds
    )
    cheap = 0
    for seconds in more:
        left -= seconds
        if left < 0:
            break
        cheap += 1
    return Outcome(late, PRICES[FAST] * len(renders[FAST]) - cheap * (PRICES[FAST] - PRICES[SLOW]))


WAYS: Final = (("`--by`, learned", learned), ("oracle of the laws", by_law), ("without turns", without_turns))


def _only_warnings() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def run(options: argparse.Namespace) -> ProofResult:
    """All ways in all worlds."""
    telemetry.before_the_first_line(_only_warnings)
    result, started = ProofResult("deadlines"), time.monotonic()
    all_fast = PRICES[FAST] * options.tasks
    seeds = range(options.seed, options.seed + options.seeds)
    drawn = {seed: random.Random(f"renders {seed}") for seed in seeds}
    renders = {
        seed: {name: [law.draw(drawn[seed]) for _ in range(options.tasks)] for name, law in LAWS.items()}
        for seed in seeds
    }
    with tempfile.TemporaryDirectory(prefix="rushes-deadlines-") as folder:
        template, books = empty_books(Path(folder)), Path(folder) / "books.db"
        for hours in HOURS:
            found: dict[str, list[Outcome]] = {name: [] for name, _ in WAYS}
            found["oracle of each render"] = [bound(renders[seed], hours * 3600) for seed in seeds]
            for name, choose in WAYS:
                for seed in seeds:
                    shutil.copy(template, books)
                    outcome, wrong = run_way(choose, renders[seed], hours, seed, books)
                    found[name].append(outcome)
                    result.differ(f"{name}, {hours} h, seed {seed}: {each}" for each in wrong)
            for name, outcomes in found.items():
                late, spent = mean(one.late for one in outcomes), mean(one.spent for one in outcomes)
                saved = f"{100 * (1 - spent / all_fast):.1f} % saved"
                result.fact(f"by {hours:g} h, {name}: late, spent", f"{late:.1f}, {spent:,.0f}, {saved}")
            print("\n".join(result.lines()[-len(found) - 1 : -1]), file=sys.stderr, flush=True)
    result.headline = f"{options.tasks} items by {len(HOURS)} times in {options.seeds} worlds"
    result.seconds = time.monotonic() - started
    return result
