"""An account as operators see it: its balance over time, its keys and endpoints, its months."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from rushes.read.ledger import account_in_full
from rushes.read.scope import Span
from rushes.store import keys, ledger
from rushes.store.acceptance import given_back
from rushes.store.database import Rows, statement
from rushes.store.webhooks import endpoints

KEYS_MAX: Final = 100
DAYS_SHOWN: Final = 60
DAY_MS: Final = 86_400_000
CLOCKS_APART_MS: Final = 3_600_000
"""By which clocks of machines may differ for the chart of days; a statement allows a day."""

_DAYS: Final = Rows(day=int)


@dataclass(frozen=True, slots=True)
class AccountBoard:
    """`days` are the balances at the end of each day on which something happened, oldest first."""

    balance: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]
    entry_count: int
    days: Sequence[tuple[int, int]]
    keys: Sequence[Mapping[str, Any]]
    endpoints: Sequence[Mapping[str, Any]]
    created_at_ms: int


def account_board(connection: Connection, account: str, *, entries: Span, now_ms: int) -> AccountBoard:
    """All of an account's page. Raises `NotFound`."""
    account_id = ledger.account_id(connection, account)
    seen = account_in_full(connection, account, entries=entries, now_ms=now_ms)
    created_at_ms = connection.scalar(
        statement("SELECT created_at_ms FROM accounts WHERE id = :id"), {"id": account_id}
    )
    return AccountBoard(
        seen["balance"],
        seen["entries"],
        seen["entry_count"],
        _days(connection, account_id, now_ms),
        keys.list_keys(connection, account=account, limit=KEYS_MAX),
        endpoints.of_account(connection, account_id),
        int(created_at_ms or now_ms),
    )


def _days(connection: Connection, account_id: int, now_ms: int) -> list[tuple[int, int]]:
    """The balance at each day's end: a day's last entry, by its number, is not much older than its newest."""
    its = "FROM ledger_entries WHERE account_id = :account_id AND created_at_ms"
    last_ms = f"(SELECT MAX(created_at_ms) {its} >= v.day AND created_at_ms < v.day + :day)"
    rows = connection.execute(
        statement(
            f"SELECT v.day, l.balance_after FROM {_DAYS.sql(connection)} JOIN ledger_entries l"
            # plus 0, so that no planner looks for the largest number from the newest entry on
            f" ON l.seq = (SELECT MAX(seq + 0) {its} >= {last_ms} - :apart AND created_at_ms < v.day + :day)"
            " WHERE l.account_id = :account_id ORDER BY v.day"
        ),
        {
            **_DAYS.parameters(
                connection, [((now_ms // DAY_MS - ago) * DAY_MS,) for ago in range(-1, DAYS_SHOWN + 1)]
            ),
            "account_id": account_id,
            "day": DAY_MS,
            "apart": CLOCKS_APART_MS,
        },
    )
    return [(int(row.day), int(row.balance_after)) for row in rows]


@dataclass(frozen=True, slots=True)
class MonthStatement:
    """What an account got, spent and had in a span of time. `moves` are ledger entries by type: how many,
    and what they changed, of which give-backs are `given_back`; `models` what was settled: videos and
    credits. `given_back` are the credits that came back of videos, of this span or an earlier one."""

    account: str
    opening: int
    closing: int
    moves: Sequence[tuple[str, int, int]]
    models: Sequence[tuple[str, int, int]]
    given_back: int

    @property
    def paid(self) -> int:
        """What the account paid for videos, less what came back."""
        return sum(credits_ for _, _, credits_ in self.models) - self.given_back


def month_statement(connection: Connection, account: str, *, from_ms: int, to_ms: int) -> MonthStatement:
    """The statement of a span of time. Raises `NotFound`."""
    of_account = {"account_id": ledger.account_id(connection, account), "from": from_ms, "to": to_ms}
    moves = connection.execute(
        statement(
            f"SELECT {given_back.ENTRY_KIND} AS kind, COUNT(*) AS entries,"
            " CAST(SUM(delta) AS bigint) AS change FROM ledger_entries"
            " WHERE account_id = :account_id AND created_at_ms >= :from AND created_at_ms < :to"
            " GROUP BY 1 ORDER BY 1"
        ),
        of_account,
    ).all()
    models = connection.execute(
        statement(
            "SELECT model, COUNT(*) AS videos, CAST(SUM(credits) AS bigint) AS credits FROM video_tasks"
            " WHERE completed_at_ms >= :from AND completed_at_ms < :to AND status = 'succeeded'"
            " AND account_id = :account_id GROUP BY model ORDER BY 3 DESC, 1"
        ),
        of_account,
    ).all()
    returned = connection.scalar(
        statement(
            "SELECT COALESCE(SUM(g.credits), 0) FROM given_back g JOIN video_tasks t ON t.id = g.task_id"
            " WHERE g.given_at_ms >= :from AND g.given_at_ms < :to AND t.account_id = :account_id"
        ),
        of_account,
    )
    return MonthStatement(
        account,
        _balance_before(connection, of_account["account_id"], from_ms),
        _balance_before(connection, of_account["account_id"], to_ms),
        [(row.kind, int(row.entries), int(row.change)) for row in moves],
        [(row.model, int(row.videos), int(row.credits)) for row in models],
        int(returned or 0),
    )


def _balance_before(connection: Connection, account_id: int, at_ms: int) -> int:
    """The balance after the last entry until then, by its number: clocks of machines differ."""
    before = "FROM ledger_entries WHERE account_id = :account_id AND created_at_ms < :at"
    found = connection.scalar(
        statement(
            "SELECT balance_after FROM ledger_entries WHERE account_id = :account_id AND seq = ("
            f"SELECT MAX(seq) {before}"
            f" AND created_at_ms >= (SELECT MAX(created_at_ms) {before}) - :clocks_apart)"
        ),
        {"account_id": account_id, "at": at_ms, "clocks_apart": DAY_MS},
    )
    return int(found or 0)
