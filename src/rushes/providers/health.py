"""Whether a provider may be asked now: outages, throttling, and refusals that are the account's fault.

Pure logic without a clock: `now` is the event loop's time in seconds, and never goes back. One
`ProviderHealth` per provider and worker; it holds back, and loses nothing: what may not go stays
pending, or is polled later.
"""

import sys
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from rushes.domain.task import (
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)

OUTAGE_FAILURES: Final = 8
"""Requests in a row without any answer after which the provider counts as down."""

OUTAGE_SECONDS_MIN: Final = 5.0
OUTAGE_SECONDS_MAX: Final = 60.0
"""How long nothing is sent to a provider that is down, before it is tried with one request: doubling."""

EQUAL_REFUSALS: Final = 5
"""Refusals in a row with one and the same reason after which the account is at fault, not the tasks."""

PAUSE_SECONDS_MIN: Final = 30.0
PAUSE_SECONDS_MAX: Final = 600.0
"""How long nothing is submitted to a provider that refuses everything, before one task tries: doubling."""

THROTTLE_SECONDS_MIN: Final = 1.0
THROTTLE_SECONDS_MAX: Final = 60.0
"""The wait after "too many requests" without a `Retry-After`: doubling until one is answered."""

HOLD_SECONDS_MAX: Final = 3600.0
"""The longest `Retry-After` that is kept."""

PROBE_SECONDS_MAX: Final = 60.0
"""When a poll that was let through to try a provider has not been heard of for so long, the next may go."""

PROBE_WAIT_SECONDS: Final = 1.0
"""How long other polls wait before they look whether the one that tries has come back."""

SUBMITS_UNLIMITED: Final = sys.maxsize

