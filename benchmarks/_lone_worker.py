"""One worker in a process of its own, measured from inside: memory, adoption, CPU per poll.

    python -m benchmarks._lone_worker DATABASE_URL SERVER_URL TASKS SECONDS

Adopts all tasks in flight, polls them as fast as it can, and prints one line of JSON.
"""

import asyncio
import gc
import json
import sys
import time

import psutil
import uvloop

from benchmarks._installation import IntervalSchedule, Stopwatch, grsai_at, new_worker
from benchmarks._server import RunningServer
from rushes.store.database import Database

ADOPT_SECONDS_MAX = 120.0


def _rss_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def _measure(url: str, base_url: str, tasks: int, seconds: float) -> dict[str, float]:
    database = Database(url)
    worker = new_worker(
        database,
        grsai_at(RunningServer(base_url, None, 0)),
        schedule=IntervalSchedule(0.0),
        worker_id="lone",
    )
    await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    idle = _rss_bytes()
    stop = asyncio.Event()
    started = time.perf_counter()
    running = asyncio.create_task(worker.run(stop))
    while worker.in_flight < tasks:
        await asyncio.sleep(0.005)
        if running.done():
            await running
        if time.perf_counter() - started > ADOPT_SECONDS_MAX:
            raise AssertionError(f"only {worker.in_flight} of {tasks} adopted")
    adopt_seconds = time.perf_counter() - started
    adopted = _rss_bytes()
    counts = worker.lanes["grsai"].poller.counts
    while True:
        await asyncio.sleep(0.05)
        if counts.scanned >= tasks * 1.2:
            break
    polled = _rss_bytes()
    before, stopwatch = counts.scanned, Stopwatch()
    await asyncio.sleep(seconds)
    spent, polls = stopwatch.read(), counts.scanned - before
    stop.set()
    await running
    database.close()
    return {
        "adopt_seconds": adopt_seconds,
        "idle_bytes": idle,
        "adopted_bytes_per_task": (adopted - idle) / tasks,
        "polled_bytes_per_task": (polled - idle) / tasks,
        "polls_per_s": polls / spent.seconds,
        "cpu_us_per_poll": spent.cpu_seconds / polls * 1e6,
    }


if __name__ == "__main__":
    found = uvloop.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    print(json.dumps(found))
