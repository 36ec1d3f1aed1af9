"""Whether a time to finish by can be met: the earliest one that the learned times and the turns allow."""

import math
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.errors import InputError
from rushes.domain.forecast import Pace
from rushes.domain.input.auto import Candidate
from rushes.domain.input.priced import PricedDraft
from rushes.domain.notation import counted, iso_time
from rushes.money.choosing.turns import NO_LIMITS, NO_QUEUES, Queues, Times, believed, queues_of, times_of

MINUTE_MS = 60_000


def check_reachable(
    connection: Connection,
    drafts: Sequence[PricedDraft],
    *,
    account_id: int | None,
    catalogue: Catalogue,
    paces: Mapping[str, Pace],
    now_ms: int,
) -> None:
    """Raise `InputError`, naming the earliest time, where the drafts' time to finish by has passed or cannot
    be met. `account_id` is None for an account that is still to be made.
    """
    if any(_by_ms(draft) is not None for draft in drafts):
        times = times_of(connection, catalogue)
        queues = queues_of(connection, catalogue, paces, times, now_ms)
        refuse_unreachable(drafts, queues, times, account_id=account_id, now_ms=now_ms)


def refuse_unreachable(
    drafts: Sequence[PricedDraft],
    queues: Queues = NO_QUEUES,
    times: Callable[[Model], Times] = believed,
    *,
    account_id: int | None = None,
    now_ms: int,
) -> None:
    """The same by these queues and times; by default nothing waits, and nothing was learned."""
    by_ms = [by for draft in drafts if (by := _by_ms(draft)) is not None]
    if not by_ms:
        return
    seconds = earliest_seconds(drafts, queues, times, account_id=account_id)
    earliest_ms = now_ms + math.ceil(1000 * seconds)
    if min(by_ms) < earliest_ms:
        minute_ms = math.ceil(earliest_ms / MINUTE_MS) * MINUTE_MS  # as people write it
        at = str(iso_time(minute_ms)).replace(".000Z", "Z")
        problem = "has passed" if min(by_ms) <= now_ms else "cannot be met"
        raise InputError(
            f"{problem}: the earliest is {at}, when {counted(len(by_ms), 'video')} of the fastest choice"
            " will be there in 95 of 100 cases",
            field="auto.finish_by",
        )


def earliest_seconds(
    drafts: Sequence[PricedDraft],
    queues: Queues = NO_QUEUES,
    times: Callable[[Model], Times] = believed,
    *,
    account_id: int | None = None,
) -> float:
    """In how many seconds each open item's video is there in 95 of 100 cases, by its fastest choice."""
    turns = queues.turns(None, account_id)
    latest = 0.0

    def there_in(choice: Candidate) -> float:
        start = turns.get(choice.model.provider, NO_LIMITS).start_seconds()
        return start + times(choice.model).late_seconds

    for draft in drafts:
        if not draft.choices:
            continue
        fastest = min(draft.choices, key=there_in)
        latest = max(latest, there_in(fastest))
        if fastest.model.provider in turns:
            turns[fastest.model.provider].take(times(fastest.model).mean_seconds)
    return latest


def _by_ms(draft: PricedDraft) -> int | None:
    return draft.bounds.finish_by_ms if draft.choices and draft.bounds is not None else None
