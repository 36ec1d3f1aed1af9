"""Reserving an account's credits; whoever runs rushes alone is granted those that are missing."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from rushes.domain import credits as arithmetic
from rushes.domain.credits import EntryType
from rushes.store import batches, installation, ledger

DESCRIPTION: Final = "for rushes run: an installation without tenants"
"""Of the grants to whoever runs rushes alone."""


def grant_missing(connection: Connection, account_id: int, *, required: int, now_ms: int) -> int:
    """Give the account what it lacks of the `required` credits; returns how many that were.

    Only in an installation that has never had tenants (`installation.has_one_user`); in any other none are
    given. The account must be locked: two runs at once would count the same credits.
    """
    missing = required - ledger.available_credits(connection, account_id, now_ms)
    if missing <= 0 or not installation.has_one_user(connection, account_id):
        return 0
    ledger.grant(connection, account_id, missing, now_ms=now_ms, description=DESCRIPTION, by_operator=False)
    installation.note_one_user(connection)
    return missing


def lock_and_grant(connection: Connection, account_id: int, prices: Iterable[int], *, now_ms: int) -> None:
    """Lock the account, and give it what it lacks of these prices together, as `grant_missing` does."""
    ledger.lock(connection, account_id)
    grant_missing(connection, account_id, required=sum(prices), now_ms=now_ms)


def reserve(
    connection: Connection, book: ledger.Book, *, account_id: int, batch_id: int, amount: int, now_ms: int
) -> None:
    """Hold `amount` of the account's credits for the batch: one ledger entry, however many items it pays for.

    Writes the book, in which the account is locked. Raises `InsufficientCredits`.
    """
    if amount == 0:
        return
    lots = ledger.lots_for(connection, account_id, amount, now_ms=now_ms)
    parts = arithmetic.reserve(lots, amount, now_ms)
    book.append(account_id, EntryType.RESERVE, parts, now_ms=now_ms, batch_id=batch_id)
    book.write()
    batches.add_reservation(connection, batch_id, parts)
