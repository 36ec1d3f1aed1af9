"""The parts of one worker's run, put together for tests that look at a single one of them."""

import asyncio
import random
from collections.abc import Callable
from math import inf
from typing import Any

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.polling.schedule import LadderSchedule, PollSchedule
from rushes.providers.base import ProviderConfig
from rushes.providers.families.grsai import GrsaiProvider
from rushes.run.commit import Committed, Committer
from rushes.run.context import WorkerConfig, WorkerContext
from rushes.run.inputs.source import UrlsOnly
from rushes.run.lease import OwnLease
from rushes.run.meters import Meters
from rushes.run.sent_record import NoRecord, NoRecords, SentRecords
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from tests.books import WORKER


def held_lease() -> OwnLease:
    """A lease that never runs out."""
    lease = OwnLease((lambda: 0.0,), inf)
    lease.renewed(lease.now())
    return lease


def simulated_provider() -> GrsaiProvider:
    """A provider over the simulator's core, in process; its tasks are those of `tests.books`."""
    core = SimulatorCore(SimulatorKnobs(), base_url="http://files.invalid")
    return GrsaiProvider(
        ProviderConfig(
            host="http://service.invalid",
            api_key="key",
            transport=SimulatorTransport(core, clock=asyncio.get_running_loop().time),
        )
    )


def context_of(
    database: Any = None,
    *,
    schedule: PollSchedule | None = None,
    config: WorkerConfig | None = None,
    lease: OwnLease | None = None,
    committer: Committer | None = None,
    meters: Meters | None = None,
    records: SentRecords | None = None,
    now_ms: Callable[[], int] = lambda: 2_000,
) -> WorkerContext:
    """What the parts of a worker share. Without a database nothing of it may touch one."""
    return WorkerContext(
        worker_id=WORKER,
        database=database,
        catalogue=DEFAULT_CATALOGUE,
        schedule=schedule or LadderSchedule(1.0, 30.0),
        config=config or WorkerConfig(),
        lease=lease or held_lease(),
        committer=committer or Committer(database, worker_id=WORKER, now_ms=now_ms),
        meters=meters or Meters(),
        inputs=UrlsOnly(),
        records=records or NoRecords(),
        record=NoRecord(),
        now_ms=now_ms,
        jitter=random.Random(1),
    )


async def commit_into(answers: list[Committed], committer: Committer) -> None:
    """Commit until cancelled, as a worker does, and keep the answers."""
    while True:
        answers.append(await committer.commit_next())


async def ended(running: "asyncio.Task[None]") -> None:
    """Cancel it and wait for its end."""
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
