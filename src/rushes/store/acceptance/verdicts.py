"""The verdict on each success of a batch with a gate: due with its file, decided once by the gate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from rushes.domain.acceptance.gate import Measures
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.task import TaskStatus
from rushes.store.database import Rows, skip_locked, statement
from rushes.store.tasks import FinishedTask

GATE = "gate"
PERSON = "person"

_FINISHED = Rows(task_id=int, batch_id=int)
_IDS = Rows(id=int)
_INDEXES = Rows(item_index=int)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decides about a clip; `measures` is None where nothing was measured."""

    verdict: Verdict
    reasons: Sequence[str]
    measures: Measures | None = None


def expect(connection: Connection, finished: Sequence[FinishedTask], *, now_ms: int) -> None:
    """The successes among these whose batches have a gate get a verdict. Part of the transaction that
    settles them.
    """
    rows = [(task.task_id, task.batch_id) for task in finished if task.status is TaskStatus.SUCCEEDED]
    if rows:
        connection.execute(
            statement(
                "INSERT INTO clip_verdicts (task_id, batch_id, state, created_at_ms)"
                " SELECT v.task_id, g.batch_id, 'file', CAST(:now AS bigint)"
                f" FROM {_FINISHED.sql(connection)} JOIN batch_gates g ON g.batch_id = v.batch_id"
            ),
            {**_FINISHED.parameters(connection, rows), "now": now_ms},
        )


def decide_if_measured(connection: Connection, task_id: int, decision: Decision, *, now_ms: int) -> bool:
    """The gate's verdict on a clip that waits for it; False for any other.

    Where the batch has a judge, what the gate lets through waits for that one's verdict from now on: False.
    """
    measures = None if decision.measures is None else decision.measures.as_dict()
    if decision.verdict is Verdict.ACCEPTED and _waits_for_judge(connection, task_id, measures, now_ms):
        return False
    result = connection.execute(
        statement(
            "UPDATE clip_verdicts SET state = 'decided', verdict = :verdict, reasons = :reasons,"
            " decided_by = :judge, measures = :measures, decided_at_ms = :now"
            " WHERE task_id = :task_id AND state = 'file'"
        ),
        {
            "task_id": task_id,
            "verdict": decision.verdict.value,
            "reasons": ",".join(decision.reasons),
            "judge": GATE,
            "measures": None if measures is None else msgspec.json.encode(measures).decode(),
            "now": now_ms,
        },
    )
    return result.rowcount == 1


def decide_by_person_if_unjudged(
    connection: Connection,
    batch_id: int,
    item_indexes: Sequence[int],
    verdict: Verdict,
    *,
    person: str,
    now_ms: int,
) -> list[int]:
    """A person's verdict on the successes among these items that no person has judged before; their tasks.

    It stands before what the gate or a hook said. What follows from it is the caller's: `money.rebuy`.
    """
    asked = [(index,) for index in dict.fromkeys(item_indexes)]
    if not asked:
        return []
    said = {"verdict": verdict.value, "reasons": PERSON, "now": now_ms}
    rows = connection.execute(
        statement(
            "INSERT INTO clip_judgements (task_id, judge, verdict, reasons, judged_at_ms)"
            " SELECT t.id, :person, :verdict, :reasons, CAST(:now AS bigint)"
            " FROM video_tasks t WHERE t.batch_id = :batch_id AND t.is_current = 1"
            f" AND t.status = 'succeeded' AND {_INDEXES.among(connection, 't.item_index')}"
            " ON CONFLICT (task_id, judge) DO NOTHING RETURNING task_id"
        ),
        {**_INDEXES.parameters(connection, asked), **said, "batch_id": batch_id, "person": PERSON},
    ).all()
    judged = sorted(int(row[0]) for row in rows)
    if judged:
        stand_first(connection, batch_id, judged, verdict, [PERSON], person=person, now_ms=now_ms)
    return judged


