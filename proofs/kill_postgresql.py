"""`kill-postgresql`: several workers on one PostgreSQL, one (sometimes two) killed with -9 at a time."""

import argparse
import time

from proofs import on_the_wire
from proofs.on_the_wire import Wire
from proofs.postgresql import PostgresqlServer, running_postgresql
from proofs.processes import Process, wait_until
from proofs.result import ProofResult
from proofs.stage import START_SECONDS_MAX, Pace, Stage, stage

TASKS = 946
PAUSE_SECONDS_MAX = 1.5
"""A kill comes up to so long after there is a worker at work to be killed."""

STARTING_SHARE = 0.1
"""Share of kills that may take any worker, also one that is still starting."""

TWO_SHARE = 0.2
"""Share of kills that take two workers at once; each counts."""

SETTLED_BACKEND_SECONDS = 0.1
"""A commit that was in hand at a kill has ended after that, one way or the other."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many kills and workers."""
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=3, help="default: %(default)s")
    on_the_wire.add_option(parser)


def run(options: argparse.Namespace) -> ProofResult:
    """On a server of its own."""
    with running_postgresql() as server:
        return run_on(server, options)


def run_on(server: PostgresqlServer, options: argparse.Namespace) -> ProofResult:
    """Kill, start again, let them finish, compare."""
    database_url = server.new_database()
    wire = Wire() if options.submits_per_second else None
    pace = Pace(in_flight_max=8 * options.workers)
    more = on_the_wire.stage_arguments(options)
    with stage("kill-postgresql", options, database_url=database_url, pace=pace, **more) as on:
        on.work.accept(on.site.environment)
        workers = on.start_workers(options.workers)
        under_way = _kill(on, workers, options.kills, wire)
        on.finish(workers)
        if wire is not None:
            wire.tell(on)
        on.compare(lossless=False)
        on.result.differ(on.not_given_up(under_way))
        on.result.headline = (
            f"{options.kills} kills among {options.workers} workers, {on.peek.finished()} tasks"
        )
        return on.result


def _kill(on: Stage, workers: list[Process], kills: int, wire: Wire | None) -> set[tuple[int, int]]:
    """Kill that often; returns the attempts that were under way at a kill."""
    under_way: set[tuple[int, int]] = set()
    killed = hits = doubles = owned = 0
    wait_until(lambda: on.peek.finished() > 0, "the first task", seconds_max=START_SECONDS_MAX)
    while killed < kills:
        chosen = _choose(on, workers, 2 if on.random.random() < TWO_SHARE and killed + 2 <= kills else 1)
        if not chosen:
            break  # one has ended by itself: the comparison names it
        killed_at = time.monotonic()
        for index in chosen:
            workers[index].kill()
        time.sleep(SETTLED_BACKEND_SECONDS)
        for index in chosen:
            caught = on.peek.under_way(workers[index].pid)
            owned += bool(on.peek.owned(workers[index].pid))
            hits += bool(caught)
            under_way |= caught
            if wire is not None:
                wire.judge(on, caught, killed_at)
            workers[index] = on.site.start("worker")
        killed += len(chosen)
        doubles += len(chosen) == 2
    on.result.fact("kills", killed)
    on.result.fact("· two at once", doubles)
    on.result.fact("· of a worker with tasks in flight", owned)
    on.result.fact("· with submits under way", hits)
    on.result.fact("tasks taken over from dead workers", on.site.adopted())
    return under_way


def _choose(on: Stage, workers: list[Process], count: int) -> list[int]:
    """Wait for a random moment; returns whom to kill. Nobody when a worker has ended by itself."""
    if on.random.random() < STARTING_SHARE:
        time.sleep(on.random.uniform(0.0, PAUSE_SECONDS_MAX))
        chosen = on.random.sample(range(len(workers)), count)
    else:
        chosen = []

        def enough_at_work() -> bool:
            on.feed()
            chosen[:] = [index for index, worker in enumerate(workers) if on.peek.owned(worker.pid)]
            return len(chosen) >= count or not all(worker.running for worker in workers)

        wait_until(enough_at_work, "workers at work", seconds_max=START_SECONDS_MAX)
        chosen = on.random.sample(chosen, min(count, len(chosen)))
        time.sleep(on.random.uniform(0.0, PAUSE_SECONDS_MAX))
    return chosen if all(worker.running for worker in workers) else []
