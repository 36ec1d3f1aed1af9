"""Credits for whoever runs rushes alone: granted as they are needed, where they are reserved."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from rushes.store import installation, ledger

DESCRIPTION: Final = "for rushes run: an installation without tenants"
"""Of these grants in the ledger."""


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
