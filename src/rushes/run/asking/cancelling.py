"""Tasks of cancelled batches that are at their providers: each provider that can is asked to drop them.

What waits in the service's queue is dropped, and its credits go back by the verdict of its next poll. What
renders already runs on to its verdict: the provider bills it.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final, assert_never

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.task import CancelRefused, CancelResult, CancelTaken, NoAnswer
from rushes.providers.base import Cancellable
from rushes.run.asking.questions import CHECK_SECONDS, Question, Questions, ask_all
from rushes.run.context import WorkerContext
from rushes.run.lane.asking_once import cannot_be_asked, contained
from rushes.run.lane.lane import Lane
from rushes.run.lane.remote_task import RemoteTask
from rushes.store.tasks import asked

QUIET_SECONDS: Final = 5.0
"""How often it looks while tasks of cancelled batches render on: each look reads all of them."""

log = telemetry.logger()


class Cancelling:
    """Asks providers to drop the worker's tasks of cancelled batches, each until it has an answer."""

    def __init__(self, context: WorkerContext, lanes: Mapping[str, Lane]) -> None:
        self._context = context
        self._lanes = {name: lane for name, lane in lanes.items() if isinstance(lane.provider, Cancellable)}
        self._questions = Questions()

    async def run(self) -> None:
        """Ask about what was cancelled, until cancelled itself."""
        while True:
            try:
                await self.check()
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            await asyncio.sleep(QUIET_SECONDS if self._is_quiet() else CHECK_SECONDS)

    def _is_quiet(self) -> bool:
        """Whether all that was cancelled has been answered and only renders on."""
        questions = self._questions.by_task.values()
        return bool(questions) and all(question.is_answered for question in questions)

    async def check(self) -> None:
        """Ask once about every task that is due."""
        if not any(lane.attempts.polled for lane in self._lanes.values()):
            return
        named = await self._context.database.read(asked.named_of_cancelled_batches, self._context.worker_id)
        self._questions.keep(
            (task_id, attempt, name)
            for task_id, attempt in named
            for name, lane in self._lanes.items()
            if task_id in lane.attempts.polled
        )
        if self._context.lease.is_held():
            await ask_all(
                self._questions.due(), lambda provider: self._lanes[provider].poller.limit, self._ask
            )

    async def _ask(self, question: Question) -> None:
        lane = self._lanes[question.provider]
        task = lane.attempts.polled.get(question.task_id)
        if task is None or task.attempt != question.attempt or task.settling:
            return
        task.is_drop_asked = True  # whatever the answer says
        result = await self._cancel(lane, task)
        log.info(telemetry.CANCEL_ASKED, task_id=task.task_id, outcome=type(result).__name__)
        match result:
            case CancelTaken():
                question.is_answered = True
                lane.poller.dropped(task)
            case CancelRefused():
                question.is_answered = True
            case NoAnswer(retry_after_seconds=retry_after_seconds):
                question.ask_later(retry_after_seconds)
            case other:
                assert_never(other)

    async def _cancel(self, lane: Lane, task: RemoteTask) -> CancelResult:
        provider = lane.poller.provider_of(task)
        if not isinstance(provider, Cancellable):
            return cannot_be_asked(task.host)
        return await contained(partial(provider.cancel, task.remote_task_id), name=lane.provider.name)
