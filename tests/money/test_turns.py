"""Lanes chosen by a time to finish by, at a provider that takes only some tasks at a time."""

import random

import pytest

from rushes.domain.catalogue.model import Model
from rushes.domain.forecast import Pace
from rushes.domain.input.auto import AutoRule
from rushes.domain.polling.render_times import SECONDS_MAX, Estimate, Tally, typical_task
from rushes.money.accept import cancel_batch
from rushes.money.choosing.choose import Models
from rushes.money.choosing.turns import Times, Turns, believed, queues_of
from rushes.store import ledger
from rushes.store.database import Database
from tests.books import Books, assert_sound
from tests.money.test_auto import LANED, accept, accept_in_lanes, books, choose, judge

__all__ = ["books"]  # the fixture

TIMES = {"sora-2": Times(100.0, 150.0), "sora-flex": Times(1_000.0, 1_200.0)}
NIGHT = {
    "lane_of": "sora-2",
    "credits": 1,
    "render_time_p50_seconds": 36_000,
    "hard_deadline_seconds": 172_800,
}
PROVIDER = LANED.get("sora-2").provider


def times(model: Model) -> Times:
    """What is believed of the two lanes here."""
    return TIMES.get(model.name) or believed(model)


def chosen(books: Books, *, batch_id: int = 1, places: int = 2) -> dict[str, int]:
    """Choose what is due, at a provider with so many places."""
    paces = {PROVIDER: Pace(None, places)}
    queues = books.database.run_reading(queues_of, LANED, paces, times, books.now_ms)
    return choose(books, batch_id, Models(LANED, times=times, queues=queues))


# --- turns ------------------------------------------------------------------------------------------------


def test_a_task_starts_when_a_place_is_free_and_the_rate_permits_it() -> None:
    turns = Turns(Pace(0.1, 2), ends_in_seconds=[50.0])
    starts = []
    for _ in range(4):
        starts.append(turns.start_seconds())
        turns.take(100.0)
    assert starts == [0.0, 50.0, 100.0, 150.0]
    by_rate = Turns(Pace(0.1))
    by_rate.take(100.0)
    assert by_rate.start_seconds() == 10.0
    assert by_rate.all_start_by(40.0, count=4, each_seconds=1.0)
    assert not by_rate.all_start_by(39.0, count=4, each_seconds=1.0)


def test_tasks_of_others_have_their_turns_between() -> None:
    alone, shared = Turns(Pace(None, 1)), Turns(Pace(None, 1), others=3, others_seconds=10.0, between=2)
    starts = []
    for _ in range(4):
        starts.append((alone.start_seconds(), shared.start_seconds()))
        for turns in (alone, shared):
            turns.take(5.0)
    assert starts == [(0.0, 0.0), (5.0, 25.0), (10.0, 40.0), (15.0, 45.0)]
    assert Turns(Pace(None, 1)).all_start_by(15.0, count=4, each_seconds=5.0)
    again = Turns(Pace(None, 1), others=3, others_seconds=10.0, between=2)
    assert not again.all_start_by(44.0, count=4, each_seconds=5.0)
    assert again.all_start_by(45.0, count=4, each_seconds=5.0)
    assert again.start_seconds() == 0.0, "asking takes nothing"


def test_a_place_that_was_taken_away_frees_nothing_for_anybody() -> None:
    assert Turns(Pace(None, 1), ends_in_seconds=[10.0, 90.0, 50.0]).start_seconds() == 90.0


def test_of_renders_longer_than_can_be_learned_the_catalogues_time_counts() -> None:
    flex = LANED.get("sora-flex")
    assert believed(flex) == Times(3_600.0, 7_200.0)
    tally = Tally()
    nothing = Estimate(Tally().take(), typical=typical_task(flex.render_time_p50_seconds))
    for _ in range(200):
        tally.add_running(nothing, 0.0, 3 * SECONDS_MAX)
        tally.add_ended(nothing, 3 * SECONDS_MAX, 3 * SECONDS_MAX)
    learned = Estimate(tally.take(), typical=typical_task(flex.render_time_p50_seconds))
    slow = LANED.with_overrides({"night": NIGHT})
    assert believed(slow.get("night"), learned).late_seconds == 72_000.0
    assert believed(flex, learned).late_seconds == pytest.approx(SECONDS_MAX)


# --- choices ----------------------------------------------------------------------------------------------


def test_a_cheap_lane_is_not_taken_where_its_long_renders_leave_those_behind_too_late(
    database: Database,
) -> None:
    books = Books(database)
    books.grant(books.account(), 100_000)
    for number, (seconds, expected) in enumerate(
        (
            (1_600, {"sora-flex": 2, "sora-2": 6}),
            (1_250, {"sora-flex": 1, "sora-2": 7}),
            (700, {"sora-2": 8}),
            (200, {"sora-2": 8}),
        ),
        start=1,
    ):
        name = f"bat_{number}"
        accept_in_lanes(books, 10, by_ms=books.now_ms + seconds * 1000, name=name)
        assert chosen(books, batch_id=number) == expected, f"by {seconds} s"
        assert chosen(books, batch_id=number) == {}, "what has its turn later is chosen later"
        books.database.run(cancel_batch, number, now_ms=books.now_ms)


def test_a_queue_of_others_is_counted_and_holds_up_nobodys_choice(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 100_000)
    other = books.account("other")
    books.grant(other, 100_000)
    accept_in_lanes(books, 10, by_ms=books.now_ms + 1_600_000)
    books.accept(other, [10] * 50, name="bat_2")
    assert chosen(books) == {"sora-flex": 1, "sora-2": 7}, "two places are shared with another account"
    assert_sound(books)
    books.claim(2)
    books.now_ms += 60_000
    paces = {PROVIDER: Pace(None, 2)}
    queues = database.run_reading(queues_of, LANED, paces, times, books.now_ms)
    assert queues.turns(2, other)[PROVIDER].start_seconds() > 0, "both places are taken"
    starts = [
        queues.turns(batch_id, account)[PROVIDER].start_seconds() for batch_id, account in ((1, 1), (2, 2))
    ]
    assert starts[1] > starts[0] > 40.0, "each behind what of its own waits"
    assert queues.turns(None, 1)[PROVIDER].start_seconds() == 40.0


def test_best_of_n_takes_the_cheap_lane_only_where_the_next_clip_has_time_too(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 100_000)
    rule = AutoRule(("sora-2",), finish_by_ms=books.now_ms + 1_300_000)
    models = Models(LANED, times=times)
    for number, (best_of, expected) in enumerate(((None, "sora-flex"), ({"n_max": 2}, "sora-2")), start=1):
        name = f"bat_{number}"
        accept(books, 1, rule=rule, best_of=best_of, name=name, catalogue=LANED)
        assert choose(books, number, models) == {expected: 1}, best_of
    judge(books, {"sora-2": 0.0, "sora-flex": 0.0}, random.Random(1))
    assert choose(books, 2, models) == {"sora-flex": 1}, "the last clip needs no time for another"
    assert_sound(books)


def test_where_the_fast_lane_cannot_be_paid_the_cheap_one_is_taken_though_it_is_late(
    database: Database,
) -> None:
    books = Books(database)
    account_id = books.account()
    books.grant(account_id, 20)
    accept_in_lanes(books, 3, by_ms=books.now_ms + 200_000)
    assert choose(books, models=Models(LANED, times=times)) == {"sora-2": 1, "sora-flex": 2}
    assert books.database.run(ledger.available_credits, account_id, books.now_ms) == 2
    assert_sound(books)
