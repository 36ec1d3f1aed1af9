"""Submits of unknown outcome, settled by asking: which task has the service by our submit key?

Only where the service can be asked so. What it has is followed; what it never took is sent again as a new
attempt, under a new key. An answer of neither kind leaves the attempt as it is, until its grace ends.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import assert_never

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.task import Accepted, FindResult, NeverTaken, NoAnswer
from rushes.providers.base import Findable
from rushes.run.asking.questions import CHECK_SECONDS, Question, Questions, ask_all
from rushes.run.context import WorkerContext
from rushes.run.lane.asking_once import cannot_be_asked, contained
from rushes.run.lane.lane import Lane
from rushes.store.tasks import OwnedTask, asked

log = telemetry.logger()


class Finding:
    """Asks about the lanes' unconfirmed attempts. "Never taken" counts when it is said twice, the second time
    after the grace for services that copy between machines: just after the submit, they may not know
    everywhere what they took.
    """

    def __init__(self, context: WorkerContext, lanes: Mapping[str, Lane]) -> None:
        self._context = context
        self._lanes = {name: lane for name, lane in lanes.items() if isinstance(lane.provider, Findable)}
        self._questions = Questions()
        self._grace_ms = int(context.config.not_found_grace_seconds * 1000)

    async def run(self) -> None:
        """Ask about what becomes unconfirmed, until cancelled."""
        while True:
            try:
                await self.check()
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Ask once about every attempt that is due."""
        held = [task for lane in self._lanes.values() for task in lane.attempts.unconfirmed.values()]
        self._questions.keep((task.task_id, task.attempt, task.provider) for task in held)
        due = self._questions.due()
        if not due or not self._context.lease.is_held():
            return
        keys = await self._context.database.read(
            asked.submit_keys_if_owned,
            [(question.task_id, question.attempt) for question in due],
            worker_id=self._context.worker_id,
        )

        async def ask(question: Question) -> None:
            task = self._unconfirmed(question)
            if task is not None and question.task_id in keys:
                result = await self._find(task, keys[question.task_id])
                self._act(question, result)

        await ask_all(due, lambda provider: self._lanes[provider].poller.limit, ask)

    def _unconfirmed(self, question: Question) -> OwnedTask | None:
        """The attempt, unless a callback or its grace has decided about it meanwhile."""
        task = self._lanes[question.provider].attempts.unconfirmed.get(question.task_id)
        return task if task is not None and task.attempt == question.attempt else None

    async def _find(self, task: OwnedTask, key: str) -> FindResult:
        provider = self._lanes[task.provider].provider_of(task)
        if not isinstance(provider, Findable):
            return cannot_be_asked(task.host)
        return await contained(partial(provider.find, key), name=task.provider)

    def _act(self, question: Question, result: FindResult) -> None:
        task = self._unconfirmed(question)
        if task is None:
            return
        committer, unconfirmed = self._context.committer, self._lanes[task.provider].attempts.unconfirmed
        match result:
            case Accepted(remote_task_id=remote_task_id):
                question.is_answered = True
                log.info(telemetry.SUBMIT_FOUND, task_id=task.task_id)
                committer.accepted(task.task_id, task.attempt, remote_task_id)
            case NeverTaken() if (
                question.tries and self._context.now_ms() - _since_ms(task) >= self._grace_ms
            ):
                # said before, too: a slip of the service would buy the video twice
                log.info(telemetry.SUBMIT_NEVER_TAKEN, task_id=task.task_id)
                del unconfirmed[task.task_id]
                committer.returned(task.task_id, task.attempt)
            case NeverTaken():
                question.ask_later()
            case NoAnswer(retry_after_seconds=retry_after_seconds):
                question.ask_later(retry_after_seconds)
            case other:
                assert_never(other)


def _since_ms(task: OwnedTask) -> int:
    return task.dispatched_at_ms if task.unconfirmed_at_ms is None else task.unconfirmed_at_ms
