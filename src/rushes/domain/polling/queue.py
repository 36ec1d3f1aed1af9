"""What a place in the provider's queue says about the time that is left, if it says anything.

A task that waits is not done before its own render, however old it is; and once it renders, its age says
less than how long it has rendered. So three kinds of reports foretell the time from the report to the end,
each in slots of its own (`reports.py`): it waits behind a number of others, it waits, and it renders now but
waited before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rushes.domain.polling.reports import QUEUE_SLOTS, SLOTS, TENTHS, Mark, Report, next_mark

WAITS_SLOT: Final = TENTHS
RENDERS_SLOT: Final = TENTHS + 1
_FIRST_POSITION_SLOT: Final = TENTHS + 2
_DOUBLINGS_MAX: Final = QUEUE_SLOTS - 3
assert _FIRST_POSITION_SLOT + _DOUBLINGS_MAX == SLOTS - 1

_NO_POSITION: Final = -1

ASSUMED_SECONDS: Final = 60.0
"""The time left that is assumed at first, of any report; it hardly counts once a few tasks have ended."""


def waiting_report(age_seconds: float, position: int | None) -> Report:
    """Of a task that waits behind `position` others (None: not said).

    Positions share a slot from one power of two to the next, and the time left grows with them within it.
    """
    if position is None:
        return Report(WAITS_SLOT, age_seconds, ASSUMED_SECONDS, age_seconds)
    turns = position + 1
    doublings = min(turns.bit_length() - 1, _DOUBLINGS_MAX)
    expected_seconds = ASSUMED_SECONDS * turns / 2**doublings
    return Report(_FIRST_POSITION_SLOT + doublings, age_seconds, expected_seconds, age_seconds)


@dataclass(slots=True)
class QueueMark:
    """What was heard of the wait of one task; `next_queue_mark` changes it.

    The next poll goes by `report`. `waited` is a report of it waiting, and `started` the first one of it
    rendering after that, to learn from when it has ended.
    """

    report: Report
    waited: Mark
    started: Report | None = None

    def learned(self) -> Iterator[tuple[Report, int]]:
        """The reports to learn from, each with how many it was picked from."""
        position = None if self.waited.value == _NO_POSITION else self.waited.value
        yield waiting_report(self.waited.age_seconds, position), self.waited.reports
        if self.started is not None:
            yield self.started, 1


def next_queue_mark(
    mark: QueueMark | None, *, task_number: int, age_seconds: float, is_queued: bool, position: int | None
) -> QueueMark | None:
    """The task's mark after one more report that it waits, or that it renders.

    A task goes by the last report that it waits. Where that has no position it goes by when it was first seen
    rendering: a position tells more than that, as polls lie far apart by then. The last time that it
    started to render would say more about when it ended than it could have foretold.
    """
    if is_queued:
        report = waiting_report(age_seconds, position)
        value = _NO_POSITION if position is None else position
        waited = next_mark(
            None if mark is None else mark.waited,
            task_number=task_number,
            age_seconds=age_seconds,
            value=value,
        )
        return QueueMark(report, waited, None if mark is None else mark.started)
    if mark is not None and mark.started is None:
        mark.started = Report(RENDERS_SLOT, age_seconds, ASSUMED_SECONDS, age_seconds)
        if mark.report.slot == WAITS_SLOT:
            mark.report = mark.started
    return mark
