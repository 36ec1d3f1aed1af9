"""`kill-sqlite`: one worker on SQLite, killed with -9 at random moments and started again."""

import argparse
import time

from proofs import on_the_wire
from proofs.on_the_wire import Wire
from proofs.processes import Process, wait_until
from proofs.result import ProofResult
from proofs.stage import START_SECONDS_MAX, Pace, Stage, stage

TASKS = 946
STARTING_SHARE = 0.15
"""Share of kills that fall into a process's start: imports, migration, grant, acceptance, registration."""

STARTING_SECONDS = 1.2
LIFE_SECONDS = 1.8
"""A worker that is to be killed at work is killed up to so long after its registration."""

AIMED_SHARE = 0.2
AIM_SECONDS_MAX = 1.5
"""Share of kills that wait, at most so long, for a submit under way: a random moment seldom meets one."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many kills."""
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    on_the_wire.add_option(parser)


def run(options: argparse.Namespace) -> ProofResult:
    """Kill, start again, let it finish, compare."""
    wire = Wire() if options.submits_per_second else None
    pace = Pace(in_flight_max=40)
    more = on_the_wire.stage_arguments(options)
    with stage("kill-sqlite", options, database_url=None, pace=pace, **more) as on:
        under_way = _kill(on, options.kills, wire)
        on.finish_with_a_last_worker()
        if wire is not None:
            wire.tell(on)
        on.compare(lossless=False)
        on.result.differ(on.not_given_up(under_way))
        on.result.headline = f"{options.kills} kills, {on.peek.finished()} tasks"
        return on.result


def _kill(on: Stage, kills: int, wire: Wire | None) -> set[tuple[int, int]]:
    """Kill that often; returns the attempts that were under way at a kill."""
    under_way: set[tuple[int, int]] = set()
    killed = hits = starting = 0
    accepting: tuple[str, ...] = ()
    while killed < kills:
        if not accepting or (_is_accepted(on) and on.is_short_of_work()):
            accepting = on.work.next_run()
        # a `run` that is started again with the same request id goes on with its batch
        command = accepting if not _is_accepted(on) or on.random.random() < 0.5 else ("worker",)
        process = on.site.start(*command)
        at_start = on.random.random() < STARTING_SHARE
        if at_start:
            time.sleep(on.random.uniform(0.02, STARTING_SECONDS))
        else:
            _wait_for_the_moment(on, process, is_aimed=wire is None and on.random.random() < AIMED_SHARE)
        killed_at = time.monotonic()
        if not process.kill():
            if process.faults():
                break
            continue  # it had finished the batch
        killed += 1
        starting += at_start
        if on.peek.in_flight():
            caught = on.peek.under_way(process.pid)
            hits += bool(caught)
            under_way |= caught
            if wire is not None:
                wire.judge(on, caught, killed_at)
    on.result.fact("kills", killed)
    on.result.fact("· while starting", starting)
    on.result.fact("· with submits under way", hits)
    on.result.fact("submits under way at a kill", len(under_way))
    return under_way


def _wait_for_the_moment(on: Stage, process: Process, *, is_aimed: bool) -> None:
    wait_until(
        lambda: not process.running or on.peek.registered(process.pid),
        "a worker's registration",
        seconds_max=START_SECONDS_MAX,
        every=0.02,
    )
    if is_aimed:
        deadline = time.monotonic() + AIM_SECONDS_MAX
        while process.running and time.monotonic() < deadline and not on.peek.under_way(process.pid):
            time.sleep(0.002)
    else:
        time.sleep(on.random.uniform(0.0, LIFE_SECONDS))


def _is_accepted(on: Stage) -> bool:
    """Whether the newest batch is in the books."""
    found = on.peek.number(
        "SELECT count(*) FROM batches WHERE request_id = :id", id=f"proof-{on.work.batches}"
    )
    return bool(found)
