"""What is asked of a provider besides polls: each question stays due until it has an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from rushes.domain.polling.schedule import backoff_seconds
from rushes.run.lane.limits import RateLimit

CHECK_SECONDS: Final = 1.0
"""How often a worker looks for what there is to ask."""

AT_ONCE_MAX: Final = 16
"""Questions to all providers at the same time."""

BACKOFF_SECONDS_MAX: Final = 30.0


@dataclass(slots=True)
class Question:
    """One attempt that something is asked about. `is_answered` says that it is not asked again."""

    task_id: int
    attempt: int
    provider: str
    due: float = 0.0
    tries: int = 0
    is_answered: bool = False

    def ask_later(self, retry_after_seconds: float | None = None) -> None:
        """There was no answer, or none yet: back off."""
        self.tries += 1
        backoff = backoff_seconds(self.tries, jitter=0.5, max_seconds=BACKOFF_SECONDS_MAX)
        self.due = asyncio.get_running_loop().time() + max(backoff, retry_after_seconds or 0.0)


@dataclass(slots=True)
class Questions:
    """The questions of one kind, by task."""

    by_task: dict[int, Question] = field(default_factory=dict)

    def keep(self, wanted: Iterable[tuple[int, int, str]]) -> None:
        """Have one question for each of these `(task_id, attempt, provider)`, and none besides."""
        before, self.by_task = self.by_task, {}
        for task_id, attempt, provider in wanted:
            known = before.get(task_id)
            is_same = known is not None and known.attempt == attempt
            self.by_task[task_id] = known if known and is_same else Question(task_id, attempt, provider)

    def due(self) -> list[Question]:
        """Those to be asked now, oldest first."""
        now = asyncio.get_running_loop().time()
        return [each for each in self.by_task.values() if not each.is_answered and each.due <= now]


async def ask_all(
    questions: Iterable[Question],
    limit_of: Callable[[str], RateLimit],
    ask: Callable[[Question], Awaitable[None]],
) -> None:
    """Ask each, a few at a time and within the rate of its provider's polls; what exceeds it stays due."""
    free = asyncio.Semaphore(AT_ONCE_MAX)

    async def ask_in_turn(question: Question) -> None:
        async with free:
            limit, now = limit_of(question.provider), asyncio.get_running_loop().time()
            if limit.permitted_at(now) > now:
                return
            limit.take(now)
            await ask(question)

    await asyncio.gather(*(ask_in_turn(question) for question in questions))
