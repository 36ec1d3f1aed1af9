"""Many machines: 1, 2, 4 and 8 workers, each a process of its own, on one PostgreSQL; and a million rows.

All processes share this machine's cores with the database and the polled service, so throughput grows only
until the cores are busy; both are reported. "Even" means that no worker holds more than 1.3 times its share.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, text

from benchmarks._installation import (
    SEED_WORKER,
    accept_tasks,
    analyze,
    count_status,
    fresh_database,
    median,
    new_tasks,
    now_ms,
    open_account,
    postgresql_server,
    seed_in_flight,
)
from benchmarks._server import ALWAYS_RUNNING, RunningServer, running_server
from benchmarks.report import write_section
from rushes.domain.task import Succeeded
from rushes.money.settle import Group, apply_group
from rushes.run.lane.fairness import claim_fairly
from rushes.store import workers
from rushes.store.database import Database

WORKER_COUNTS = (1, 2, 4, 8)
TASKS = 8_000
SETTLED_TASKS = 60_000
LEASE_SECONDS = 3.0
SETTLED_SECONDS_MAX = 300.0
UNEVEN_MAX = 1.3
LIMIT_PER_SECOND = 400.0
FINISHED_ROWS = 900_000
IN_FLIGHT_ROWS = 100_000
SLOWER_MAX = 1.3
CLAIMED = 64
RUNS = 15
"""Of each claim, group and adoption among rows."""
FINISHED_AT_ONCE = 100_000
"""Rows made in a transaction: a statement has its limit of time here as anywhere."""


def run(
    *,
    counts: tuple[int, ...] = WORKER_COUNTS,
    tasks: int = TASKS,
    finished_rows: int = FINISHED_ROWS,
    in_flight_rows: int = IN_FLIGHT_ROWS,
    lease_seconds: float = LEASE_SECONDS,
    settled_tasks: int = SETTLED_TASKS,
) -> dict[str, Any]:
    """Print the tables and write the section `machines`; returns it."""
    with postgresql_server() as uri:
        data: dict[str, Any] = {
            "throughput": {str(count): _throughput(uri, count, tasks, lease_seconds) for count in counts},
            "settled": {str(count): _settled(uri, count, settled_tasks, lease_seconds) for count in counts},
            "spread": _spread(uri, max(counts), tasks, lease_seconds),
            "rows": _rows(uri, finished_rows, in_flight_rows),
        }
    write_section("machines", data)
    return data


# --- processes ----------------------------------------------------------------------------------------


class Fleet:
    """Worker processes on one database; each prints what it holds several times a second."""

    def __init__(
        self,
        database: Database,
        server: RunningServer,
        *,
        interval_seconds: float,
        lease_seconds: float,
        limit: float = 0.0,
    ) -> None:
        self._arguments = [
            database.url.render_as_string(hide_password=False),
            server.base_url,
            str(interval_seconds),
            str(lease_seconds),
            str(limit),
        ]
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """One more worker."""
        command = [sys.executable, "-m", "benchmarks._fleet_worker", f"worker-{len(self.processes)}"]
        root = Path(__file__).resolve().parent.parent
        self.processes.append(subprocess.Popen([*command, *self._arguments], cwd=root, text=True))

    def kill(self, index: int) -> None:
        """SIGKILL, as a machine dies."""
        self.processes[index].kill()
        self.processes[index].wait()

    def end(self) -> None:
        """Kill all."""
        for index in range(len(self.processes)):
            self.kill(index)


def _held(database: Database) -> dict[str, int]:
    """Tasks in flight by live worker, as the database has it."""

    def read(connection: Connection) -> dict[str, int]:
        rows = connection.execute(
            text(
                "SELECT w.id, (SELECT count(*) FROM video_tasks t WHERE t.worker_id = w.id"
                " AND t.status = 'processing') FROM workers w WHERE w.lease_expires_at_ms > :now"
            ),
            {"now": now_ms()},
        )
        return {row[0]: row[1] for row in rows}

    return database.run_reading(read)


def _until(condition: Callable[[], bool], seconds_max: float) -> float:
    """Seconds until the condition held."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds_max:
            raise AssertionError(f"it did not come to that within {seconds_max:g} s")
        time.sleep(0.02)
    return time.perf_counter() - started


