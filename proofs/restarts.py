"""`postgresql-restarts`: PostgreSQL crashes or restarts every few seconds under several workers."""

import argparse
import time

from proofs.postgresql import PostgresqlServer, RestartMode, running_postgresql
from proofs.result import ProofResult
from proofs.stage import FINISH_SECONDS_MAX, Pace, Stage, stage

TASKS = 5000
PAUSE_SECONDS_MIN = 1.0
PAUSE_SECONDS_MAX = 4.0
"""How long the server is up between two restarts."""

RESTARTS_MAX = 500
"""A bound on a run that makes no progress."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many workers."""
    parser.add_argument("--workers", type=int, default=3, help="default: %(default)s")


def run(options: argparse.Namespace) -> ProofResult:
    """On a server of its own."""
    with running_postgresql() as server:
        return run_on(server, options)


def run_on(server: PostgresqlServer, options: argparse.Namespace) -> ProofResult:
    """Restart until every task is final, compare."""
    database_url = server.new_database()
    pace = Pace(lease=2.0, in_flight_max=20 * options.workers)
    with stage("postgresql-restarts", options, database_url=database_url, pace=pace) as on:
        on.work.accept(on.site.environment)
        workers = on.start_workers(options.workers)
        restarts = _restart_until_done(on, server)
        on.finish(workers)
        on.compare(lossless=False)
        on.result.headline = f"{restarts} restarts of PostgreSQL under {options.tasks} tasks"
        return on.result


def _restart_until_done(on: Stage, server: PostgresqlServer) -> int:
    modes: tuple[RestartMode, RestartMode] = ("immediate", "fast")
    restarts = 0
    away_seconds = 0.0
    deadline = time.monotonic() + FINISH_SECONDS_MAX + on.work.batches * len(on.work.prompts) * 0.2
    while restarts < RESTARTS_MAX and time.monotonic() < deadline:
        time.sleep(on.random.uniform(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX))
        if on.peek.open_tasks() == 0:
            break
        before = time.monotonic()
        server.restart(modes[restarts % 2])
        away_seconds += time.monotonic() - before
        restarts += 1
    on.result.fact("restarts with -m immediate (a crash)", (restarts + 1) // 2)
    on.result.fact("restarts with -m fast", restarts // 2)
    on.result.fact("seconds that the server was away", away_seconds)
    return restarts