def stand_first(
    connection: Connection,
    batch_id: int,
    task_ids: Sequence[int],
    verdict: Verdict,
    reasons: Sequence[str],
    *,
    score_ppm: int | None = None,
    person: str,
    now_ms: int,
) -> None:
    """A person's verdict on these tasks' clips takes the place of what the gate or a hook said."""
    connection.execute(
        statement(
            "INSERT INTO clip_verdicts (task_id, batch_id, state, verdict, reasons, score_ppm, decided_by,"
            " created_at_ms, decided_at_ms) SELECT v.id, CAST(:batch_id AS bigint), 'decided', :verdict,"
            " :reasons, CAST(:score AS bigint), :judge, CAST(:now AS bigint), CAST(:now AS bigint)"
            f" FROM {_IDS.sql(connection)} WHERE 1 = 1"
            " ON CONFLICT (task_id) DO UPDATE SET state = 'decided', verdict = excluded.verdict,"
            " reasons = excluded.reasons, score_ppm = excluded.score_ppm, decided_by = excluded.decided_by,"
            " decided_at_ms = excluded.decided_at_ms"
        ),
        {
            **_IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
            "batch_id": batch_id,
            "verdict": verdict.value,
            "reasons": ",".join(reasons),
            "score": score_ppm,
            "judge": f"{PERSON}:{person}" if person else PERSON,
            "now": now_ms,
        },
    )


def _waits_for_judge(
    connection: Connection, task_id: int, measures: Mapping[str, Any] | None, now_ms: int
) -> bool:
    result = connection.execute(
        statement(
            "UPDATE clip_verdicts SET state = 'judge', measures = :measures, next_ask_at_ms = :now"
            " WHERE task_id = :task_id AND state = 'file' AND EXISTS (SELECT 1 FROM batch_gates g"
            " WHERE g.batch_id = clip_verdicts.batch_id AND g.has_judge = 1)"
        ),
        {
            "task_id": task_id,
            "measures": None if measures is None else msgspec.json.encode(measures).decode(),
            "now": now_ms,
        },
    )
    return result.rowcount == 1


def give_up_if_open(connection: Connection, *, before_ms: int, now_ms: int, limit: int) -> list[int]:
    """Clips that have waited for a verdict since before then get none; their tasks."""
    rows = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT task_id FROM clip_verdicts WHERE state <> 'decided'"
            f" AND created_at_ms < :before ORDER BY created_at_ms LIMIT :limit{skip_locked(connection)})"
            " UPDATE clip_verdicts SET state = 'decided', verdict = 'undecided', decided_at_ms = :now,"
            " reasons = CASE WHEN state = 'judge' THEN 'judge:unreachable' ELSE 'no_file' END,"
            " decided_by = 'gate' WHERE task_id IN (SELECT task_id FROM picked) AND state <> 'decided'"
            " RETURNING task_id"
        ),
        {"before": before_ms, "now": now_ms, "limit": limit},
    )
    return sorted(int(row[0]) for row in rows)


# --- reading --------------------------------------------------------------------------------------------


def of_tasks(connection: Connection, task_ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    """The rows of those tasks' verdicts, by task; tasks of batches without a gate have none."""
    ids = [(task_id,) for task_id in task_ids]
    if not ids:
        return {}
    rows = connection.execute(
        statement(f"SELECT c.* FROM {_IDS.sql(connection)} JOIN clip_verdicts c ON c.task_id = v.id"),
        _IDS.parameters(connection, ids),
    )
    return {row.task_id: dict(row._mapping) for row in rows}


def counts_of_batch(connection: Connection, batch_public_id: str) -> dict[str, int]:
    """The verdicts on the newest successes of a batch's items, and `open` for those still to come.

    Empty for a batch without a gate.
    """
    rows = connection.execute(
        statement(
            "SELECT COALESCE(c.verdict, 'open'), COUNT(c.task_id) FROM batches b"
            " JOIN batch_gates g ON g.batch_id = b.id"
            " LEFT JOIN (SELECT c.*, t.is_current FROM clip_verdicts c JOIN video_tasks t ON t.id = c.task_id"
            " WHERE t.is_current = 1) c ON c.batch_id = b.id"
            " WHERE b.public_id = :public_id GROUP BY 1"
        ),
        {"public_id": batch_public_id},
    ).all()
    if not rows:
        return {}
    names = (*Verdict, "open")
    return {str(name): 0 for name in names} | {row[0]: int(row[1]) for row in rows}
