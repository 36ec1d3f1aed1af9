"""Day caps: what may be spent in a day, and what has been."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, Row

from rushes.domain.errors import NotFound
from rushes.store import ledger
from rushes.store.acceptance.given_back import KEPT, OF_TASKS
from rushes.store.database import statement

CapScope: TypeAlias = Literal["all", "account", "key", "model"]

CREDITS: Final = "credits"
"""The unit of a cap in credits; every other unit is a currency, in millionths."""

_MADE_BY: Final = (
    "WITH RECURSIVE made(id) AS (SELECT id FROM api_keys WHERE CAST(id AS text) = :subject"
    " UNION SELECT k.id FROM api_keys k JOIN made m ON k.made_by_key_id = m.id)"
    " SELECT 'key:' || CAST(:subject AS text) UNION SELECT 'key:' || id FROM made"
)
"""The request scopes of a key and of all keys that were made by it, by those, and so on."""

_MAKERS_OF: Final = (
    "WITH RECURSIVE makers(id) AS (SELECT CAST(:key_id AS bigint)"
    " UNION SELECT k.made_by_key_id FROM api_keys k JOIN makers m ON k.id = m.id"
    " WHERE k.made_by_key_id IS NOT NULL) SELECT id, credits_per_day_max FROM api_keys"
    " WHERE id IN (SELECT id FROM makers) ORDER BY id"
)
"""A key, the one that made it, the one that made that, and so on, each with the cap that its account set."""

_OF_SCOPE: Final[dict[CapScope, str]] = {
    "all": "",
    "account": " AND t.account_id = (SELECT id FROM accounts WHERE name = :subject)",
    "key": f" AND t.batch_id IN (SELECT id FROM batches WHERE request_scope IN ({_MADE_BY}))",
    "model": " AND t.model = :subject",
}


@dataclass(frozen=True, slots=True)
class DayCap:
    """At most `amount` of a unit in a day (UTC), for everything, an account, an API key or a model."""

    scope: CapScope
    subject: str
    unit: str
    amount: int


def require_subject(connection: Connection, scope: CapScope, subject: str) -> None:
    """Raise `NotFound` for an account or a key that does not exist: its cap would hold nothing back."""
    if scope == "account" and ledger.account_id_if_any(connection, subject) is None:
        raise NotFound(
            f'there is no account "{subject}"; `rushes credits grant AMOUNT --account NAME` makes one'
        )
    known = statement("SELECT 1 FROM api_keys WHERE CAST(id AS text) = :subject")
    if scope == "key" and connection.scalar(known, {"subject": subject}) is None:
        raise NotFound(f'there is no key with the id "{subject}"; see `rushes keys list`')


def set_cap(connection: Connection, cap: DayCap) -> None:
    """Set it, in place of an earlier one of the same unit."""
    connection.execute(
        statement(
            "INSERT INTO day_caps (scope, subject, unit, amount) VALUES (:scope, :subject, :unit, :amount)"
            " ON CONFLICT (scope, subject, unit) DO UPDATE SET amount = excluded.amount"
        ),
        {"scope": cap.scope, "subject": cap.subject, "unit": cap.unit, "amount": cap.amount},
    )


def remove_caps(connection: Connection, scope: CapScope, subject: str) -> int:
    """Remove all caps of that subject; returns how many."""
    result = connection.execute(
        statement("DELETE FROM day_caps WHERE scope = :scope AND subject = :subject RETURNING unit"),
        {"scope": scope, "subject": subject},
    )
    return len(result.all())


def all_caps(connection: Connection) -> list[DayCap]:
    """Every cap, by scope and subject."""
    rows = connection.execute(
        statement("SELECT scope, subject, unit, amount FROM day_caps ORDER BY scope, subject, unit")
    )
    return [_cap(row) for row in rows]


def caps_for(
    connection: Connection, *, account_id: int, request_scope: str, models: Collection[str]
) -> list[DayCap]:
    """The caps that a purchase of these models by that account, through that key, comes under.

    A key comes under the caps of the keys that made it too: else they would grow with each key that is made.
    """
    makers = _makers_of(connection, request_scope)
    rows = connection.execute(
        statement(
            "SELECT scope, subject, unit, amount FROM day_caps WHERE scope IN ('all', 'model', 'key')"
            " OR (scope = 'account' AND subject = (SELECT name FROM accounts WHERE id = :account_id))"
            " ORDER BY scope, subject, unit"
        ),
        {"account_id": account_id},
    )
    holding: dict[CapScope, Collection[str]] = {"model": models, "key": makers}
    caps = [cap for cap in map(_cap, rows) if cap.subject in holding.get(cap.scope, {cap.subject})]
    own = [DayCap("key", key_id, CREDITS, amount) for key_id, amount in makers.items() if amount is not None]
    return caps + own


def _makers_of(connection: Connection, request_scope: str) -> dict[str, int | None]:
    """The key of this scope and those that made it, each with the cap that its own account has set."""
    kind, _, key_id = request_scope.partition(":")
    if kind != "key" or not key_id.isdecimal():
        return {}
    rows = connection.execute(statement(_MAKERS_OF), {"key_id": int(key_id)})
    return {key_id: None, **{str(row.id): row.credits_per_day_max for row in rows}}


def _cap(row: Row[Any]) -> DayCap:
    return DayCap(row.scope, row.subject, row.unit, row.amount)


def spent_since(connection: Connection, cap: DayCap, since_ms: int) -> int:
    """What was reserved or settled of the cap's unit by tasks made since then; refunded ones cost nothing.

    Nor do credits that were given back; in money their videos count, and so does a failure that its provider
    charges for.
    """
    if cap.unit == CREDITS:
        amount, of_unit = f"CASE WHEN t.status = 'failed' THEN 0 ELSE {KEPT} END", ""
    else:
        amount = (
            "CASE WHEN t.status = 'failed' THEN COALESCE(t.actual_cost_micros, 0)"
            " ELSE COALESCE(t.actual_cost_micros, t.expected_cost_micros, 0) END"
        )
        of_unit = " AND t.cost_currency = :unit"
    found = connection.scalar(
        statement(
            f"SELECT CAST(COALESCE(SUM({amount}), 0) AS bigint) FROM video_tasks t{OF_TASKS}"
            f" WHERE t.created_at_ms >= :since{of_unit}{_OF_SCOPE[cap.scope]}"
        ),
        {"since": since_ms, "unit": cap.unit, "subject": cap.subject},
    )
    return int(found or 0)
