"""A person's verdict: once for each clip, before every other, and with what follows from it."""

from typing import Any

import pytest

from rushes.domain.acceptance.best_of import BestOf
from rushes.domain.acceptance.judging import Judgement
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.errors import DayCapReached, ItemNotJudgeable, NotFound
from rushes.money.acts import Rated, rate_items
from rushes.money.judge import Judged, judge_item
from rushes.read.acceptance import reports
from rushes.read.scope import OPERATOR, Scope
from rushes.store import keys
from rushes.store.database import Database
from tests.books import Books, assert_sound, batch
from tests.money.test_rebuy import GATED, decide, end, round_of, undecided

GOOD, BAD = Judgement(Verdict.ACCEPTED), Judgement(Verdict.REJECTED, "ugly")


@pytest.fixture
def books(database: Database) -> Books:
    made = Books(database)
    made.grant(made.account(), 1000)
    return made


def judge(books: Books, index: int, judgement: Judgement, name: str = "bat_1") -> Judged:
    return books.database.run(judge_item, name, index, judgement, person="ann", now_ms=books.now_ms)


def test_a_person_stands_before_the_gate_and_buys_the_next_clip(books: Books) -> None:
    books.accept(1, [10, 10], best_of=BestOf(3), **GATED)
    round_of(books, Verdict.ACCEPTED)
    assert batch(books)["finalized_at_ms"] is not None
    assert judge(books, 0, BAD) == Judged(is_new=True, buys=True)
    found = batch(books)
    assert (found["status"], found["pending"], found["finalized_at_ms"]) == ("processing", 1, None)
    assert_sound(books)
    round_of(books, Verdict.REJECTED)
    end(books, books.claim())
    assert judge(books, 0, GOOD) == Judged(is_new=True, buys=False)
    found = batch(books)
    assert (found["status"], found["credits_settled"]) == ("succeeded", 40)
    row = books.row(
        "SELECT c.verdict, c.decided_by FROM clip_verdicts c JOIN video_tasks t ON t.id = c.task_id"
        " WHERE t.item_index = 0 AND t.is_current = 1"
    )
    assert row == {"verdict": "accepted", "decided_by": "person:ann"}
    assert_sound(books)


def test_the_same_verdict_again_changes_nothing_and_another_is_refused(books: Books) -> None:
    books.accept(1, [10], **GATED)
    end(books, books.claim())
    assert judge(books, 0, GOOD).is_new
    assert not judge(books, 0, GOOD).is_new
    with pytest.raises(ItemNotJudgeable, match="a person has judged item 0 as accepted before"):
        judge(books, 0, BAD)
    assert decide(books, dict.fromkeys(undecided(books), Verdict.REJECTED)) == 0
    assert books.row("SELECT verdict FROM clip_verdicts")["verdict"] == "accepted"
    assert_sound(books)


def test_clips_of_a_batch_without_a_gate_can_be_judged(books: Books) -> None:
    books.accept(1, [10, 10])
    end(books, books.claim(), failing=frozenset({1}))
    assert judge(books, 0, BAD) == Judged(is_new=True, buys=False)
    assert batch(books)["credits_settled"] == 10
    with pytest.raises(ItemNotJudgeable, match="item 1 is failed"):
        judge(books, 1, BAD)
    with pytest.raises(NotFound):
        judge(books, 2, BAD)
    assert_sound(books)


def test_a_key_under_a_days_cap_rejects_what_buys_only_in_its_own_batches(books: Books) -> None:
    for shown in ("a", "b"):
        made: dict[str, Any] = {"name": shown, "shown": shown, "key_hash": shown, "rate_limit_per_min": None}
        books.database.run(keys.create, 1, now_ms=books.now_ms, credits_per_day_max=100, **made)
    books.accept(1, [10, 10], best_of=BestOf(3), **GATED)
    books.accept(1, [10], name="bat_2", **GATED)
    books.sql("UPDATE batches SET request_scope = 'key:1'")
    end(books, books.claim())
    everything = books.everything()

    def reject(key_id: int, name: str, index: int) -> Judged:
        asked: dict[str, Any] = {"person": "", "key_id": key_id, "now_ms": books.now_ms}
        return books.database.run(judge_item, name, index, BAD, **asked)

    with pytest.raises(DayCapReached, match="only in batches that it made itself"):
        reject(2, "bat_1", 0)
    assert books.everything() == everything
    assert books.rows("SELECT 1 FROM clip_verdicts WHERE verdict IS NOT NULL") == []
    assert reject(1, "bat_1", 0).buys
    assert reject(2, "bat_2", 0) == Judged(is_new=True, buys=False), "a verdict that buys nothing is free"
    books.database.run(judge_item, "bat_1", 1, GOOD, person="", key_id=2, now_ms=books.now_ms)
    assert_sound(books)


