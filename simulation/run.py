"""One seed, from an empty database to its verdict."""

import gc
import itertools
import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from rushes import telemetry
from rushes.run.lane import poll
from simulation.aims.lone import with_lone_aim
from simulation.tempo import IDLE_TEMPO, Patches, patched
from simulation.truth.broken import Broken
from simulation.truth.journal import PostgresqlStore, SqliteStore, Store
from simulation.world.faults import draw_faults
from simulation.world.ground import Dead
from simulation.world.history import live
from simulation.world.kinds import Fault
from simulation.world.loop import NothingLeft, VirtualLoop
from simulation.world.plan import Plan, draw_plan
from simulation.world.world import World

TASKS_DEFAULT = 1000

LOGGED_AS = {telemetry.SETTLE_REFUSED: "LOGGED", telemetry.PROVIDER_RAISED: "PROVIDER_RAISED"}
"""Events of the log that end a run, and as what."""

RUNS_PER_COLLECTION = 4
"""So many runs leave their cycles behind before they are collected; that takes longer than it should."""

_runs = itertools.count(1)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What became of a seed. `violation` is None when every promise held."""

    seed: int
    tasks: int
    violation: str | None
    message: str
    crashes: int
    crash_points: Mapping[str, int]
    pauses: int
    adoptions: int
    moved: int
    waited_too_long: int
    settled: int
    refunded: int
    commits: int
    polls: int
    submits: int
    callbacks: int
    steps: int
    virtual_seconds: float
    fingerprint: str
    plan: Plan
    faults: tuple[Fault, ...]
    tail: tuple[str, ...] = ()


def plan_of(seed: int, tasks: int) -> tuple[Plan, list[Fault]]:
    """The plan and the faults that a seed stands for."""
    draw = random.Random(f"rushes {seed}")
    plan = draw_plan(draw, seed, tasks)
    return with_lone_aim(plan, draw_faults(draw, plan))


def run(
    seed: int,
    *,
    tasks: int = TASKS_DEFAULT,
    plan: Plan | None = None,
    faults: Sequence[Fault] | None = None,
    database_url: str | None = None,
    bug: Callable[[Patches], None] | None = None,
    is_lean: bool = True,
) -> RunResult:
    """Simulate a seed. `plan` and `faults` replace its own; `database_url` names an empty, migrated PostgreSQL
    database (SQLite in memory otherwise); `bug` breaks the engine on purpose.
    Without `is_lean`, all statements of SQLite go through SQLAlchemy too, for the same result."""
    drawn_plan, drawn_faults = plan_of(seed, tasks)
    plan = drawn_plan if plan is None else plan
    chosen = drawn_faults if faults is None else list(faults)
    gc_was_enabled = gc.isenabled()
    gc.disable()  # cycles of one run are collected after it, never in the middle
    try:
        with patched() as patches:
            if not plan.production_tempo:
                for owner, name, value in IDLE_TEMPO:
                    patches.set(owner, name, value)
            if plan.gone_seconds is not None:
                patches.set(poll, "GONE_SECONDS", plan.gone_seconds)
            if bug is not None:
                bug(patches)
            store = SqliteStore(is_lean=is_lean) if database_url is None else PostgresqlStore(database_url)
            return _run(plan, chosen, store)
    finally:
        if next(_runs) % RUNS_PER_COLLECTION == 0:
            gc.collect()
        if gc_was_enabled:
            gc.enable()


def _run(plan: Plan, faults: list[Fault], store: Store) -> RunResult:
    loop = VirtualLoop()
    world = World(plan, faults, store=store, loop=loop)
    loop.set_exception_handler(lambda _loop, context: _on_loop_error(world, context))
    logging = structlog.get_config()
    _listen(world)
    try:
        try:
            loop.run_until_complete(live(world))
        except NothingLeft as error:
            world.fail(Broken("NOTHING_LEFT", str(error)))
        except (Dead, RuntimeError):
            if world.failure is None:
                raise
        result = _result(world)
        loop.set_exception_handler(lambda _loop, _context: None)
        _bury(loop, world)
        return result
    finally:
        structlog.configure(**logging)
        loop.close()
        store.close()


def _bury(loop: VirtualLoop, world: World) -> None:
    burial = loop.create_task(world.bury())
    while not burial.done():
        try:
            loop.run_until_complete(burial)
        except RuntimeError:
            continue  # a stop that was asked for before


def _result(world: World) -> RunResult:
    failure = world.failure
    message = ""
    if failure is not None:
        message = f"at {world.failed_at:.3f}: {failure.message}"
        if failure.__cause__ is not None:
            message += "\n" + "".join(traceback.format_exception(failure.__cause__))
    counts = world.service.counts
    return RunResult(
        seed=world.plan.seed,
        tasks=sum(batch.tasks for batch in world.plan.batches),
        violation=None if failure is None else failure.code,
        message=message,
        crashes=sum(world.crashes.values()),
        crash_points=dict(world.crashes),
        pauses=world.pauses,
        adoptions=world.life.adoptions,
        moved=world.life.moved,
        waited_too_long=world.life.waited_too_long,
        settled=world.life.settled,
        refunded=world.life.refunded,
        commits=world.commits,
        polls=counts.polls,
        submits=counts.submits,
        callbacks=world.postman.delivered,
        steps=world.loop.steps,
        virtual_seconds=world.loop.time(),
        fingerprint=world.fingerprint(),
        plan=world.plan,
        faults=tuple(world.faults),
        tail=world.tail_lines() if failure is not None else (),
    )


def _on_loop_error(world: World, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, BaseException) and type(error).__name__ != "Dead":
        world.fail(Broken("TASK_RAISED", f"{context.get('message')}: {error!r}"), error)


def _listen(world: World) -> None:
    """Errors that the engine logs are bugs in it, or in the database's guards: they end the run."""

    def hear(_logger: object, _method: str, event: Any) -> Any:
        code = LOGGED_AS.get(event["event"])
        if event["event"] == telemetry.SETTLE_REFUSED and world.refusing.explains_a_log_line():
            raise structlog.DropEvent
        if code is not None and event.get("error") != "Dead":
            world.fail(Broken(code, repr(event)))
        raise structlog.DropEvent

    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        cache_logger_on_first_use=False,
    )
