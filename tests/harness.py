"""The whole engine over a test's database and a simulator on real HTTP."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rushes.library import Rushes
from rushes.settings import Settings
from rushes.simulator import SimulatorKnobs

QUICK = {
    "GRSAI_API_KEY": "test-key",
    "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.05",
    "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.2",
    "RUSHES_REQUEST_TIMEOUT_SECONDS": "5",
    "RUSHES_UNCONFIRMED_GRACE_SECONDS": "0.5",
    "RUSHES_NOT_FOUND_GRACE_SECONDS": "0.2",
    "RUSHES_LEASE_SECONDS": "3",
}
"""Environment of a test: everything a hundred times faster than in production."""

SERVICE_THREAD = "rushes-service"
"""The name of the thread of a service that outlives a test; what it logs is no other test's business."""

FAMILIES = ("sora-2", "veo-flash", "veo-pro", "minimax-h3")

FAST = SimulatorKnobs(render_seconds=0.4, slow_seconds=0.5)
"""A simulator that renders in less than a second and fails nothing."""


def knobs(**changes: Any) -> SimulatorKnobs:
    """`FAST` with changes."""
    return dataclasses.replace(FAST, **changes)


def items(count: int, models: Sequence[str] = FAMILIES) -> list[dict[str, Any]]:
    """That many items with prompts of their own, over the models in turn."""
    return [{"prompt": f"prompt {n}", "model": models[n % len(models)]} for n in range(count)]


@asynccontextmanager
async def rushes_on(
    database_url: str, host: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Rushes]:
    """A `Rushes` with plenty of credits."""
    settings = Settings.load(
        {**QUICK, "RUSHES_DATABASE_URL": database_url, "GRSAI_HOST": host, **(environment or {})},
        env_file=None,
    )
    async with Rushes(settings) as rushes:
        await rushes.grant(1_000_000)
        yield rushes


async def run_for(rushes: Rushes, batch_id: str, *, seconds_max: float = 30.0) -> dict[str, Any]:
    """Work on the batch until it is finished; fails the test when that takes too long."""
    async with asyncio.timeout(seconds_max):
        return await rushes.run(batch_id)


async def run_a_while(rushes: Rushes, batch_id: str, *, seconds: float) -> dict[str, Any]:
    """Work on the batch for some time, then stop as SIGTERM does."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    return await rushes.run(batch_id, stop=stop)


def assert_money_adds_up(batch: Mapping[str, Any]) -> None:
    """A finished batch has kept or given back every credit it reserved."""
    assert batch["pending_count"] + batch["processing_count"] == 0
    assert batch["credits_reserved"] == batch["credits_settled"] + batch["credits_refunded"]
    assert batch["completed_at"] is not None
