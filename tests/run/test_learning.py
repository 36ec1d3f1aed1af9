"""What the polls of a task teach: every second that it was seen rendering, told once and not too often."""

import pytest

from rushes.domain.polling.queue import QueueMark, waiting_report
from rushes.domain.polling.reports import Mark
from rushes.domain.polling.schedule import LadderSchedule
from rushes.domain.task import Processing
from rushes.run.lane.learning import LEARNED_SHARE, learn_end, learn_running
from rushes.run.lane.remote_task import ModelTimes, RemoteTask

SENT_AT = 1_000.0
SAID_NOTHING = Processing(None)


class Told(LadderSchedule):
    """A schedule that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(1.0, 30.0)
        self.running: list[tuple[float, float]] = []
        self.ends: list[tuple[float, float, Mark | None]] = []
        self.queues: list[QueueMark | None] = []

    def saw_running(self, *, model: str, after_seconds: float, by_seconds: float) -> None:
        self.running.append((after_seconds, by_seconds))

    def saw_end(
        self,
        *,
        model: str,
        after_seconds: float,
        by_seconds: float,
        mark: Mark | None = None,
        queue: QueueMark | None = None,
    ) -> None:
        self.ends.append((after_seconds, by_seconds, mark))
        self.queues.append(queue)


def task(*, is_adopted: bool = False) -> RemoteTask:
    return RemoteTask(
        task_id=1,
        attempt=1,
        times=ModelTimes("sora-2", 600, 7200),
        remote_task_id="remote-1",
        progress=0,
        sent_at=SENT_AT,
        is_adopted=is_adopted,
    )


@pytest.mark.parametrize("gap_seconds", [0.1, 1.0, 40.0])
def test_all_of_the_time_is_told_without_gaps_and_the_rest_at_the_end(gap_seconds: float) -> None:
    schedule, polled = Told(), task()
    polls = round(120 / gap_seconds)
    for number in range(1, polls + 1):
        learn_running(schedule, polled, SENT_AT + number * gap_seconds, SAID_NOTHING)
    learn_end(schedule, polled, SENT_AT + 121.0)
    assert [after for after, _ in schedule.running] == [0.0, *(by for _, by in schedule.running[:-1])]
    assert schedule.running[-1][1] == pytest.approx(polls * gap_seconds)
    [(after, by, _)] = schedule.ends
    assert after == pytest.approx(polls * gap_seconds)
    assert by == 121.0


def test_stretches_that_are_short_for_their_age_are_told_together() -> None:
    schedule, polled = Told(), task()
    for number in range(1, 1_001):
        learn_running(schedule, polled, SENT_AT + 10.0 + number / 10, SAID_NOTHING)
    assert len(schedule.running) < 60
    for after, by in schedule.running[1:]:
        assert LEARNED_SHARE * by <= by - after <= LEARNED_SHARE * by + 0.11


def test_an_adopted_task_teaches_from_when_it_is_seen_here() -> None:
    schedule, polled = Told(), task(is_adopted=True)
    learn_end(schedule, polled, SENT_AT + 50.0)
    assert (schedule.running, schedule.ends) == ([], [])
    learn_running(schedule, polled, SENT_AT + 60.0, Processing(30))
    learn_running(schedule, polled, SENT_AT + 70.0, Processing(40))
    learn_end(schedule, polled, SENT_AT + 71.0)
    assert schedule.running == [(60.0, 70.0)]
    [(after, by, mark)] = schedule.ends
    assert (after, by) == (70.0, 71.0)
    assert mark is not None
    assert mark.reports == 2


def test_a_task_that_waits_is_followed_through_the_queue() -> None:
    schedule, polled = Told(), task()
    learn_running(schedule, polled, SENT_AT + 10.0, Processing(None, is_queued=True, queue_position=5))
    learn_running(schedule, polled, SENT_AT + 20.0, Processing(None, is_queued=True, queue_position=2))
    assert polled.queue is not None
    assert polled.queue.report == waiting_report(20.0, 2)
    learn_running(schedule, polled, SENT_AT + 30.0, SAID_NOTHING)
    learn_end(schedule, polled, SENT_AT + 40.0)
    [queue] = schedule.queues
    assert queue is polled.queue
    assert queue is not None
    assert queue.started is not None
    assert queue.started.age_seconds == 30.0


def test_a_task_that_never_waited_keeps_nothing_of_a_queue() -> None:
    schedule, polled = Told(), task()
    learn_running(schedule, polled, SENT_AT + 10.0, Processing(10))
    learn_end(schedule, polled, SENT_AT + 40.0)
    assert polled.queue is None
    assert schedule.queues == [None]


@pytest.mark.parametrize("progress", [None, 0, 100])
def test_progress_that_says_nothing_of_the_time_is_never_marked(progress: int | None) -> None:
    schedule, polled = Told(), task()
    for number in range(1, 6):
        learn_running(schedule, polled, SENT_AT + 10.0 * number, Processing(progress))
    assert polled.mark is None
