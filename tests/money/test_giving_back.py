"""A video's credits are given back by hand: exactly, once, for a reason, and the books agree."""

import pytest

from rushes.domain.errors import InputError, ItemNotRefundable, NotFound
from rushes.money.giving_back import Refunded, refund_item
from rushes.store import ledger
from rushes.store.acceptance import given_back
from rushes.store.acceptance.given_back import BAD_FILE_ENTRY
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
