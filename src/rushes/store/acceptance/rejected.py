"""Tasks whose clips were decided, for what follows from it: another clip, and the end of their batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from rushes.store.database import Rows, for_update, statement
from rushes.store.reuse.sources import PRICE
from rushes.store.tasks.retries import REROLLS_OF_TASK

_IDS = Rows(id=int)

_MAY_FOLLOW = (
    "t.is_current = 1 AND b.cancelled_at_ms IS NULL AND t.erased_at_ms IS NULL"
    " AND (t.deadline_at_ms IS NULL OR t.deadline_at_ms > :now)"
    " AND NOT EXISTS (SELECT 1 FROM deleted_videos d WHERE d.batch_id = t.batch_id"
    " AND d.item_index = t.item_index)"
)
"""Whether the item of task `t` of batch `b` may have another try."""


def batches_of(connection: Connection, task_ids: Iterable[int]) -> set[tuple[int, int]]:
    """`(account_id, batch_id)` of those tasks whose batches buy another clip when one is rejected."""
    rows = connection.execute(
        statement(
            f"SELECT DISTINCT t.account_id, t.batch_id FROM {_IDS.sql(connection)}"
            " JOIN video_tasks t ON t.id = v.id JOIN batch_gates g ON g.batch_id = t.batch_id"
            " WHERE g.clips_max IS NOT NULL"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    return {(row[0], row[1]) for row in rows}


def lock_replaceable(connection: Connection, task_ids: Iterable[int], *, now_ms: int) -> Sequence[Row[Any]]:
    """Those of the tasks that are their items' newest, were rejected, and may be followed by another; locked.

    By batch and item, with what a next try needs: `clips` is how many the item has bought, `spent` what they
    cost together.
    """
    parameters = _IDS.parameters(connection, [(task_id,) for task_id in sorted(set(task_ids))])
    locked = connection.execute(
        statement(
            "SELECT t.id FROM video_tasks t WHERE t.is_current = 1 AND t.status = 'succeeded'"
            f" AND t.id IN (SELECT v.id FROM {_IDS.sql(connection)}) ORDER BY t.id{for_update(connection)}"
        ),
        parameters,
    ).all()
    of_item = "p.batch_id = t.batch_id AND p.item_index = t.item_index AND p.status = 'succeeded'"
    return connection.execute(
        statement(
            f"SELECT t.id, t.batch_id, t.item_index, t.retry_number, {PRICE.format(t='t')} AS credits,"
            " t.model, t.alias, t.choice, t.options, c.reasons,"
            f" (SELECT COUNT(*) FROM video_tasks p WHERE {of_item}) AS clips,"
            f" (SELECT SUM(p.credits) FROM video_tasks p WHERE {of_item}) AS spent"
            f" FROM {_IDS.sql(connection)} JOIN video_tasks t ON t.id = v.id"
            " JOIN clip_verdicts c ON c.task_id = t.id AND c.state = 'decided' AND c.verdict = 'rejected'"
            " JOIN batches b ON b.id = t.batch_id JOIN batch_gates g ON g.batch_id = b.id"
            f" WHERE g.clips_max IS NOT NULL AND {_MAY_FOLLOW} ORDER BY t.batch_id, t.item_index"
        ),
        {**_IDS.parameters(connection, [(row[0],) for row in locked]), "now": now_ms},
    ).all()


@dataclass(frozen=True, slots=True)
class SucceededTask:
    """A success whose file is bad. `may_follow`: its item may have another try, which `row` is for: `id,
    credits, model, alias, choice, options`. `rerolls` is how many re-rolls the item has used.
    """

    id: int
    account_id: int
    batch_id: int
    public_id: str
    item_index: int
    completed_at_ms: int
    rerolls: int
    may_follow: bool
    row: Row[Any]

    @property
    def item_id(self) -> str:
        """As everybody names it."""
        return f"{self.public_id}-{self.item_index}"


def lock_succeeded(connection: Connection, task_ids: Iterable[int], *, now_ms: int) -> list[SucceededTask]:
    """Those of the tasks that succeeded, locked, in their order.

    Nothing follows a task that is not its item's newest, or whose batch was cancelled, whose deadline has
    passed, or whose video was deleted or erased.
    """
    parameters = _IDS.parameters(connection, [(task_id,) for task_id in sorted(set(task_ids))])
    connection.execute(
        statement(
            "SELECT t.id FROM video_tasks t WHERE t.status = 'succeeded'"
            f" AND t.id IN (SELECT v.id FROM {_IDS.sql(connection)}) ORDER BY t.id{for_update(connection)}"
        ),
        parameters,
    ).all()
    rows = connection.execute(
        statement(
            "SELECT t.id, t.account_id, t.batch_id, t.item_index, t.completed_at_ms,"
            f" {PRICE.format(t='t')} AS credits, {REROLLS_OF_TASK} AS rerolls,"
            " t.model, t.alias, t.choice, t.options, b.public_id,"
            f" CASE WHEN {_MAY_FOLLOW} THEN 1 ELSE 0 END AS may_follow"
            f" FROM {_IDS.sql(connection)} JOIN video_tasks t ON t.id = v.id"
            " JOIN batches b ON b.id = t.batch_id WHERE t.status = 'succeeded' ORDER BY t.id"
        ),
        {**parameters, "now": now_ms},
    ).all()
    return [
        SucceededTask(
            row.id,
            row.account_id,
            row.batch_id,
            row.public_id,
            row.item_index,
            row.completed_at_ms,
            row.rerolls,
            bool(row.may_follow),
            row,
        )
        for row in rows
    ]
