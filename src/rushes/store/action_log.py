"""What operators did: one row for each act, written in the transaction that did it. Triggers keep them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from rushes.store.tables import schema


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from where: `cli:alice` on a machine, say."""

    operator: str
    place: str


def record(
    connection: Connection,
    actor: Actor,
    action: str,
    subject: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    now_ms: int,
) -> None:
    """Write down an act, such as `key.revoke` of `key 7`. Never pass a secret."""
    connection.execute(
        insert(schema.action_log).values(
            at_ms=now_ms,
            operator=actor.operator,
            place=actor.place,
            action=action,
            subject=subject,
            before=_encoded(before),
            after=_encoded(after),
        )
    )


def newest(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """The last acts, the newest first, with `before` and `after` decoded."""
    table = schema.action_log
    rows = connection.execute(select(table).order_by(table.c.id.desc()).limit(limit))
    return [{**row._mapping, "before": _decoded(row.before), "after": _decoded(row.after)} for row in rows]


def _encoded(facts: Mapping[str, Any] | None) -> str | None:
    return None if facts is None else json.dumps(facts, sort_keys=True)


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