def test_what_accepted_clips_cost_is_told_by_batch_and_by_model(books: Books) -> None:
    books.accept(1, [10] * 4, best_of=BestOf(2), **GATED)
    end(books, books.claim())
    first, second, third, fourth = undecided(books)
    decide(
        books,
        {
            first: Verdict.REJECTED,
            second: Verdict.ACCEPTED,
            third: Verdict.ACCEPTED,
            fourth: Verdict.UNDECIDED,
        },
    )
    round_of(books, Verdict.REJECTED)
    found = books.database.run_reading(reports.batch_verdicts, OPERATOR, "bat_1")
    assert found["verdicts"] == {"accepted": 2, "rejected": 2, "undecided": 1, "open": 0}
    assert (found["clips"], found["replaced"], found["reasons"]) == (5, 1, {"frozen": 2})
    assert (found["credits_settled"], found["cost_per_accepted"]) == (50, 25.0)
    assert found["accept"] == {"n_max": 2, "credits_max": None, "score_min": None}
    (model,) = books.database.run_reading(reports.cost_by_model, Scope(1))
    assert (model["clips"], model["accepted"], model["cost_per_accepted"]) == (5, 2, 25.0)
    assert model["accepted_share_interval"] == [0.1176, 0.7693], "by Wilson, for 2 of 5"
    assert books.database.run_reading(reports.cost_by_model, Scope(2)) == []


def test_rating_on_the_wall_buys_and_closes_as_any_verdict_does(books: Books) -> None:
    books.accept(1, [10, 10], best_of=BestOf(2), **GATED)
    end(books, books.claim())
    rate: dict[str, Any] = {"person": "ann", "now_ms": books.now_ms}
    assert books.database.run(rate_items, "bat_1", [0, 1], Verdict.REJECTED, **rate) == Rated(2, 0)
    assert batch(books)["pending"] == 2
    end(books, books.claim())
    assert batch(books)["finalized_at_ms"] is None
    assert books.database.run(rate_items, "bat_1", [0, 1], Verdict.ACCEPTED, **rate) == Rated(2, 0)
    assert (batch(books)["status"], batch(books)["credits_settled"]) == ("succeeded", 40)
    assert_sound(books)


@pytest.mark.parametrize("is_rated_first", [True, False])
def test_a_verdict_of_a_person_stands_wherever_it_was_given(books: Books, is_rated_first: bool) -> None:
    books.accept(1, [10], best_of=BestOf(3), **GATED)
    end(books, books.claim())
    rate: dict[str, Any] = {"person": "ann", "now_ms": books.now_ms}
    if is_rated_first:
        assert books.database.run(rate_items, "bat_1", [0], Verdict.ACCEPTED, **rate) == Rated(1, 0)
        with pytest.raises(ItemNotJudgeable, match="a person has judged item 0 as accepted before"):
            judge(books, 0, BAD)
        assert not judge(books, 0, GOOD).is_new
    else:
        assert judge(books, 0, GOOD).is_new
    assert books.database.run(rate_items, "bat_1", [0], Verdict.REJECTED, **rate) == Rated(0, 1)
    assert books.row("SELECT verdict FROM clip_verdicts")["verdict"] == "accepted"
    assert books.row("SELECT COUNT(*) AS n FROM clip_judgements WHERE judge = 'person'")["n"] == 1
    assert (batch(books)["pending"], batch(books)["credits_settled"]) == (0, 10), "nothing more was bought"
    assert_sound(books)
