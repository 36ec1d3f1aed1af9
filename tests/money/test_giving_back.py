"""A video's credits are given back by hand: exactly, once, for a reason, and the books agree."""

from fractions import Fraction
from typing import Any

import pytest

from rushes.dashboard.pages import month
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError, ItemNotRefundable, NotFound
from rushes.domain.margin import CreditValue, Valuation
from rushes.money.giving_back import Refunded, refund_item
from rushes.read.board.accounts import month_statement
from rushes.read.items import export_page, items_in_full
from rushes.read.ledger import LedgerFilter, ledger_entries
from rushes.read.margins import batch_margin, margins
from rushes.read.scope import OPERATOR
from rushes.read.tenant.usage import usage
from rushes.store import caps, ledger
from rushes.store.acceptance import given_back
from rushes.store.acceptance.given_back import BAD_FILE_ENTRY, entry_kind
from rushes.store.caps import CREDITS, CapScope, DayCap
from rushes.store.database import Database
from tests.books import REFUSED, Books, assert_sound, batch, video


@pytest.fixture
def books(database: Database) -> Books:
    """An account with 3 credits that expire and 100 that do not; a batch of three items of 5."""
    books = Books(database)
    account_id = books.account()
    books.grant(account_id, 3, expires_at_ms=books.now_ms + 1_000_000)
    books.grant(account_id, 100)
    books.accept(account_id, [5, 5, 5])
    return books


def finished(books: Books) -> None:
    """The first two succeed, the third fails."""
    first, second, third = books.claim()
    books.name((first, second, third))
    books.finish([(first, video(first)), (second, video(second)), (third, REFUSED)])


def refund(books: Books, index: int, reason: str = "the face melts") -> Refunded:
    return books.database.run(refund_item, "bat_1", index, reason=reason, now_ms=books.now_ms)


def available(books: Books) -> int:
    return books.database.run_reading(ledger.available_credits, 1, books.now_ms)


def test_credits_come_back_once_to_the_kind_that_paid_and_the_settlement_stands(books: Books) -> None:
    finished(books)
    before, settled = available(books), batch(books)["credits_settled"]
    assert refund(books, 0) == Refunded(5, 0)
    assert available(books) == before + 5
    assert batch(books)["credits_settled"] == settled, "reserved = settled + refunded goes on to hold"
    entries = books.rows("SELECT type, delta, description FROM ledger_entries ORDER BY seq DESC LIMIT 2")
    assert sorted((entry["type"], entry["delta"]) for entry in entries) == [("bonus", 3), ("purchase", 2)]
    assert {entry["description"] for entry in entries} == {"given back: the face melts (bat_1-0)"}
    (bonus,) = books.rows("SELECT expires_at_ms FROM credit_lots WHERE kind = 'bonus' AND remaining > 0")
    assert bonus["expires_at_ms"] == 1_001_000
    everything = books.everything()
    with pytest.raises(ItemNotRefundable, match="before"):
        refund(books, 0)
    assert books.everything() == everything
    assert refund(books, 1) == Refunded(5, 0)
    assert_sound(books)


@pytest.mark.parametrize("index", [2, 7])
def test_only_a_charged_video_is_refunded(books: Books, index: int) -> None:
    everything = books.everything()
    with pytest.raises(ItemNotRefundable, match="was made and charged"):
        refund(books, 0)
    assert books.everything() == everything
    finished(books)
    everything = books.everything()
    with pytest.raises(ItemNotRefundable):
        refund(books, index)
    with pytest.raises(NotFound):
        books.database.run(refund_item, "bat_none", 0, reason="x", now_ms=books.now_ms)
    assert books.everything() == everything


@pytest.mark.parametrize("reason", ["", "x" * 121, "a\nb"])
def test_a_refund_has_a_reason(books: Books, reason: str) -> None:
    finished(books)
    everything = books.everything()
    with pytest.raises(InputError):
        refund(books, 0, reason)
    assert books.everything() == everything


def test_what_has_expired_does_not_come_back(books: Books) -> None:
    finished(books)
    books.now_ms += 2_000_000
    before = available(books)
    assert refund(books, 0) == Refunded(2, 3)
    assert available(books) == before + 2
    assert_sound(books)


