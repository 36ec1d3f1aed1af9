"""Faults of the way between client and service: which one strikes a request, and what it does."""

import dataclasses
from enum import Enum
from typing import Final

from rushes.simulator.draws import Lane, uniform
from rushes.simulator.knobs import SimulatorKnobs
from rushes.simulator.message import REFUSED, RESET, Delivery, SimResponse


class Fault(Enum):
    """The values are the knobs' names without `submit_`, `poll_` or `file_`."""

    SERVER_ERROR = "server_error"
    HTML = "html"
    CUT_JSON = "cut_json"
    CUT_BODY = "cut_body"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    ACCEPTED_THEN_ERROR = "accepted_then_error"
    ACCEPTED_THEN_RESET = "accepted_then_reset"
    REFUSED = "refused"
    SLOW = "slow"
    THROTTLED = "throttled"
    THROTTLED_BARE = "throttled_bare"
    UNKNOWN_STATUS = "unknown_status"
    BACKWARDS = "backwards"
    PROGRESS_MISSING = "progress_missing"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    OVERSIZE = "oversize"
    REDIRECT = "redirect"
    DOUBLED = "doubled"
    SWAPPED = "swapped"


UNSEEN: Final = frozenset({Fault.RESET_BEFORE, Fault.REFUSED})
"""The service never learned of the request."""
UNHANDLED: Final = UNSEEN | {
    Fault.SERVER_ERROR,
    Fault.HTML,
    Fault.RESET_AFTER,
    Fault.THROTTLED,
    Fault.THROTTLED_BARE,
}
"""The request has no effect: a submit with one of these is not accepted."""
SPOILING: Final = frozenset(
    {
        Fault.CUT_JSON,
        Fault.CUT_BODY,
        Fault.ACCEPTED_THEN_ERROR,
        Fault.ACCEPTED_THEN_RESET,
        Fault.SWAPPED,
    }
)
"""The request has its effect, the client cannot read the answer."""
CLEAR_REFUSALS: Final = frozenset({Fault.REFUSED, Fault.THROTTLED, Fault.THROTTLED_BARE})
"""The client can be sure that a submit with one of these was not accepted."""


class FaultTable:
    """The faults of one kind of request with their cumulative shares; at most one strikes a request."""

    def __init__(self, kind: str, knobs: SimulatorKnobs) -> None:
        self._thresholds: list[tuple[float, Fault]] = []
        threshold = 0.0
        for fault in Fault:
            share: float = getattr(knobs, f"{kind}_{fault.value}", 0.0)
            if share > 0.0:
                threshold += share
                self._thresholds.append((threshold, fault))

    def draw(self, seed: int, lane: Lane, number: int = 0) -> Fault | None:
        """The fault of request `number` of the thing with this seed."""
        if not self._thresholds:
            return None
        draw = uniform(seed, lane, number)
        for threshold, fault in self._thresholds:
            if draw < threshold:
                return fault
        return None


_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>\n"
    b"<body><h1>Checking your browser</h1></body></html>\n"
)
_SERVER_ERRORS = (
    SimResponse(500, b'{"message":"internal server error"}'),
    SimResponse(502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html"),
    SimResponse(503, b"upstream connect error", content_type="text/plain"),
    SimResponse(504, b"", content_type="text/html"),
)
HTML_PAGE = SimResponse(200, _HTML, content_type="text/html; charset=utf-8")
UNKNOWN_STATUS_WORD = "queued!"


def throttled(retry_after_seconds: int | None) -> SimResponse:
    """429, with Retry-After when it is given."""
    headers = () if retry_after_seconds is None else (("retry-after", str(retry_after_seconds)),)
    return SimResponse(429, b'{"message":"too many requests"}', headers=headers)


def server_error(variant: int) -> SimResponse:
    """500, 502, 503 or 504 by `variant`."""
    return _SERVER_ERRORS[variant % len(_SERVER_ERRORS)]


_HANG_SECONDS: Final = 3_600.0


def out_of_service(kind: str) -> SimResponse:
    """What every request is answered in an outage of this kind."""
    match kind:
        case "reset":
            return RESET
        case "refused":
            return REFUSED
        case "hang":
            return dataclasses.replace(server_error(3), delay_seconds=_HANG_SECONDS)
        case _:
            return server_error(2)


def struck(fault: Fault, answer: SimResponse, *, knobs: SimulatorKnobs, variant: int) -> SimResponse:
    """The answer after the fault; faults that only change the task's words leave it as it is."""
    match fault:
        case Fault.SERVER_ERROR:
            return server_error(variant)
        case Fault.ACCEPTED_THEN_ERROR:
            return server_error(0)
        case Fault.HTML:
            return HTML_PAGE
        case Fault.CUT_JSON:
            return dataclasses.replace(answer, body=answer.body[: len(answer.body) // 2])
        case Fault.CUT_BODY:
            return dataclasses.replace(answer, delivery=Delivery.CUT)
        case Fault.RESET_BEFORE | Fault.RESET_AFTER | Fault.ACCEPTED_THEN_RESET:
            return RESET
        case Fault.REFUSED:
            return REFUSED
        case Fault.SLOW:
            return dataclasses.replace(answer, delay_seconds=knobs.slow_seconds)
        case Fault.DOUBLED:
            late_seconds = 2 * knobs.desync_seconds * (variant % 1000) / 1000
            return dataclasses.replace(answer, again_seconds=late_seconds)
        case Fault.THROTTLED:
            return throttled(knobs.retry_after_seconds)
        case Fault.THROTTLED_BARE:
            return throttled(None)
        case _:
            return answer


class SlidingLimit:
    """At most `per_second_max` requests in any one second; None for no limit."""

    def __init__(self, per_second_max: int | None) -> None:
        self.per_second_max = per_second_max
        self._times: list[float] = []
        self._next = 0

    def takes(self, now: float) -> bool:
        """Whether one more request at `now` keeps the limit; if so it is counted."""
        limit = self.per_second_max
        if limit is None:
            return True
        if len(self._times) < limit:
            self._times.append(now)
            return True
        if now - self._times[self._next] < 1.0:
            return False
        self._times[self._next] = now
        self._next = (self._next + 1) % limit
        return True
