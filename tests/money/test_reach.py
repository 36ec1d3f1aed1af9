"""A time to finish by that has passed or cannot be met is refused with the earliest one."""

import pytest

from rushes.domain.errors import InputError
from rushes.domain.forecast import Pace
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.polling.learned_schedule import LearnedSchedule
from rushes.money.choosing.reach import MINUTE_MS, check_reachable, earliest_seconds, refuse_unreachable
from rushes.money.choosing.turns import believed, queues_of
from rushes.store import render_times
from rushes.store.database import Database
from tests.books import Books
from tests.money.test_auto import LANED

PROVIDER = LANED.get("sora-2").provider
TYPICAL_SECONDS = 2 * LANED.get("sora-2").render_time_p50_seconds
NOW_MS = 10 * MINUTE_MS


def drafts(by_ms: int, items: int = 2) -> list[PricedDraft]:
    """Items of one model whose lane is open."""
    rule = AutoRule(("sora-2",), finish_by_ms=by_ms)
    given = [TaskDraft(f"take {n}", "auto", {}) for n in range(items)]
    return validate_drafts(given, LANED, 0.0, auto=rule)


def refusal(by_ms: int) -> str | None:
    """What is said of that time where nothing waits and nothing was learned."""
    try:
        refuse_unreachable(drafts(by_ms), now_ms=NOW_MS)
    except InputError as error:
        return error.message
    return None


def test_the_earliest_time_is_named_and_is_accepted() -> None:
    earliest_ms = NOW_MS + int(TYPICAL_SECONDS * 1000)
    minute_ms = -(-earliest_ms // MINUTE_MS) * MINUTE_MS
    said = (
        f"the earliest is 1970-01-01T00:{minute_ms // MINUTE_MS:02}:00Z, when 2 videos of the fastest choice"
    )
    assert f"auto.finish_by: cannot be met: {said}" in str(refusal(earliest_ms - 1))
    assert f"has passed: {said}" in str(refusal(NOW_MS))
    assert f"has passed: {said}" in str(refusal(1))
    assert refusal(earliest_ms) is None
    assert refusal(minute_ms) is None


def test_what_was_learned_counts_and_so_does_what_is_at_the_provider(database: Database) -> None:
    books = Books(database, now_ms=NOW_MS)
    account_id = books.account()
    books.grant(account_id, 1_000)
    paces = {PROVIDER: Pace(None, 2)}

    def check(by_seconds: float, items: int = 2) -> None:
        database.run_reading(
            check_reachable,
            drafts(NOW_MS + int(by_seconds * 1000), items),
            account_id=account_id,
            catalogue=LANED,
            paces=paces,
            now_ms=NOW_MS,
        )

    check(TYPICAL_SECONDS)
    with pytest.raises(InputError, match="cannot be met"):
        check(TYPICAL_SECONDS - 1)
    schedule = LearnedSchedule(1.0, 30.0, catalogue=LANED)
    for _ in range(60):
        schedule.saw_end(model="sora-2", after_seconds=19.0, by_seconds=20.0)
    database.run(render_times.merge, schedule.take_unsaved(), now_ms=NOW_MS)
    check(60)
    with pytest.raises(InputError, match="cannot be met"):
        check(10)
    with pytest.raises(InputError, match="12 videos"):
        check(60, items=12)
    check(200, items=12)
    earliest = []
    for change in (lambda: books.accept(account_id, [10, 10], name="bat_1"), books.claim, None):
        queues = database.run_reading(queues_of, LANED, paces, believed, NOW_MS)
        earliest.append(earliest_seconds(drafts(NOW_MS + 1), queues, account_id=account_id))
        if change is not None:
            change()
    median = LANED.get("sora-2").render_time_p50_seconds
    after = TYPICAL_SECONDS + median
    assert earliest == [TYPICAL_SECONDS, after, after], "the others have a turn between, or both places"


def test_without_a_time_nothing_is_refused() -> None:
    given = validate_drafts([TaskDraft("a", "auto", {})], LANED, 0.0, auto=AutoRule(("sora-2",)))
    refuse_unreachable(given, now_ms=NOW_MS)
    assert earliest_seconds(given) == TYPICAL_SECONDS
    plain = validate_drafts([TaskDraft("a", "sora-2", {})], LANED, 0.0)
    assert earliest_seconds(plain) == 0