def test_a_give_back_of_before_there_was_a_table_counts(books: Books) -> None:
    finished(books)
    books.database.run(
        ledger.grant, 1, 5, now_ms=books.now_ms, description=BAD_FILE_ENTRY.format(item_id="bat_1-0")
    )
    with pytest.raises(ItemNotRefundable, match="its file was bad"):
        refund(books, 0)
    assert books.database.run_reading(given_back.found, 1) is None
    assert refund(books, 1).credits == 5


def test_what_was_given_back_was_not_earned_paid_or_spent(books: Books) -> None:
    finished(books)
    books.sql("UPDATE video_tasks SET expected_cost_micros = 10000, cost_currency = 'USD'")
    refunded_at_ms = books.now_ms + 1
    books.now_ms = refunded_at_ms
    refund(books, 0)
    run, later = books.database.run_reading, books.now_ms + 1
    cents = Valuation(CreditValue(Fraction(1, 100), "USD"), {})

    earned = run(batch_margin, 1, cents)
    assert (earned["credits_settled"], earned["provider_cost"]) == (5, {"USD": "0.02"})
    assert earned["margin"] == {"amount": "0.03", "currency": "USD"}
    for group in ("model", "account", "day"):
        (by_group,) = run(margins, group, cents, since_ms=0)
        assert by_group["margin"] == earned["margin"]
    rows = run(export_page, OPERATOR, "bat_1", from_index=0, valuation=cents)
    assert [row["margin"] for row in rows] == ["-0.01", "0.04", "0"]
    full: dict[str, Any] = {
        "status": None,
        "limit": None,
        "offset": 0,
        "catalogue": DEFAULT_CATALOGUE,
        "now_ms": later,
    }
    assert [row["margin"] for row in run(items_in_full, "bat_1", valuation=cents, **full)] == [
        row["margin"] for row in rows
    ]

    used = run(usage, 1, groups=["model"], from_ms=0, to_ms=later)["total"]
    assert (used["credits_settled"], used["credits_refunded"], used["credits_held"]) == (5, 10, 0)
    of_scope: list[tuple[CapScope, str]] = [("all", ""), ("account", "default"), ("model", "sora-2")]
    for scope, subject in of_scope:
        assert run(caps.spent_since, DayCap(scope, subject, CREDITS, 100), 0) == 5
    money = DayCap("all", "", "USD", 100)
    assert run(caps.spent_since, money, 0) == 20_000, "the provider was paid all the same"

    entries = run(ledger_entries, OPERATOR, LedgerFilter("default"))
    assert [entry_kind(entry) for entry in entries][:2] == ["given_back"] * 2
    assert {entry["type"] for entry in entries[:2]} == {"purchase", "bonus"}
    assert sum(entry_kind(entry) == "given_back" for entry in entries) == 2


def test_a_months_statement_has_what_was_given_back_in_a_row_of_its_own(books: Books) -> None:
    finished(books)
    refunded_at_ms = books.now_ms + 10
    books.now_ms = refunded_at_ms
    refund(books, 0)
    all_of_it = books.database.run_reading(month_statement, "default", from_ms=0, to_ms=refunded_at_ms + 1)
    assert (all_of_it.models, all_of_it.given_back, all_of_it.paid) == ([("sora-2", 2, 10)], 5, 5)
    moves = {kind: (count, change) for kind, count, change in all_of_it.moves}
    assert (moves["purchase"], moves["bonus"], moves["given_back"]) == ((1, 100), (1, 3), (2, 5))
    assert sum(change for _, change in moves.values()) == all_of_it.closing
    before = books.database.run_reading(month_statement, "default", from_ms=0, to_ms=refunded_at_ms)
    assert (before.paid, before.given_back) == (10, 0), "what was printed before stays as it is"
    after = books.database.run_reading(
        month_statement, "default", from_ms=refunded_at_ms, to_ms=refunded_at_ms + 1
    )
    assert (after.models, after.paid) == ([], -5)
    shown = str(month._models(all_of_it)), str(month._moves(all_of_it)), str(month._models(after))
    assert all("Given back" in html for html in shown)
    assert ["−5" in html for html in shown] == [True, False, True]
