"""Last frames of clips for the items that start from them: which are due, and who waits for them.

A row is written by the transaction that ends a try while others wait for its item, and again when one of
those is retried. What follows from it is read from the rows as they are then, so nothing that happens in
between, or is done twice, can go wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.archive import ArchiveState
from rushes.domain.catalogue.media import LAST_FRAME
from rushes.domain.task import FailureType, TaskStatus
from rushes.store.database import Rows, for_update, skip_locked, statement
from rushes.store.tables.schema import LINKED
from rushes.store.tasks import Followed

_IDS = Rows(id=int)
_GIVEN = Rows(id=int, options=str, sent_options=str)

_IS_AWAITED = (
    "EXISTS (SELECT 1 FROM video_tasks w WHERE w.batch_id = t.batch_id AND w.follows_index = t.item_index"
    " AND w.status = 'pending' AND w.waits_for_frame = 1)"
)
"""In the words of the index of those that wait (`LINKED`)."""


@dataclass(frozen=True, slots=True)
class EndedTry:
    """A try that others wait for, with all that decides whether they get its frame."""

    task_id: int
    batch_id: int
    account_id: int
    account: str
    batch_public_id: str
    item_index: int
    custom_id: str
    attempts: int
    is_current: bool
    status: str
    error: str | None
    failure_type: str | None
    file_state: str | None
    video_key: str | None
    verdict: str | None
    verdict_reasons: str | None

    @property
    def broken(self) -> str | None:
        """Why nobody gets a frame of it, as the end of a sentence; None where it can be cut."""
        if self.status == TaskStatus.FAILED:
            cancelled = self.failure_type == FailureType.CANCELLED
            return "was cancelled" if cancelled else f"failed: {self.error}"
        if self.verdict == Verdict.REJECTED:
            return f"was rejected: {(self.verdict_reasons or '').replace(',', ', ')}"
        if self.verdict == Verdict.UNDECIDED:
            return "got no verdict"
        return None if self.file_state == ArchiveState.STORED else "has no stored video"


# --- when tries end and start -----------------------------------------------------------------------------


def expect(connection: Connection, task_ids: Iterable[int], *, now_ms: int) -> None:
    """Those of these ended tries that others wait for are due. Under the lock of their batches."""
    connection.execute(
        statement(
            "INSERT INTO last_frames (task_id, batch_id, state, next_look_at_ms, created_at_ms)"
            " SELECT t.id, t.batch_id, 'due', CAST(:now AS bigint), CAST(:now AS bigint)"
            f" FROM {_IDS.sql(connection)} JOIN video_tasks t ON t.id = v.id"
            f" WHERE t.is_current = 1 AND {_IS_AWAITED}"
            " ON CONFLICT (task_id) DO UPDATE SET state = 'due', next_look_at_ms = excluded.next_look_at_ms"
        ),
        {**_IDS.parameters(connection, [(task_id,) for task_id in task_ids]), "now": now_ms},
    )


def expect_for(connection: Connection, task_ids: Iterable[int], *, now_ms: int) -> None:
    """The same for the ended tries that these new ones wait for."""
    before = connection.scalars(
        statement(
            f"SELECT DISTINCT t.id FROM {_IDS.sql(connection)} JOIN video_tasks n ON n.id = v.id"
            " JOIN video_tasks t ON t.batch_id = n.batch_id AND t.item_index = n.follows_index"
            " AND t.is_current = 1 WHERE n.waits_for_frame = 1 AND t.status IN ('succeeded', 'failed')"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    ).all()
    if before:
        expect(connection, before, now_ms=now_ms)


def failed_before(connection: Connection, task_ids: Iterable[int]) -> dict[int, Followed]:
    """Of those of these tasks that have no frame yet: the item that they wait for, where that has failed."""
    rows = connection.execute(
        statement(
            "SELECT n.item_index, n.follows_index, n.follows_custom_id"
            f" FROM {_IDS.sql(connection)} JOIN video_tasks n ON n.id = v.id"
            " JOIN video_tasks t ON t.batch_id = n.batch_id AND t.item_index = n.follows_index"
            " AND t.is_current = 1 WHERE n.waits_for_frame = 1 AND t.status = 'failed'"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    return {row.item_index: Followed(row.follows_index, row.follows_custom_id) for row in rows}


# --- what is due ------------------------------------------------------------------------------------------

# nobody looks at a try whose file or verdict is still to come; what has no row here will have no file
_READY = (
    "f.state = 'due' AND f.next_look_at_ms <= :now AND (t.status = 'failed' OR t.is_current = 0"
    " OR ((x.task_id IS NULL OR x.state <> 'due') AND (c.task_id IS NULL OR c.state = 'decided')))"
)
_WITH_FACTS = (
    "FROM last_frames f JOIN video_tasks t ON t.id = f.task_id LEFT JOIN archived_files x"
    " ON x.task_id = t.id LEFT JOIN clip_verdicts c ON c.task_id = t.id"
)


def any_ready(connection: Connection, now_ms: int) -> bool:
    """Whether there is a try of which that can be decided now."""
    found = connection.scalar(statement(f"SELECT 1 {_WITH_FACTS} WHERE {_READY} LIMIT 1"), {"now": now_ms})
    return found is not None


def claim_if_ready(
    connection: Connection, *, limit: int, now_ms: int, claimed_until_ms: int
) -> list[EndedTry]:
    """Take some of them; nobody else gets them before `claimed_until_ms`."""
    ready = connection.scalars(
        statement(f"SELECT f.task_id {_WITH_FACTS} WHERE {_READY} ORDER BY f.next_look_at_ms LIMIT :limit"),
        {"now": now_ms, "limit": limit},
    ).all()
    taken = connection.scalars(
        statement(
            "WITH picked AS MATERIALIZED (SELECT task_id FROM last_frames WHERE state = 'due'"
            f" AND next_look_at_ms <= :now AND task_id IN (SELECT v.id FROM {_IDS.sql(connection)})"
            f" ORDER BY task_id{skip_locked(connection)})"
            " UPDATE last_frames SET next_look_at_ms = :until, attempts = attempts + 1"
            " WHERE task_id IN (SELECT task_id FROM picked) RETURNING task_id"
        ),
        {
            **_IDS.parameters(connection, [(task_id,) for task_id in ready]),
            "now": now_ms,
            "until": claimed_until_ms,
        },
    ).all()
    return _ended(connection, taken)


def still_due(connection: Connection, task_id: int) -> EndedTry | None:
    """The try as it is now; None when it is decided."""
    found = connection.scalar(
        statement("SELECT 1 FROM last_frames WHERE task_id = :id AND state = 'due'"), {"id": task_id}
    )
    return None if found is None else _ended(connection, [task_id])[0]


def _ended(connection: Connection, task_ids: Iterable[int]) -> list[EndedTry]:
    rows = connection.execute(
        statement(
            "SELECT t.id AS task_id, t.batch_id, t.account_id, a.name AS account,"
            " b.public_id AS batch_public_id, t.item_index, t.custom_id, f.attempts, t.is_current, t.status,"
            " t.error, t.failure_type, x.state AS file_state, x.video_key, c.verdict,"
            f" c.reasons AS verdict_reasons {_WITH_FACTS} JOIN batches b ON b.id = t.batch_id"
            f" JOIN accounts a ON a.id = t.account_id, {_IDS.sql(connection)} WHERE f.task_id = v.id"
            " ORDER BY t.id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    return [EndedTry(**(dict(row._mapping) | {"is_current": bool(row.is_current)})) for row in rows]


def close(connection: Connection, task_id: int, state: str, *, upload_id: str | None = None) -> None:
    """It is decided: `given`, `missing`, or `replaced` by another try of its item.

    Unless one that waits has come meanwhile: then it stays due.
    """
    is_current = "SELECT 1 FROM video_tasks t WHERE t.id = :id AND t.is_current = 1"
    connection.execute(
        statement(
            "UPDATE last_frames SET state = :state, upload_id = COALESCE(:upload_id, upload_id)"
            f" WHERE task_id = :id AND state = 'due' AND NOT EXISTS ({is_current} AND {_IS_AWAITED})"
        ),
        {"id": task_id, "state": state, "upload_id": upload_id},
    )


def look_again(connection: Connection, task_id: int, *, at_ms: int) -> None:
    """Nothing could be decided; try again then."""
    connection.execute(
        statement("UPDATE last_frames SET next_look_at_ms = :at WHERE task_id = :id AND state = 'due'"),
        {"id": task_id, "at": at_ms},
    )


# --- who waits --------------------------------------------------------------------------------------------


def give_if_waiting(connection: Connection, batch_id: int, item_index: int, upload_id: str) -> list[int]:
    """The tasks that wait for the item's last frame have it from now on, and may be claimed; their ids."""
    rows = connection.execute(
        statement(
            f"SELECT id, options, sent_options FROM video_tasks WHERE batch_id = :batch_id"
            f" AND follows_index = :item_index AND {LINKED} ORDER BY id{for_update(connection)}"
        ),
        {"batch_id": batch_id, "item_index": item_index},
    ).all()
    if not rows:
        return []
    changed = [(row.id, _with(row.options, upload_id), _with(row.sent_options, upload_id)) for row in rows]
    connection.execute(
        statement(
            "UPDATE video_tasks SET options = v.options, sent_options = v.sent_options, waits_for_frame = 0"
            f" FROM {_GIVEN.sql(connection)} WHERE video_tasks.id = v.id"
        ),
        _GIVEN.parameters(connection, changed),
    )
    return [row.id for row in rows]


def _with(options: str | None, upload_id: str) -> str | None:
    """The options (JSON) with the upload in the place of the last frame."""
    if options is None:
        return None
    given: dict[str, Any] = {
        name: upload_id if isinstance(value, str) and LAST_FRAME.fullmatch(value) else value
        for name, value in msgspec.json.decode(options).items()
    }
    return msgspec.json.encode(given).decode()


def lock_tail(connection: Connection, batch_id: int, item_index: int) -> Sequence[int]:
    """The tasks that wait for this item's last frame, or for theirs, and so on; locked, in their order."""
    return connection.scalars(
        statement(
            "WITH RECURSIVE tail(item_index) AS (SELECT CAST(:item_index AS bigint) UNION"
            " SELECT t.item_index FROM tail, video_tasks t WHERE t.batch_id = :batch_id"
            f" AND t.follows_index = tail.item_index AND {LINKED})"
            " SELECT id FROM video_tasks WHERE batch_id = :batch_id AND follows_index IN"
            f" (SELECT item_index FROM tail) AND {LINKED} ORDER BY id{for_update(connection)}"
        ),
        {"batch_id": batch_id, "item_index": item_index},
    ).all()
