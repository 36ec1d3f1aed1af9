"""Until when an item or a batch must be at its provider, and times as people write them."""

from datetime import UTC, date, datetime
from typing import Final

from rushes.domain.catalogue.options import NOWHERE, Origin, quoted

DEADLINE_SECONDS_MAX: Final = 30 * 86_400

LAST_DAY_MS: Final = 253_402_214_400_000
"""9999-12-31, after which a date has no form."""


def epoch_ms(text: str) -> int:
    """A date, which is its midnight, or a time; UTC unless it names a zone. Raises `ValueError`.

    What lies before 1970 counts as its start, and what lies after the year 9999 as its last day: some
    programs write either where they have no time.
    """
    try:
        if len(text) == len("2026-11-01"):
            moment = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        else:
            # in a query a "+" stands for a space: a time zone's is given back to it
            moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max(int(moment.timestamp() * 1000), 0), LAST_DAY_MS)
    except (ValueError, OverflowError):
        raise ValueError("must be a date such as 2026-11-01, or an ISO 8601 time") from None


def deadline_ms(
    value: object,
    now_ms: int,
    origin: Origin = NOWHERE,
    *,
    name: str = "deadline",
    may_have_passed: bool = False,
) -> int | None:
    """A number of seconds from now, or a time; None for None. Raises `InputError` for one that has passed,
    unless that is said elsewhere.

    `name` is the field's.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            at_ms = epoch_ms(value)
        except ValueError as refused:
            raise origin.error(str(refused), name) from None
    elif isinstance(value, bool) or not isinstance(value, int):
        raise origin.error(f"must be seconds or an ISO 8601 time, not {quoted(value)}", name)
    else:
        at_ms = now_ms + min(value, 2 * DEADLINE_SECONDS_MAX) * 1000
    if at_ms <= now_ms and not may_have_passed:
        raise origin.error("must be in the future", name)
    if at_ms > now_ms + DEADLINE_SECONDS_MAX * 1000:
        raise origin.error(f"must be within {DEADLINE_SECONDS_MAX} seconds from now", name)
    return at_ms
