"""What an account has used: tries and their credits, by day, model and key.

Credits that were given back for a video count as refunded, whenever that was.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection

from rushes.domain.notation import iso_time
from rushes.store.acceptance.given_back import KEPT, OF_TASKS
from rushes.store.database import statement

DAY_MS: Final = 86_400_000

GROUPS: Final[Mapping[str, str]] = {
    "day": f"b.created_at_ms / {DAY_MS}",
    "model": "t.model",
    "key": "b.request_scope",
}
"""What usage may be grouped by."""

_SUMS: Final = ("tries", "succeeded", "failed", "open", "credits_settled", "credits_refunded", "credits_held")


def usage(
    connection: Connection, account_id: int, *, groups: Sequence[str], from_ms: int, to_ms: int
) -> dict[str, Any]:
    """`{from, to, rows, total}` of the batches made in that time; folded ones do not count."""
    columns = [GROUPS[group] for group in groups]
    rows = connection.execute(
        statement(
            f"SELECT {', '.join(columns)}, COUNT(*), {_count('succeeded')}, {_count('failed')},"
            f" {_count('pending', 'processing')}, {_credits('succeeded', amount=KEPT)},"
            f" {_credits('failed')} + COALESCE(SUM(g.credits), 0), {_credits('pending', 'processing')}"
            f" FROM batches b JOIN video_tasks t ON t.batch_id = b.id{OF_TASKS}"
            " WHERE b.account_id = :account_id AND b.created_at_ms >= :from_ms AND b.created_at_ms < :to_ms"
            f" GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)}"
        ),
        {"account_id": account_id, "from_ms": from_ms, "to_ms": to_ms},
    ).all()
    found = [_row(groups, tuple(row)) for row in rows]
    return {
        "from": iso_time(from_ms),
        "to": iso_time(to_ms),
        "rows": found,
        "total": {name: sum(row[name] for row in found) for name in _SUMS},
    }


def _row(groups: Sequence[str], values: tuple[Any, ...]) -> dict[str, Any]:
    named: dict[str, Any] = dict.fromkeys(("day", "model", "key_id"))
    for group, value in zip(groups, values, strict=False):
        match group:
            case "day":
                named["day"] = datetime.fromtimestamp(int(value) * DAY_MS // 1000, UTC).date().isoformat()
            case "model":
                named["model"] = value
            case _:
                kind, _, key_id = str(value).partition(":")
                named["key_id"] = int(key_id) if kind == "key" and key_id.isdecimal() else None
    return named | {name: int(value) for name, value in zip(_SUMS, values[len(groups) :], strict=True)}


def _count(*statuses: str) -> str:
    return f"SUM(CASE WHEN {_is(*statuses)} THEN 1 ELSE 0 END)"


def _credits(*statuses: str, amount: str = "t.credits") -> str:
    return f"SUM(CASE WHEN {_is(*statuses)} THEN {amount} ELSE 0 END)"


def _is(*statuses: str) -> str:
    return " OR ".join(f"t.status = '{status}'" for status in statuses)
