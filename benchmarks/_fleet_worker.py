"""One of several workers on one PostgreSQL, in a process of its own, until it is killed.

    python -m benchmarks._fleet_worker NAME DATABASE_URL SERVER_URL INTERVAL_SECONDS LEASE_SECONDS LIMIT

LIMIT is the provider's polls per second for all workers together; 0 for none.
"""

import asyncio
import sys

import uvloop

from benchmarks._installation import IntervalSchedule, grsai_at, new_worker
from benchmarks._server import RunningServer
from rushes.providers.base import ProviderLimits
from rushes.store.database import Database


async def _work(name: str, url: str, base_url: str, interval: float, lease: float, limit: float) -> None:
    worker = new_worker(
        Database(url),
        grsai_at(RunningServer(base_url, None, 0), ProviderLimits(polls_per_second=limit or None)),
        schedule=IntervalSchedule(interval, spread=0.5),
        lease_seconds=lease,
        worker_id=name,
    )
    await worker.run(asyncio.Event())


if __name__ == "__main__":
    numbers = [float(argument) for argument in sys.argv[4:7]]
    uvloop.run(_work(sys.argv[1], sys.argv[2], sys.argv[3], numbers[0], numbers[1], numbers[2]))
