"""A callback that names a submit of unknown outcome just when the steward decides about it."""

import asyncio

from rushes.domain.task import PollResult, Processing, SubmitOutcome
from rushes.engine.limits import RateLimit
from rushes.engine.nudges import Nudges
from rushes.providers.base import ProviderLimits, ResultFiles, SubmitRequest
from rushes.store.database import Database
from rushes.store.tasks import OwnedTask


class Knows:
    """A provider that has every task."""

    name = "grsai"
    limits = ProviderLimits()
    result_files = ResultFiles()

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        raise NotImplementedError

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        return Processing(1)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        return None


class Named:
    """Remembers which attempts were named."""

    def __init__(self) -> None:
        self.attempts: list[tuple[int, int, str]] = []

    def accepted(self, task_id: int, attempt: int, remote_task_id: str) -> None:
        self.attempts.append((task_id, attempt, remote_task_id))


def test_a_submit_that_is_decided_just_when_its_callback_is_looked_at_stops_nobody(
    database: Database,
) -> None:
    def unconfirmed(task_id: int) -> OwnedTask:
        return OwnedTask(task_id, 1, 1, "grsai", "sora-2", None, 0, 0, 0)

    async def scenario() -> None:
        held, named = {task_id: unconfirmed(task_id) for task_id in (1, 2)}, Named()
        nudges = Nudges(
            database,
            worker_id="w",
            provider_of=lambda _task: Knows(),
            unconfirmed=held,
            poll_now=lambda _task_id: False,
            is_submitting=lambda _task_id: False,
            sink=named,
            poll_limits={"grsai": RateLimit(None)},
        )
        for task_id in held:
            assert nudges.offer(task_id, attempt=1, remote_task_id=f"r-{task_id}")
        # as the steward does whose own read returns in this moment
        asyncio.get_running_loop().call_soon(held.pop, 1)
        await nudges._confirm_candidates()
        assert named.attempts == [(2, 1, "r-2")]

    asyncio.run(scenario())
