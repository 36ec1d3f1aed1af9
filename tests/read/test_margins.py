"""Margins, computed by hand: per item, batch, model, account and day."""

from fractions import Fraction

import pytest

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.margin import NO_VALUATION, CreditValue, Valuation
from rushes.domain.task import Failed, FailureType, Succeeded
from rushes.money import accept
from rushes.read.items import export_page
from rushes.read.margins import DAY_MS, NOTHING_EARNED, batch_margin, earned_today, margins
from rushes.read.scope import OPERATOR
from rushes.store.database import Database
from tests.books import Books, video

CENT = Valuation(CreditValue(Fraction(1, 100), "USD"), {"CNY": Fraction(14, 100)})
NOON_MS = 900_072_000_000  # 1998-07-10 12:00


@pytest.fixture
def books(database: Database) -> Books:
    """A database and a clock."""
    return Books(database, now_ms=NOON_MS)


def order(books: Books, account: str, name: str, items: list[dict[str, object]], models: Catalogue) -> int:
    account_id = books.account(account)
    books.grant(account_id, 1000)
    drafts = drafts_from_objects([{"prompt": "x", **item} for item in items], Defaults.of(models))
    tasks = accept.priced_tasks(validate_drafts(drafts, models, books.now_ms / 1000))
    request = accept.BatchRequest(account_id, name, name, accept.request_hash(drafts), tasks)
    accepted = books.database.run(accept.accept_batch, request, public_id=name, now_ms=books.now_ms)
    # all at one provider, so that one worker has them
    books.sql("UPDATE video_tasks SET provider = 'grsai'")
    return int(accepted.row["id"])


def run(books: Books, *ends: object) -> None:
    claimed = books.claim()
    books.name(claimed)
    for task, end in zip(claimed, ends, strict=True):
        verdict = video(task) if end is None else end
        assert isinstance(verdict, Succeeded | Failed)
        books.finish([(task, verdict)])


def test_runway_by_the_second_earns_what_a_hand_computes(books: Books) -> None:
    """2 s: 30 credits for 0.30, bought for 0.24; 10 s: 150 for 1.50, bought for 1.20."""
    items: list[dict[str, object]] = [{"model": "runway-gen4.5", "duration": each} for each in (2, 10)]
    batch_id = order(books, "acme", "bat_1", items, DEFAULT_CATALOGUE)
    reported = Succeeded("https://v.example/1.mp4", provider_cost=24, provider_cost_unit="credits")
    run(books, reported, None)
    found = books.database.run_reading(batch_margin, batch_id, CENT)
    assert found == {
        "credits_settled": 180,
        "revenue": {"amount": "1.8", "currency": "USD"},
        "provider_cost": {"USD": "1.44"},
        "cost_unknown_count": 0,
        "margin": {"amount": "0.36", "currency": "USD"},
    }
    rows = books.database.run_reading(export_page, OPERATOR, "bat_1", from_index=0, valuation=CENT)
    money = [
        (
            row["expected_cost"],
            row["actual_cost"],
            row["provider_cost"],
            row["margin"],
            row["margin_currency"],
        )
        for row in rows
    ]
    assert money == [("0.24", "0.24", 24.0, "0.06", "USD"), ("1.2", None, None, "0.3", "USD")]


def test_a_failure_costs_what_was_reported_and_nothing_without(books: Books) -> None:
    items: list[dict[str, object]] = [{"model": "runway-gen4.5", "duration": 2}] * 2
    batch_id = order(books, "acme", "bat_1", items, DEFAULT_CATALOGUE)
    run(
        books,
        Failed("no", FailureType.OUTPUT_MODERATION, 24, "credits"),
        Failed("no", FailureType.MODEL_ERROR),
    )
    found = books.database.run_reading(batch_margin, batch_id, CENT)
    assert found["margin"] == {"amount": "-0.24", "currency": "USD"}
    assert found["provider_cost"] == {"USD": "0.24"}


def test_currencies_are_kept_apart_and_converted_by_the_operators_rate(books: Books) -> None:
    items: list[dict[str, object]] = [{"model": "sora-2"}, {"model": "runway-gen4.5", "duration": 2}]
    batch_id = order(books, "acme", "bat_1", items, DEFAULT_CATALOGUE)
    run(books, None, None)
    found = books.database.run_reading(batch_margin, batch_id, CENT)
    assert found["provider_cost"] == {"CNY": "0.08", "USD": "0.24"}
    # 0.40 - 0.24 - 0.08 * 0.14
    assert found["margin"] == {"amount": "0.1488", "currency": "USD"}
    without_rate = Valuation(CENT.value)
    found = books.database.run_reading(batch_margin, batch_id, without_rate)
    assert (found["margin"], found["revenue"]) == (None, {"amount": "0.4", "currency": "USD"})
    found = books.database.run_reading(batch_margin, batch_id, NO_VALUATION)
    assert (found["margin"], found["revenue"]) == (None, None)


def test_a_cost_that_nobody_knows_makes_no_margin(books: Books) -> None:
    batch_id = order(books, "acme", "bat_1", [{"model": "gemini-omni"}], DEFAULT_CATALOGUE)
    run(books, None)
    found = books.database.run_reading(batch_margin, batch_id, CENT)
    assert (found["cost_unknown_count"], found["margin"]) == (1, None)


def test_margins_by_model_account_and_day(books: Books) -> None:
    order(books, "acme", "bat_1", [{"model": "runway-gen4.5", "duration": 2}], DEFAULT_CATALOGUE)
    run(books, None)
    books.now_ms += DAY_MS
    order(
        books,
        "zeta",
        "bat_2",
        [{"model": "runway-gen4.5", "duration": 10}, {"model": "sora-2"}],
        DEFAULT_CATALOGUE,
    )
    run(books, None, None)

    def found(group: str, **more: object) -> list[tuple[object, object]]:
        rows = books.database.run_reading(margins, group, CENT, since_ms=NOON_MS, **more)  # type: ignore[arg-type]
        return [(row[group], row["margin"] and row["margin"]["amount"]) for row in rows]

    assert found("model") == [("runway-gen4.5", "0.36"), ("sora-2", "0.0888")]
    assert found("account") == [("acme", "0.06"), ("zeta", "0.3888")]
    assert found("day") == [("1998-07-10", "0.06"), ("1998-07-11", "0.3888")]
    today = books.database.run_reading(earned_today, CENT, now_ms=books.now_ms)
    assert (today["margin"]["amount"], today["provider_cost"]) == ("0.3888", {"CNY": "0.08", "USD": "1.2"})
    assert books.database.run_reading(earned_today, CENT, now_ms=books.now_ms + DAY_MS) == NOTHING_EARNED
    assert found("day", account_id=books.account("acme")) == [("1998-07-10", "0.06")]