_THE_TASKS_OWN: Final = frozenset(
    {FailureType.INPUT_MODERATION, FailureType.OUTPUT_MODERATION, FailureType.PARAM_ERROR}
)
"""Refusals that say nothing of the account, however many there are in a row."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """For operators. `until` is loop time; None when it is closed, or being tried now.

    `closed` (as a circuit is: all flows), `held` (asked to wait), `open` (down), `half_open` (down, being
    tried), `paused` (refuses all submits alike, or the key; polls go on).
    """

    state: Literal["closed", "open", "half_open", "paused", "held"]
    reason: str | None = None
    until: float | None = None
    key_refused: bool = False


_KEY_REFUSED = frozenset({401, 403})


class _Stop:
    """A reason to send nothing until a time, and then one at a time, until it is lifted."""

    __slots__ = ("_seconds", "_seconds_max", "_seconds_min", "reason", "since", "until")

    def __init__(self, seconds_min: float, seconds_max: float) -> None:
        self._seconds_min, self._seconds_max = seconds_min, seconds_max
        self._seconds = seconds_min
        self.reason: str | None = None
        self.since = 0.0
        self.until = 0.0

    @property
    def is_set(self) -> bool:
        return self.reason is not None

    def set(self, reason: str, now: float) -> None:
        """Again after `until` doubles the time; before it, it is news of requests sent earlier."""
        if self.reason is None:
            self._seconds = self._seconds_min
            self.since = now
        elif now < self.until:
            return
        else:
            self._seconds = min(2 * self._seconds, self._seconds_max)
        self.reason, self.until = reason, now + self._seconds

    def lift(self) -> None:
        self.reason, self.until = None, 0.0


class _Breaker:
    """Counts the failures in a row of one kind of request."""

    __slots__ = ("_failures", "stop")

    def __init__(self) -> None:
        self._failures = 0
        self.stop = _Stop(OUTAGE_SECONDS_MIN, OUTAGE_SECONDS_MAX)

    def failed(self, reason: str, now: float) -> None:
        self._failures += 1
        if self._failures >= OUTAGE_FAILURES or self.stop.is_set:
            self.stop.set(reason, now)

    def answered(self) -> None:
        self._failures = 0
        self.stop.lift()


class _Hold:
    """A wait that the provider asked for."""

    __slots__ = ("_step_seconds", "reason", "until")

    def __init__(self) -> None:
        self._step_seconds = THROTTLE_SECONDS_MIN
        self.reason: str | None = None
        self.until = 0.0

    def throttled(self, reason: str, retry_after_seconds: float | None, now: float) -> None:
        if retry_after_seconds is not None:
            seconds = min(max(retry_after_seconds, THROTTLE_SECONDS_MIN), HOLD_SECONDS_MAX)
        elif now < self.until:
            return  # sent before the wait started
        else:
            seconds = self._step_seconds
            self._step_seconds = min(2 * seconds, THROTTLE_SECONDS_MAX)
        if now + seconds > self.until:
            self.reason, self.until = reason, now + seconds

    def answered(self) -> None:
        """The wait itself stays: the provider asked for it."""
        self._step_seconds = THROTTLE_SECONDS_MIN


class ProviderHealth:
    """Decides when submits and polls of one provider may go, from the outcomes of the earlier ones.

    Submits and polls are counted apart, for one endpoint can be down alone; but a provider whose polls
    get no answer gets no submits either. After an outage both kinds go one at a time until one is
    answered; with nothing in flight to be polled, submits go one at a time until there is.
    """

    def __init__(self) -> None:
        self._submits = _Breaker()
        self._polls = _Breaker()
        self._submit_hold = _Hold()
        self._poll_hold = _Hold()
        self._pause = _Stop(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX)
        self._refusal: str | None = None
        self._refusals = 0
        self._key_refused = False
        self._polls_refused: str | None = None
        self._polls_are_well = True  # the last poll was answered: nothing is stopped, refused or being tried
        self._probe_until = 0.0

    # --- may it go? -------------------------------------------------------------------------------------

    def submits_permitted(self, now: float) -> int:
        """How many submits may be under way: 0 while held, 1 while the provider is tried, else no limit.

        Nothing is taken by asking, so a submit that is never heard of again blocks nothing.
        """
        stops = (self._pause, self._submits.stop, self._polls.stop)
        if now < self._submit_hold.until or any(now < stop.until for stop in stops):
            return 0
        return 1 if any(stop.is_set for stop in stops) else SUBMITS_UNLIMITED

    def polls_held_until(self, now: float) -> float:
        """Not later than `now` when a poll may go now; else when to ask again.

        While the provider is tried, a poll that may go is the one that tries: until its result comes, or
        for `PROBE_SECONDS_MAX`, the others wait.
        """
        until = self._poll_hold.until
        if self._polls_are_well:
            return until if until > now else now
        stop = self._polls.stop
        until = max(until, stop.until)
        if now < until:
            return until
        if stop.is_set:
            if now < self._probe_until:
                return min(self._probe_until, now + PROBE_WAIT_SECONDS)
            self._probe_until = now + PROBE_SECONDS_MAX
        return now

    @property
    def polls_stopped_until(self) -> float:
        """Until when no poll at all may go: it asked for that, or is down."""
        return max(self._poll_hold.until, self._polls.stop.until)

    def polls_unanswered_seconds(self, now: float) -> float:
        """For how long the provider has been down: no poll answered, one at a time let through; else 0."""
        return now - self._polls.stop.since if self._polls.stop.is_set else 0.0

    # --- outcomes ---------------------------------------------------------------------------------------

    def on_submit(self, outcome: SubmitOutcome, now: float) -> SubmitOutcome:
        """Learn from a submit; returns the outcome to act on.

        It is `outcome` itself but for a refusal that is the account's fault: then it is
        `NotSent(reason, pauses_provider=True)`, and the task stays pending.
        """
        match outcome:
            case NotSent(reason=reason, pauses_provider=False) | Unknown(reason=reason):
                self._submits.failed(reason, now)
                return outcome
            case Accepted():
                self._submit_hold.answered()
                self._forget_refusals()
            case Throttled(reason=reason, retry_after_seconds=retry_after_seconds):
                self._submit_hold.throttled(reason, retry_after_seconds, now)
            case NotSent(reason=reason, key_refused=key_refused):
                self._pause.set(reason, now)
                self._key_refused = key_refused
            case Rejected():
                self._submit_hold.answered()
                outcome = self._judged(outcome, now)
            case other:
                assert_never(other)
        self._submits.answered()
        return outcome

    def on_poll(self, result: PollResult, now: float) -> None:
        """Learn from a poll. An answer that does not decode is neither a sign of life nor of an outage."""
        if self._polls_are_well and type(result) is Processing:  # nearly always: a worker's every poll
            return
        self._probe_until = 0.0
        self._polls_are_well = not isinstance(result, NoAnswer)
        match result:
            case Processing() | Succeeded() | Failed():
                self._polls_refused = None
                self._polls.answered()
                self._poll_hold.answered()
            case NoAnswer(error=error, http_status=status, retry_after_seconds=retry_after_seconds):
                if retry_after_seconds is not None or status == 429:
                    self._poll_hold.throttled(error, retry_after_seconds, now)
                if status is None or status >= 500:
                    self._polls.failed(error, now)
                elif status >= 300:
                    self._polls.answered()
                if status in _KEY_REFUSED:
                    self._polls_refused = f"the key was refused ({error})"
            case other:
                assert_never(other)

    def _judged(self, refusal: Rejected, now: float) -> SubmitOutcome:
        if refusal.failure_type in _THE_TASKS_OWN:
            self._forget_refusals()
            return refusal
        if self._pause.is_set and refusal.reason != self._pause.reason:
            self._forget_refusals()
        if refusal.reason != self._refusal:
            self._refusal, self._refusals = refusal.reason, 0
        self._refusals += 1
        if self._refusals >= EQUAL_REFUSALS:
            self._pause.set(refusal.reason, now)
            self._key_refused = False
            return NotSent(refusal.reason, pauses_provider=True)
        return refusal

    def _forget_refusals(self) -> None:
        self._refusal, self._refusals = None, 0
        self._pause.lift()

    # --- for operators ----------------------------------------------------------------------------------

    def state(self, now: float) -> HealthState:
        """The weightiest trouble at the moment."""
        if self._pause.is_set:
            until = _if_later(self._pause.until, now)
            return HealthState("paused", self._pause.reason, until, self._key_refused)
        if self._polls_refused is not None:
            return HealthState("paused", self._polls_refused, key_refused=True)
        stop = max(self._submits.stop, self._polls.stop, key=lambda stop: stop.until)
        if stop.is_set:
            until = _if_later(stop.until, now)
            return HealthState("half_open" if until is None else "open", stop.reason, until)
        hold = max(self._submit_hold, self._poll_hold, key=lambda hold: hold.until)
        if now < hold.until:
            return HealthState("held", hold.reason, hold.until)
        return HealthState("closed")


def _if_later(until: float, now: float) -> float | None:
    return until if now < until else None
