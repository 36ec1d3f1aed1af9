"""Polls over one line: each answer is acted on in the callback that brings it, and the next question leaves.

A poll by a coroutine costs a task switch, a future and a place in the transport for each answer. Here a
poller's coroutine waits once, until its line ends: nothing is due, somebody waits for the place, the
connection is no longer good, or a task must be asked about in another way (`unasked`).

A connection that is asked again at once is where a gateway that answers twice, or hangs up after its answer,
does harm. So what a line cannot tell is asked once more without one and counts only then: lines lose no poll
that would not be lost without them. After an answer about another task the provider's lines pause.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final, Protocol, runtime_checkable

from rushes.domain.task import NoAnswer, PollResult
from rushes.providers.base import Provider
from rushes.providers.http.line import Line
from rushes.providers.http.transport import Response, TransportError
from rushes.run.lane.asking_once import raised
from rushes.run.lane.remote_task import PollCounts, RemoteTask

PAUSE_SECONDS: Final = 60.0
"""How long polls go without lines after an answer about another task came over one."""


@runtime_checkable
class AsksOverLines(Protocol):
    """A provider whose polls are one question and one answer each."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    @property
    def timeout_seconds(self) -> float:
        """The time for one request."""
        ...

    @property
    def lines_max(self) -> int:
        """How many lines there can be at once; 0 where this provider's polls cannot go over lines."""
        ...

    def poll_line(self) -> Line | None:
        """A line, if one can be had now."""
        ...

    def poll_question(self, remote_task_id: str) -> bytes | None:
        """The request; None for an id that cannot be asked about."""
        ...

    def poll_answer(self, remote_task_id: str, response: Response) -> PollResult | None:
        """What the answer says; None when it must be asked again, by the coroutine."""
        ...


class Lines:
    """One provider's lines, for its poller. `next_task(now)` takes a task from the schedule, and
    `apply(task, result, asked_at)` acts on an answer.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        counts: PollCounts,
        next_task: Callable[[float], RemoteTask | None],
        apply: Callable[[RemoteTask, PollResult, float], None],
    ) -> None:
        self._provider = provider if isinstance(provider, AsksOverLines) and provider.lines_max else None
        self._counts = counts
        self._next_task = next_task
        self._apply = apply
        self._paused_until = -inf

    def pollers_max(self, connections_max: int) -> int:
        """How many pollers can be busy: as many as there are lines, where polls go over lines."""
        return connections_max if self._provider is None else min(connections_max, self._provider.lines_max)

    def take(self, task: RemoteTask, now: float) -> Line | None:
        """A line to ask about the task, if one can be had now."""
        if self._provider is None or task.host is not None or now < self._paused_until:
            return None
        return self._provider.poll_line()

    async def poll(self, line: Line, task: RemoteTask, now: float) -> RemoteTask | None:
        """Poll one task after the other over the line, until it ends; returns one that is still to be asked
        about."""
        assert self._provider is not None
        polls = LinePolls(
            self._provider, line, next_task=self._next, apply=self._apply, mixed_up=self._mixed_up
        )
        polls.ask(task, now)
        try:
            await polls.ended
        except asyncio.CancelledError:
            polls.cut()
            raise
        return polls.unasked

    def _next(self, now: float) -> RemoteTask | None:
        return self._next_task(now) if now >= self._paused_until else None

    def _mixed_up(self, now: float) -> None:
        self._counts.about_another_task += 1
        if now >= self._paused_until:
            self._counts.lines_paused += 1
            self._paused_until = now + PAUSE_SECONDS


class LinePolls:
    """The polls of one line, an `Answer` to each question in turn; `ended` once the line is given back.

    `unasked` then is a task that was taken from the schedule and is still to be asked about. `next_task(now)`
    takes one from it, and `apply(task, result, asked_at)` acts on an answer: both are the poller's.
    `mixed_up(now)` hears of an answer about another task.
    """

    __slots__ = (
        "_apply",
        "_asked_at",
        "_line",
        "_loop",
        "_mixed_up",
        "_next_task",
        "_provider",
        "_task",
        "ended",
        "unasked",
    )

    def __init__(
        self,
        provider: AsksOverLines,
        line: Line,
        *,
        next_task: Callable[[float], RemoteTask | None],
        apply: Callable[[RemoteTask, PollResult, float], None],
        mixed_up: Callable[[float], None],
    ) -> None:
        self._provider = provider
        self._next_task = next_task
        self._apply = apply
        self._mixed_up = mixed_up
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._task: RemoteTask | None = None
        self._asked_at = 0.0
        self.unasked: RemoteTask | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def ask(self, task: RemoteTask, now: float) -> None:
        """Write the question about a task."""
        question = None if task.host is not None else self._provider.poll_question(task.remote_task_id)
        if question is None:
            self._end(unasked=task)
            return
        task.polls += 1
        self._task, self._asked_at = task, now
        self._line.ask(question, self, until=now + self._provider.timeout_seconds)

    def cut(self) -> None:
        """Nobody waits any more: what is under way is given up."""
        self._task = None
        self._line.cut("cancelled")

    # --- what the connection tells --------------------------------------------------------------------

    def done(self) -> bool:
        """Whether no answer is waited for."""
        return self._task is None

    def set_result(self, response: Response) -> None:
        """The answer to the question under way."""
        task = self._task
        assert task is not None
        self._task = None
        try:
            try:
                result = self._provider.poll_answer(task.remote_task_id, response)
            except Exception as error:
                result = raised(self._provider.name, error)
            if isinstance(result, NoAnswer) and result.is_about_another_task:
                self._mixed_up(self._loop.time())
                result = None
            if result is None:
                self._end_unsaid(task)
                return
            self._apply(task, result, self._asked_at)
            self._go_on()
        except BaseException as error:  # a defect: the poller's coroutine raises it, as it would its own
            self._fail(error)

    def set_exception(self, error: TransportError) -> None:
        """There is no answer, and the connection is gone.

        One that was good before may have been about to close when the question left.
        """
        task = self._task
        assert task is not None
        self._task = None
        try:
            is_in_time = self._loop.time() < self._asked_at + self._provider.timeout_seconds
            if is_in_time and self._line.was_good:
                self._end_unsaid(task)
                return
            self._apply(task, NoAnswer(error.reason), self._asked_at)
            self._end()
        except BaseException as defect:
            self._fail(defect)

    # --- small parts ----------------------------------------------------------------------------------

    def _go_on(self) -> None:
        now = self._loop.time()
        task = self._next_task(now) if self._line.may_go_on() else None
        if task is None:
            self._end()
        else:
            self.ask(task, now)

    def _end_unsaid(self, task: RemoteTask) -> None:
        """The task is asked about once more, without a line: that is the poll that counts."""
        task.polls -= 1
        self._end(unasked=task)

    def _end(self, *, unasked: RemoteTask | None = None) -> None:
        self._line.end()
        self.unasked = unasked
        if not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, error: BaseException) -> None:
        self._line.end()
        if not self.ended.done():
            self.ended.set_exception(error)
