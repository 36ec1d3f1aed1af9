"""The optimal inspection schedule, learned: when to poll next, from what was seen of each model so far."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.polling.inspection import PollTable, log_normal_next_age_seconds, next_polls_due
from rushes.domain.polling.queue import QueueMark
from rushes.domain.polling.render_times import SECONDS_MIN, Estimate, RenderTimes, Tally, typical_task
from rushes.domain.polling.reports import TENTHS, Mark, Report, ReportTimes, progress_report
from rushes.domain.polling.schedule import check_intervals, overdue_interval_seconds

LAG_SECONDS_PER_POLL = 1.0
"""What one poll is worth: at 1, lag and polls both fall below the ladder's for all of the typical models."""

FIRST_WAIT_CEILING_FACTOR = 20.0
FIRST_WAIT_CEILING_SECONDS = 30.0
"""How far above the ceiling the wait for the first poll may lie: ten minutes at a ceiling of 30 s.

The factor shrinks with a ceiling below 30 s: who lowers it that far wants everything looked at often.
"""

REPORT_POLLS_SKIPPED_MAX = 3.0
"""How many polls that are due by age alone may be skipped because of the progress or place reported."""

REPORT_SIGMAS_PASSED_MAX = 3.0
"""A task that runs longer than was foretold by that much is polled by its age again."""

SIGHTINGS_MIN = 4
SIGHTINGS_MAX = 1024
"""After how many sightings new conclusions are drawn; few at first, when each one tells much.

A worker draws them each time that it shares what it has learned, too: twice a minute.
"""

SIGHTINGS_SHARE = 8
"""And not before an eighth of all sightings so far: of ten thousand tasks that have just started to render
each is seen running many times before the first one ends, and concluding costs as much as a hundred polls."""

UNLISTED_PROVIDER = ""
UNLISTED_TYPICAL_SECONDS = 300.0
"""The typical render time of a model that has left the catalogue; what is learned of it is not saved."""


class LearnedTimes(NamedTuple):
    """What is learned of one provider's model."""

    provider: str
    model: str
    times: RenderTimes
    reports: ReportTimes

    def followed_by(self, later: "LearnedTimes") -> "LearnedTimes":
        """The history of both, `later` being the newer one."""
        return LearnedTimes(
            self.provider,
            self.model,
            self.times.followed_by(later.times),
            self.reports.followed_by(later.reports),
        )


