"""Lateness: how long after its due time each poll starts, with 10,000 tasks in flight under a limit.

The server counts in its own clock whether more polls than the limit ever came within one second.
"""

import asyncio
import time
from typing import Any

import uvloop

from benchmarks._installation import (
    IntervalSchedule,
    fresh_database,
    grsai_at,
    new_worker,
    percentile,
    postgresql_server,
    seed_in_flight,
)
from benchmarks._server import ALWAYS_RUNNING, RunningServer, running_server
from benchmarks.report import write_section
from rushes.providers.base import ProviderLimits
from rushes.run.meters import Meters
from rushes.store.database import Database

TASKS = 10_000
INTERVAL_SECONDS = 10.0
SECONDS = 20.0
P99_SECONDS_MAX = 0.25
LIMIT_FACTOR = 1.25
"""The provider's limit, as a multiple of the polls that the interval asks for."""


def run(
    *, tasks: int = TASKS, interval: float = INTERVAL_SECONDS, seconds: float = SECONDS
) -> dict[str, Any]:
    """Print the table and write the section `lateness`; returns it."""
    limit = LIMIT_FACTOR * tasks / interval
    data: dict[str, Any] = {}
    with postgresql_server() as uri:
        for dialect in ("sqlite", "postgresql"):
            with (
                running_server(running_answers=ALWAYS_RUNNING, polls_per_second=limit) as server,
                fresh_database(dialect, server_uri=uri) as database,
            ):
                seed_in_flight(database, tasks)
                found = uvloop.run(_measure(database, server, tasks, interval, seconds, limit))
                found["limit_violations"] = server.stats()["limit_violations"]
            data[dialect] = found
            _print(dialect, found)
    data |= {"tasks": tasks, "interval_seconds": interval, "polls_per_second_limit": limit}
    write_section("lateness", data)
    return data


def _print(dialect: str, found: dict[str, float]) -> None:
    met = (
        found["p99_seconds"] <= P99_SECONDS_MAX
        and found["early_polls"] == 0
        and found["limit_violations"] == 0
    )
    p50_ms, p99_ms, max_ms = (found[f"{name}_seconds"] * 1000 for name in ("p50", "p99", "max"))
    print(
        f"  {dialect:10} {found['polls_per_s']:6,.0f} polls/s,"
        f" lateness p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms, max {max_ms:.0f} ms;"
        f" early {found['early_polls']:.0f}, limit exceeded {found['limit_violations']:.0f} times;"
        f" p99 at most {P99_SECONDS_MAX * 1000:.0f} ms: {'met' if met else 'MISSED'}"
    )


async def _measure(
    database: Database, server: RunningServer, tasks: int, interval: float, seconds: float, limit: float
) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    late: list[float] = []

    class Listening(Meters):
        """Meters that keep every single lateness."""

        def polled(self, *, late_seconds: float) -> None:
            # uvloop's clock stands still while callbacks run; what has passed since then counts too
            late.append(late_seconds + max(0.0, time.monotonic() - loop.time()))

    worker = new_worker(
        database,
        grsai_at(server, ProviderLimits(polls_per_second=limit)),
        schedule=IntervalSchedule(interval, spread=0.5),
        meters=Listening(),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    # the first polls after an adoption come within a few seconds: let them spread over the interval
    await asyncio.sleep(1.5 * interval)
    assert worker.in_flight == tasks
    late.clear()
    started = loop.time()
    await asyncio.sleep(seconds)
    heard, elapsed = list(late), loop.time() - started
    stop.set()
    await running
    return {
        "polls_per_s": len(heard) / elapsed,
        "p50_seconds": percentile(heard, 0.5),
        "p99_seconds": percentile(heard, 0.99),
        "max_seconds": max(heard),
        "early_polls": float(sum(1 for each in heard if each < 0)),
    }
