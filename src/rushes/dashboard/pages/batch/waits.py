"""What a batch waits for, in the language that is spoken: the forecast says it in English."""

import re
from collections.abc import Callable
from typing import Final

from rushes.dashboard.words import tr

_COUNT: Final = r"(?P<n>[\d,]+)"
_CLAUSES: Final[tuple[tuple[str, Callable[..., str]], ...]] = (
    (rf"{_COUNT} rendering", lambda **v: tr("{n} rendering", **v)),
    (rf"{_COUNT} cancelled", lambda **v: tr("{n} cancelled", **v)),
    (rf"{_COUNT} waiting for equal items", lambda **v: tr("{n} waiting for equal items", **v)),
    (
        rf"{_COUNT} waiting for a place at (?P<provider>\S+) \((?P<max>\d+) at a time\)",
        lambda **v: tr("{n} waiting for a place at {provider} ({max} at a time)", **v),
    ),
    (
        rf"{_COUNT} to be sent to (?P<provider>\S+) \((?P<rate>\S+) a second\)",
        lambda **v: tr("{n} to be sent to {provider} ({rate} a second)", **v),
    ),
    (rf"{_COUNT} to be sent to (?P<provider>\S+)", lambda **v: tr("{n} to be sent to {provider}", **v)),
    (
        rf"{_COUNT} unconfirmed, decided by (?P<time>.+)",
        lambda **v: tr("{n} unconfirmed, decided by {time}", **v),
    ),
    (
        rf"{_COUNT} not known to (?P<provider>\S+) yet, decided by (?P<time>.+)",
        lambda **v: tr("{n} not known to {provider} yet, decided by {time}", **v),
    ),
    (
        rf"{_COUNT} past the deadline, waiting for a last answer",
        lambda **v: tr("{n} past the deadline, waiting for a last answer", **v),
    ),
    (r"no worker polls (?P<provider>\S+)", lambda **v: tr("no worker polls {provider}", **v)),
    (r"held: (?P<reason>.+)", lambda **v: tr("held: {reason}", **v)),
)


def waits_for(reason: str) -> str:
    """The reason of a forecast; a clause that is not known is left as it is."""
    return "; ".join(_clause(clause) for clause in reason.split("; "))


def _clause(clause: str) -> str:
    for pattern, said in _CLAUSES:
        if found := re.fullmatch(pattern, clause):
            return said(**found.groupdict())
    return clause