class LearnedSchedule:
    """Polls where they shorten the lag most, by the render times learned of each model.

    `lag_seconds_per_poll` is the trade: a poll is made where it is expected to save that much lag. Being
    one number for all models it also spreads any given number of polls best over them. The floor
    `interval_min_seconds` always holds. The ceiling `interval_max_seconds` holds from the first poll on;
    before that, while a task has hardly a chance to be done, a wait may be up to
    `FIRST_WAIT_CEILING_FACTOR` times as long, and so may one that a report foretells;
    `first_wait_max_seconds` bounds such waits instead when it is given. An
    overdue task is polled every `overdue_interval_seconds`.

    What is new is fetched with `take_unsaved` and merged in the database; `put_saved` then brings back the
    merged whole. If it does not, the next `take_unsaved` gives the same again, and more.
    Raises `ValueError` for intervals or a trade not above 0, or a floor above the ceiling.
    """

    __slots__ = ("_catalogue", "_ceiling", "_first_ceiling", "_floor", "_lag", "_learners", "_overdue")

    def __init__(
        self,
        interval_min_seconds: float,
        interval_max_seconds: float,
        *,
        catalogue: Catalogue,
        lag_seconds_per_poll: float = LAG_SECONDS_PER_POLL,
        first_wait_max_seconds: float | None = None,
    ) -> None:
        check_intervals(interval_min_seconds, interval_max_seconds)
        if not 0 < lag_seconds_per_poll < math.inf:
            raise ValueError("lag_seconds_per_poll must be a number above 0")
        self._catalogue = catalogue
        self._floor = interval_min_seconds
        self._ceiling = interval_max_seconds
        factor = FIRST_WAIT_CEILING_FACTOR * min(1.0, interval_max_seconds / FIRST_WAIT_CEILING_SECONDS)
        self._first_ceiling = first_wait_max_seconds or interval_max_seconds * max(1.0, factor)
        self._overdue = overdue_interval_seconds(interval_min_seconds, interval_max_seconds)
        self._lag = lag_seconds_per_poll
        self._learners: dict[str, _Learner] = {}

    def next_delay_seconds(
        self,
        *,
        model: str,
        age_seconds: float,
        polls: int,
        progress: int | None,
        overdue: bool,
        overload: float = 1.0,
        queue: QueueMark | None = None,
    ) -> float:
        """See `PollSchedule`; how many polls there were does not matter here."""
        if overdue:
            return self._overdue * overload
        learner = self._learners.get(model) or self._learner(model)
        table = learner.table
        predicted = None
        if progress is not None and 0 < progress < 100:
            expected = age_seconds * 100 / progress
            predicted = learner.predicted_seconds(progress // TENTHS, expected, age_seconds, overload)
        if queue is not None and predicted is None:
            predicted = learner.predicted_age_seconds(queue.report, age_seconds, overload)
        if overload == 1.0 and predicted is None:
            is_first = age_seconds < table.first_wait_until_seconds
            delay = table.next_age_seconds(age_seconds) - age_seconds
        else:
            polls_by_now = table.polls_by(age_seconds)
            due = next_polls_due(polls_by_now, overload)
            is_first = due > polls_by_now + overload
            if predicted is None:
                delay = table.age_seconds_at(due) - age_seconds
            else:
                # a guard against the one task whose report misleads
                latest = table.age_seconds_at(due + REPORT_POLLS_SKIPPED_MAX * overload)
                is_first, delay = True, min(predicted, latest) - age_seconds
        ceiling = (self._first_ceiling if is_first else self._ceiling) * overload
        delay = ceiling if delay > ceiling else delay
        return delay if delay > self._floor else self._floor

    def saw_running(self, *, model: str, after_seconds: float, by_seconds: float) -> None:
        """Learn that a render took longer than `by_seconds`."""
        learner = self._learners.get(model) or self._learner(model)
        tally = learner.tally
        tally.add_running(learner.estimate, after_seconds, by_seconds)
        if tally.size >= learner.rebuild_size:
            learner.consider()

    def saw_end(
        self,
        *,
        model: str,
        after_seconds: float,
        by_seconds: float,
        mark: Mark | None = None,
        queue: QueueMark | None = None,
    ) -> None:
        """Learn that a render ended between the two polls."""
        learner = self._learners.get(model) or self._learner(model)
        if mark is not None:
            report = progress_report(mark.age_seconds, mark.value)
            learner.learn_report(report, mark.reports, after_seconds, by_seconds)
        if queue is not None:
            for report, reports in queue.learned():
                learner.learn_report(report, reports, after_seconds, by_seconds)
        learner.tally.add_ended(learner.estimate, after_seconds, by_seconds)
        learner.consider()

    def median_seconds(self, model: str) -> float:
        """The model's median render time as believed now."""
        return (self._learners.get(model) or self._learner(model)).estimate.median_seconds

    def take_unsaved(self) -> list[LearnedTimes]:
        """What was learned since it was last saved. It goes on counting here while it is being saved."""
        learners = self._learners.values()
        return [taken for learner in learners if (taken := learner.take_unsaved()) is not None]

    def put_saved(self, saved: Iterable[LearnedTimes]) -> None:
        """Histories as they are stored, with what was taken last and with what others have learned."""
        for history in saved:
            learner = self._learner(history.model)
            if learner.provider == history.provider:
                learner.put_saved(history)

    def _learner(self, name: str) -> "_Learner":
        learner = self._learners.get(name)
        if learner is None:
            model = self._catalogue.find(name)
            if model is None:
                learner = _Learner(UNLISTED_PROVIDER, name, UNLISTED_TYPICAL_SECONDS, self._lag)
            else:
                learner = _Learner(model.provider, name, model.render_time_p50_seconds, self._lag)
            self._learners[name] = learner
        return learner


class _Learner:
    """One model's history and what follows from it."""

    __slots__ = (
        "_known",
        "_lag",
        "_model",
        "_report_news",
        "_sightings",
        "_taken",
        "_typical",
        "_unsaved",
        "estimate",
        "provider",
        "rebuild_size",
        "table",
        "tally",
    )

    def __init__(
        self, provider: str, model: str, typical_seconds: float, lag_seconds_per_poll: float
    ) -> None:
        self.provider = provider
        self._model = model
        self._typical = typical_task(typical_seconds)
        self._lag = lag_seconds_per_poll
        self._known = LearnedTimes(provider, model, RenderTimes(), ReportTimes())
        self._taken: LearnedTimes | None = None
        self._unsaved: LearnedTimes | None = None
        self.tally = Tally()
        self._sightings = 0
        self._report_news = ReportTimes()
        self._believe()

    def consider(self) -> None:
        """Draw new conclusions when enough was seen since the last ones."""
        if self.tally.size >= self.rebuild_size:
            self._sightings += self.tally.size
            self._add_news()
            self._believe()

    def predicted_seconds(
        self, slot: int, expected_seconds: float, passed_seconds: float, overload: float
    ) -> float | None:
        """When to poll next by a report, from when its clock started, `passed_seconds` ago; None where such
        reports do not tell."""
        prediction = self._known.reports.predict(slot, expected_seconds)
        if prediction is None or prediction.sigmas_passed(passed_seconds) > REPORT_SIGMAS_PASSED_MAX:
            return None
        return log_normal_next_age_seconds(
            age_seconds=passed_seconds,
            median_seconds=prediction.median_seconds,
            sigma=prediction.sigma,
            lag_seconds_per_poll=self._lag,
            step=overload,
        )

    def predicted_age_seconds(self, report: Report, age_seconds: float, overload: float) -> float | None:
        """The next poll's age by a report of the queue."""
        passed_seconds = max(age_seconds - report.from_seconds, SECONDS_MIN)
        predicted = self.predicted_seconds(report.slot, report.expected_seconds, passed_seconds, overload)
        return None if predicted is None else report.from_seconds + predicted

    def learn_report(self, report: Report, reports: int, after_seconds: float, by_seconds: float) -> None:
        """A task with this report, one picked from `reports`, has ended between two ages."""
        learned = self._known.reports.learn(
            self.estimate, report, reports=reports, after_seconds=after_seconds, by_seconds=by_seconds
        )
        self._report_news = self._report_news.followed_by(learned)

    def take_unsaved(self) -> LearnedTimes | None:
        """What is not saved yet, including what was taken before but never came back saved."""
        if self.tally.size:
            self._add_news()
        if self._unsaved is not None:
            self._taken = self._unsaved if self._taken is None else self._taken.followed_by(self._unsaved)
            self._unsaved = None
        return self._taken if self.provider != UNLISTED_PROVIDER else None

    def put_saved(self, saved: LearnedTimes) -> None:
        """The stored history, which holds what was taken last."""
        self._taken = None
        self._known = saved if self._unsaved is None else saved.followed_by(self._unsaved)
        self._believe()

    def _add_news(self) -> None:
        news = LearnedTimes(self.provider, self._model, self.tally.take(), self._report_news)
        self._report_news = ReportTimes()
        self._known = self._known.followed_by(news)
        self._unsaved = news if self._unsaved is None else self._unsaved.followed_by(news)

    def _believe(self) -> None:
        times = self._known.times
        self.estimate = Estimate(times, typical=self._typical)
        self.table = PollTable(self.estimate, lag_seconds_per_poll=self._lag)
        expected = max(SIGHTINGS_MIN + times.count, self._sightings // SIGHTINGS_SHARE)
        self.rebuild_size = min(expected, SIGHTINGS_MAX)
