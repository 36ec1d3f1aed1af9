"""Reserving an account's credits for a batch."""

from sqlalchemy import Connection

from rushes.domain import credits as arithmetic
from rushes.domain.credits import EntryType
from rushes.store import batches, ledger


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