def _is_even(database: Database, count: int, tasks: int) -> bool:
    held = _held(database)
    return (
        len(held) == count
        and sum(held.values()) == tasks
        and max(held.values()) <= UNEVEN_MAX * tasks / count
    )


def _throughput(uri: str, count: int, tasks: int, lease_seconds: float) -> dict[str, float]:
    """Polls per second of that many workers together, polling as fast as they can."""
    with (
        running_server(running_answers=ALWAYS_RUNNING) as server,
        fresh_database("postgresql", server_uri=uri) as database,
    ):
        seed_in_flight(database, tasks)
        fleet = Fleet(database, server, interval_seconds=0.0, lease_seconds=lease_seconds)
        try:
            for _ in range(count):
                fleet.start()
            _until(lambda: _is_even(database, count, tasks), 60)
            time.sleep(5.5)  # adopted tasks are first polled within five seconds
            before, started = server.stats()["requests"], time.perf_counter()
            psutil.cpu_percent(None)
            time.sleep(3)
            polls_per_s = (server.stats()["requests"] - before) / (time.perf_counter() - started)
            busy = psutil.cpu_percent(None) / 100
        finally:
            fleet.end()
    print(
        f"  {count} workers: {polls_per_s:8,.0f} polls/s, {busy:.0%} of {psutil.cpu_count()} cores busy",
        flush=True,
    )
    return {"polls_per_s": polls_per_s, "cores_busy": busy}


def _settled(uri: str, count: int, tasks: int, lease_seconds: float) -> dict[str, float]:
    """Tasks that so many workers together settle per second, each found done by its first poll."""
    with (
        running_server(running_answers=0) as server,
        fresh_database("postgresql", server_uri=uri) as database,
    ):
        seed_in_flight(database, tasks)
        fleet = Fleet(database, server, interval_seconds=0.0, lease_seconds=lease_seconds)
        seen: list[tuple[float, int]] = []
        try:
            for _ in range(count):
                fleet.start()
            psutil.cpu_percent(None)
            while not seen or seen[-1][1] < tasks:
                seen.append((time.perf_counter(), count_status(database, "succeeded")))
                if seen[-1][0] - seen[0][0] > SETTLED_SECONDS_MAX:
                    raise AssertionError(f"only {seen[-1][1]} of {tasks} tasks were settled")
                time.sleep(0.1)
            busy = psutil.cpu_percent(None) / 100
        finally:
            fleet.end()
    # the middle: workers start one after the other, and the last tasks wait for the last worker
    [first, *_] = [each for each in seen if each[1] >= tasks * 0.2]
    [last, *_] = [each for each in seen if each[1] >= tasks * 0.8]
    per_s = (last[1] - first[1]) / (last[0] - first[0])
    print(
        f"  {count} workers: {per_s:8,.0f} tasks settled/s, {busy:.0%} of {psutil.cpu_count()} cores busy",
        flush=True,
    )
    return {"settled_per_s": per_s, "cores_busy": busy}


def _spread(uri: str, count: int, tasks: int, lease_seconds: float) -> dict[str, Any]:
    """How long after each join and after a death the tasks are evenly spread; and whether a limit holds."""
    found: dict[str, Any] = {"lease_seconds": lease_seconds, "joins_seconds": []}
    with (
        running_server(running_answers=ALWAYS_RUNNING) as server,
        fresh_database("postgresql", server_uri=uri) as database,
    ):
        seed_in_flight(database, tasks)
        fleet = Fleet(database, server, interval_seconds=10.0, lease_seconds=lease_seconds)
        try:
            for number in range(1, count + 1):
                fleet.start()
                _until(lambda now=number: len(_held(database)) == now, 30)  # type: ignore[misc]
                even = _until(lambda now=number: _is_even(database, now, tasks), 30)  # type: ignore[misc]
                found["joins_seconds"].append(even)
            fleet.kill(0)
            lapse = _until(lambda: len(_held(database)) == count - 1, 30)
            found["death_seconds"] = _until(lambda: _is_even(database, count - 1, tasks), 30)
        finally:
            fleet.end()
    joined = max(found["joins_seconds"][1:], default=0.0)
    died = found["death_seconds"]
    print(
        f"  even at most {joined:.1f} s after a join, and {died:.1f} s after a dead worker's lease ran out"
        f" ({lapse:.1f} s after its death); at most one lease of {lease_seconds:g} s:"
        f" {'met' if max(joined, died) <= lease_seconds else 'MISSED'}",
        flush=True,
    )
    return found | _limit(uri, count, tasks, lease_seconds)


