"""Batches that say what an acceptable clip is, and how many clips an item may buy for one."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import Thresholds, thresholds_of
from rushes.store.acceptance.choices import decode_rule, encode_rule
from rushes.store.database import Rows, statement

_IDS = Rows(id=int)


def ask_for(connection: Connection, batch_id: int, asked: Acceptance) -> None:
    """Each success of this new batch gets a verdict; nothing for a batch without a gate."""
    if asked.gate is None:
        return
    best_of = asked.best_of
    connection.execute(
        statement(
            "INSERT INTO batch_gates (batch_id, thresholds, has_judge, clips_max, credits_max, auto)"
            " VALUES (:batch_id, :thresholds, :has_judge, :clips_max, :credits_max, :auto)"
        ),
        {
            "batch_id": batch_id,
            "thresholds": msgspec.json.encode(asked.gate.as_dict()).decode(),
            "has_judge": int(asked.gate.judge is True),
            "clips_max": None if best_of is None else best_of.clips_max,
            "credits_max": None if best_of is None else best_of.credits_max,
            "auto": None if asked.auto is None else encode_rule(asked.auto),
        },
    )


def of_batch(connection: Connection, batch_id: int) -> Acceptance:
    """What the batch asked of its clips."""
    row = connection.execute(
        statement("SELECT * FROM batch_gates WHERE batch_id = :batch_id"), {"batch_id": batch_id}
    ).first()
    if row is None:
        return Acceptance()
    auto = None if row.auto is None else decode_rule(row.auto)
    return Acceptance(thresholds_in(row.thresholds), _best_of(row), auto)


def thresholds_in(text: str) -> Thresholds:
    """The thresholds of a gate as they are stored."""
    return thresholds_of(msgspec.json.decode(text))


def _best_of(row: "Row[tuple[object, ...]]") -> BestOf | None:
    return None if row.clips_max is None else BestOf(row.clips_max, row.credits_max)


def buying(connection: Connection, batch_ids: Iterable[int]) -> dict[int, BestOf]:
    """Those of these batches whose items buy another clip when one is rejected."""
    rows = connection.execute(
        statement(
            f"SELECT g.batch_id, g.clips_max, g.credits_max FROM {_IDS.sql(connection)}"
            " JOIN batch_gates g ON g.batch_id = v.id WHERE g.clips_max IS NOT NULL"
        ),
        _IDS.parameters(connection, [(batch_id,) for batch_id in sorted(set(batch_ids))]),
    )
    return {row.batch_id: BestOf(row.clips_max, row.credits_max) for row in rows}


def awaits_verdicts(connection: Connection, batch_id: int) -> bool:
    """Whether the batch stays open: a verdict that may buy another clip is still to come."""
    found = connection.scalar(
        statement(
            "SELECT 1 FROM batch_gates g JOIN clip_verdicts c ON c.batch_id = g.batch_id"
            " WHERE g.batch_id = :batch_id AND g.clips_max IS NOT NULL AND c.state <> 'decided' LIMIT 1"
        ),
        {"batch_id": batch_id},
    )
    return found is not None
