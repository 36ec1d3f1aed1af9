"""`silence`: PostgreSQL says nothing for a minute under three workers, neither yes nor no nor goodbye."""

import argparse
import itertools
import json
import time
from datetime import datetime

from sqlalchemy import make_url

from proofs.postgresql import PostgresqlServer, running_postgresql
from proofs.processes import Process
from proofs.result import ProofResult
from proofs.silent_proxy import SilentProxy
from proofs.stage import Pace, Stage, stage
from rushes.store.connections.bounds import ANSWER_SECONDS

TASKS = 400
DATABASE_SECONDS_MAX = 5.0
"""The bound of a transaction here."""

TROUBLE_GAP_SECONDS_MAX = DATABASE_SECONDS_MAX + 2 * ANSWER_SECONDS + 5.0
"""How long a worker may say nothing of its trouble: a transaction's bound, and the longest pause between tries."""

TICK_SECONDS = 6.0
LATE_SECONDS = 12.0
"""What starting a process takes on a busy machine."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long, and for how many."""
    parser.add_argument("--workers", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--silent-seconds", type=float, default=60.0, help="default: %(default)s")


def run(options: argparse.Namespace) -> ProofResult:
    """On a server of its own."""
    with running_postgresql() as server:
        return run_on(server, options)


def run_on(server: PostgresqlServer, options: argparse.Namespace) -> ProofResult:
    """Work through the proxy, hush it, let it speak again, finish, compare."""
    database_url = server.new_database()
    database = make_url(database_url).database
    with (
        SilentProxy(server.socket_path) as proxy,
        stage(
            "silence",
            options,
            database_url=database_url,
            pace=Pace(lease=10.0, render=4.0, in_flight_max=10 * options.workers),
            environment={"RUSHES_DATABASE_TIMEOUT_SECONDS": str(DATABASE_SECONDS_MAX)},
        ) as on,
    ):
        on.work.accept(on.site.environment)
        on.site.environment["RUSHES_DATABASE_URL"] = (
            f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}?sslmode=disable&gssencmode=disable"
        )
        workers = on.start_workers(options.workers)
        time.sleep(3.0)  # so that polls, claims and commits are under way
        before = on.peek.finished()
        proxy.hush()
        hushed_at, began = time.time(), time.monotonic()
        _commands_end_within_their_bounds(on)
        time.sleep(max(0.0, options.silent_seconds - (time.monotonic() - began)))
        finished_meanwhile = on.peek.finished() - before
        spoke_at = time.time()
        _workers_said_so_in_time(on, workers, hushed_at, spoke_at)
        proxy.speak()
        on.finish(workers)
        on.site.environment["RUSHES_DATABASE_URL"] = database_url
        on.result.fact("seconds of silence", spoke_at - hushed_at)
        on.result.fact("connections silenced", proxy.silenced_links)
        on.result.fact("bytes swallowed", proxy.swallowed_bytes)
        on.result.fact("tasks that ended meanwhile", finished_meanwhile)
        on.compare(lossless=False)
        on.result.headline = f"{spoke_at - hushed_at:.0f} s of silence under {options.workers} workers"
        return on.result


def _commands_end_within_their_bounds(on: Stage) -> None:
    """Others that need the database say so, and end."""
    bounds = {
        ("tick", "--budget-seconds", str(TICK_SECONDS)): TICK_SECONDS,
        ("batch", "list"): DATABASE_SECONDS_MAX,
        ("worker", "--until-idle"): DATABASE_SECONDS_MAX,
    }
    for arguments, seconds_max in bounds.items():
        started = time.monotonic()
        process = on.site.start(*arguments)
        process.codes_expected = frozenset({1})
        try:
            process.wait(seconds_max + ANSWER_SECONDS + LATE_SECONDS)
        finally:
            on.result.fact(f"`rushes {' '.join(arguments)}`: seconds until it said so", _since(started))
        if "database" not in process.said():
            on.result.differ([f"`rushes {arguments[0]}` did not say what was wrong: {process.said()[-200:]}"])


def _since(started: float) -> float:
    return time.monotonic() - started


def _workers_said_so_in_time(on: Stage, workers: list[Process], hushed_at: float, spoke_at: float) -> None:
    """Each transaction that fails is a line in the log: between two of them lies no more than the bound."""
    lines, longest = 0, 0.0
    for worker in workers:
        times = [hushed_at]
        for text in worker.said().splitlines():
            if '"database.trouble"' in text:
                at = datetime.fromisoformat(json.loads(text)["timestamp"]).timestamp()
                if hushed_at <= at <= spoke_at:
                    times.append(at)
                    lines += 1
        times.append(spoke_at)
        gap = max(later - earlier for earlier, later in itertools.pairwise(times))
        longest = max(longest, gap)
    on.result.fact("transactions that ended at their bound", lines)
    on.result.fact("longest time without such an end, of a worker", longest)
    if longest > TROUBLE_GAP_SECONDS_MAX:
        on.result.differ([f"a worker waited {longest:.1f} s, more than {TROUBLE_GAP_SECONDS_MAX:g} s"])