def _limit(uri: str, count: int, tasks: int, lease_seconds: float) -> dict[str, Any]:
    with (
        running_server(running_answers=ALWAYS_RUNNING, polls_per_second=LIMIT_PER_SECOND) as server,
        fresh_database("postgresql", server_uri=uri) as database,
    ):
        seed_in_flight(database, tasks)
        fleet = Fleet(
            database, server, interval_seconds=0.0, lease_seconds=lease_seconds, limit=LIMIT_PER_SECOND
        )
        try:
            fleet.start()
            time.sleep(lease_seconds)
            for _ in range(count - 1):
                fleet.start()
            time.sleep(2 * lease_seconds)
            fleet.kill(0)
            time.sleep(2 * lease_seconds)
            stats = server.stats()
        finally:
            fleet.end()
    violations = stats["limit_violations"]
    print(
        f"  a limit of {LIMIT_PER_SECOND:g} polls/s over joins and a death: {stats['requests']:,} polls,"
        f" exceeded {violations} times: {'met' if violations == 0 else 'MISSED'}",
        flush=True,
    )
    return {"limit_per_second": LIMIT_PER_SECOND, "limit_violations": violations}


# --- a million rows -----------------------------------------------------------------------------------


def _rows(uri: str, finished_rows: int, in_flight_rows: int) -> dict[str, Any]:
    """Claim, adopt and settle in a small table and in one with all those rows."""
    few = in_flight_rows * 3 // 10
    settled = min(500, few // (4 * RUNS))
    adopted = 2 * settled
    small = _times(uri, 0, few, settled=settled, adopted=adopted)
    large = _times(uri, finished_rows, in_flight_rows, settled=settled, adopted=adopted)
    rows = finished_rows + in_flight_rows
    found: dict[str, Any] = {"rows": rows, "in_flight": in_flight_rows}
    for name in small:
        ratio = large[name] / small[name]
        found[name] = {"small_seconds": small[name], "large_seconds": large[name], "ratio": ratio}
        print(
            f"  {name:20} {small[name] * 1000:8.1f} ms, with {rows:,} rows {large[name] * 1000:8.1f} ms:"
            f" {ratio:.2f} x, at most {SLOWER_MAX}: {'met' if ratio <= SLOWER_MAX else 'MISSED'}",
            flush=True,
        )
    return found


def _times(
    uri: str, finished_rows: int, in_flight_rows: int, *, settled: int, adopted: int
) -> dict[str, float]:
    with fresh_database("postgresql", server_uri=uri) as database:
        if finished_rows:
            insert_finished(database, finished_rows)
        seed_in_flight(database, in_flight_rows, batch_tasks=min(in_flight_rows, 10_000))
        account_id = database.run(open_account, "claims", 100_000)
        database.run(accept_tasks, account_id, new_tasks(CLAIMED * RUNS))
        analyze(database)
        return {
            f"claim {CLAIMED} tasks": median(claim_seconds(database)),
            f"settle {settled} tasks": median(settle_seconds(database, settled)),
            f"adopt {adopted} tasks": median(adopt_seconds(database, adopted)),
        }


def insert_finished(database: Database, count: int) -> None:
    """That many tasks which succeeded long ago, with resolutions, ledger entries and events, by plain SQL."""

    def one(connection: Connection) -> int:
        return accept_tasks(connection, open_account(connection, "history", count), new_tasks(1))

    batch_id = database.run(one)
    for first in range(1, count + 1, FINISHED_AT_ONCE):
        last = min(first + FINISHED_AT_ONCE - 1, count)
        database.run(_insert_like_the_first, batch_id=batch_id, first=first, last=last)


def _insert_like_the_first(connection: Connection, *, batch_id: int, first: int, last: int) -> None:
    columns = "account_id, model, options, credits, provider, api_model"
    of_these = "batch_id = :batch_id AND item_index BETWEEN :first AND :last"
    values = {"batch_id": batch_id, "first": first, "last": last, "now": now_ms(), "hash": "0" * 64}
    for insert in (
        "WITH RECURSIVE series(n) AS (SELECT CAST(:first AS bigint) UNION ALL"
        " SELECT n + 1 FROM series WHERE n < :last)"
        " INSERT INTO video_tasks (batch_id, item_index, prompt, status, attempt, worker_id,"
        f" remote_task_id, progress, dispatched_at_ms, completed_at_ms, video_url, created_at_ms, {columns})"
        " SELECT batch_id, n, prompt || n, 'succeeded', 1, 'history', 'remote-' || n, 100, created_at_ms,"
        " created_at_ms,"
        f" 'https://file.example.com/video/' || n || '.mp4', created_at_ms, {columns}"
        " FROM video_tasks, series WHERE batch_id = :batch_id AND item_index = 0",
        "INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)"
        f" SELECT id, batch_id, 1, 'settle', credits, :now FROM video_tasks WHERE {of_these}",
        "INSERT INTO ledger_entries (account_id, seq, type, delta, balance_after, batch_id, task_id,"
        " parts, description, created_at_ms, hash)"
        " SELECT account_id, item_index + 1000, 'settle', 0, 0, batch_id, id, '[]', '', :now,"
        f" :hash FROM video_tasks WHERE {of_these}",
        "INSERT INTO batch_events (batch_id, seq, type, task_id, created_at_ms) SELECT batch_id,"
        f" item_index + 1000, 'video.succeeded', id, :now FROM video_tasks WHERE {of_these}",
    ):
        connection.execute(text(insert), values)


def _registered(database: Database, name: str) -> str:
    """The id of a new worker with a lease of an hour."""
    worker_id, now = f"{name}-{time.monotonic_ns()}", now_ms()
    database.run(workers.register, worker_id, host="", pid=0, now_ms=now, lease_expires_at_ms=now + 3_600_000)
    return worker_id


def _timed(action: Callable[[int], object]) -> list[float]:
    """Seconds of each of `RUNS` runs, without the first two, which warm up."""
    times = []
    for number in range(RUNS):
        started = time.perf_counter()
        action(number)
        times.append(time.perf_counter() - started)
    return times[2:]


def claim_seconds(database: Database, size: int = CLAIMED) -> list[float]:
    """Claims of so many pending tasks."""
    worker_id = _registered(database, "claimer")

    def claim(_number: int) -> None:
        claimed = database.run(
            claim_fairly, provider="grsai", worker_id=worker_id, limit=size, now_ms=now_ms()
        )
        assert len(claimed) == size

    return _timed(claim)


def settle_seconds(database: Database, size: int) -> list[float]:
    """Groups of so many verdicts on tasks in flight of the seeding worker."""

    def first_ids(connection: Connection) -> list[int]:
        rows = connection.execute(
            text(
                "SELECT id FROM video_tasks WHERE worker_id = :seed AND status = 'processing'"
                " ORDER BY id LIMIT :n"
            ),
            {"seed": SEED_WORKER, "n": size * RUNS},
        )
        return [row[0] for row in rows]

    ids = database.run_reading(first_ids)

    def settle(number: int) -> None:
        group = Group()
        for task_id in ids[number * size : (number + 1) * size]:
            group.verdicts.append((task_id, 1, Succeeded(f"https://file.example.com/video/{task_id}.mp4")))
        applied = database.run(apply_group, group, worker_id=SEED_WORKER, now_ms=now_ms())
        assert len(applied.settled) == size

    return _timed(settle)


def adopt_seconds(database: Database, size: int) -> list[float]:
    """Adoptions of so many of a dead worker's tasks."""
    worker_id = _registered(database, "adopter")

    def adopt(_number: int) -> None:
        adopted = database.run(workers.adopt, worker_id, providers=["grsai"], now_ms=now_ms(), limit=size)
        assert len(adopted) == size

    return _timed(adopt)
