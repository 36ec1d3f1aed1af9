"""Where each file stands that a success brought besides its video, and who is fetching it.

`tasks.ends` writes them, in the transaction that ends the task.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row

from rushes.domain.archive import ArchiveState
from rushes.store.database import Rows, statement
from rushes.store.outputs.due import DueRows
from rushes.store.tasks import storable

REASON_CHARACTERS_MAX = 300

FoundRows: TypeAlias = Sequence[Row[Any]]

_IDS = Rows(id=int)
_PLACES = Rows(task_id=int, position=int)


@dataclass(frozen=True, slots=True)
class ClaimedFurther:
    """A file that this process fetches now. `attempts` counts this try, and guards what is recorded."""

    task_id: int
    position: int
    attempts: int
    bad_files: int
    kind: str
    url: str
    created_at_ms: int
    provider: str
    account: str
    batch_public_id: str
    item_index: int


@dataclass(frozen=True, slots=True)
class StoredFurther:
    """What is known of such a file once it is stored."""

    object_key: str
    content_type: str
    bytes: int
    sha256: str


# --- fetching -------------------------------------------------------------------------------------------


_TO_FETCH = DueRows(
    "further_files", "due", at="next_attempt_at_ms", tries="attempts", key="task_id, position"
)


def any_due(connection: Connection, now_ms: int) -> bool:
    """Whether a file is to be fetched now."""
    return _TO_FETCH.any(connection, now_ms)


def claim_if_due(
    connection: Connection, *, limit: int, now_ms: int, claimed_until_ms: int
) -> list[ClaimedFurther]:
    """Take files to fetch; nobody else gets them before `claimed_until_ms`."""
    claimed = _TO_FETCH.claim(connection, limit=limit, now_ms=now_ms, claimed_until_ms=claimed_until_ms)
    if not claimed:
        return []
    rows = connection.execute(
        statement(
            "SELECT x.task_id, x.position, x.attempts, x.bad_files, x.kind, x.url, x.created_at_ms,"
            " t.provider, a.name AS account, b.public_id AS batch_public_id, t.item_index"
            f" FROM {_PLACES.sql(connection)} JOIN further_files x ON x.task_id = v.task_id"
            " AND x.position = v.position JOIN video_tasks t ON t.id = x.task_id"
            " JOIN batches b ON b.id = t.batch_id JOIN accounts a ON a.id = t.account_id"
            " ORDER BY x.task_id, x.position"
        ),
        _PLACES.parameters(connection, [(row.task_id, row.position) for row in claimed]),
    )
    return [ClaimedFurther(**row._mapping) for row in rows]


_CLAIMED = "task_id = :task_id AND position = :position AND state = 'due' AND attempts = :attempts"
"""The guard of what a fetch records: a claim that ran out and was taken again is another try."""


def record_stored_if_claimed(
    connection: Connection, claimed: ClaimedFurther, stored: StoredFurther, *, now_ms: int
) -> bool:
    """The file is in the archive; False when the claim was another's by then."""
    result = connection.execute(
        statement(
            "UPDATE further_files SET state = 'stored', reason = NULL, object_key = :object_key,"
            " content_type = :content_type, bytes = :bytes, sha256 = :sha256, stored_at_ms = :now"
            f" WHERE {_CLAIMED}"
        ),
        {
            **{name: getattr(stored, name) for name in StoredFurther.__slots__},
            **_guard(claimed),
            "now": now_ms,
        },
    )
    return result.rowcount == 1


def record_failure_if_claimed(
    connection: Connection,
    claimed: ClaimedFurther,
    *,
    state: ArchiveState,
    reason: str,
    bad_files: int,
    next_attempt_at_ms: int,
) -> bool:
    """The try failed: still `due`, to be retried then, or `expired` or `refused` for good."""
    result = connection.execute(
        statement(
            "UPDATE further_files SET state = :state, reason = :reason, bad_files = :bad_files,"
            f" next_attempt_at_ms = :next WHERE {_CLAIMED}"
        ),
        {
            "state": state.value,
            "reason": storable(reason)[:REASON_CHARACTERS_MAX],
            "bad_files": bad_files,
            "next": next_attempt_at_ms,
            **_guard(claimed),
        },
    )
    return result.rowcount == 1


def _guard(claimed: ClaimedFurther) -> dict[str, int]:
    return {"task_id": claimed.task_id, "position": claimed.position, "attempts": claimed.attempts}


# --- reading and removing -------------------------------------------------------------------------------


def of_tasks(connection: Connection, task_ids: Iterable[int]) -> dict[int, list[Mapping[str, Any]]]:
    """The rows of those tasks' further files, by task and in their order; most tasks have none."""
    rows = connection.execute(
        statement(
            f"SELECT x.* FROM {_IDS.sql(connection)} JOIN further_files x ON x.task_id = v.id"
            " ORDER BY x.task_id, x.position"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.task_id, []).append(dict(row._mapping))
    return found


def of_removed_videos(connection: Connection, *, limit: int) -> FoundRows:
    """Stored files whose videos were removed or deleted: they go with them."""
    return connection.execute(
        statement(
            "SELECT x.* FROM further_files x JOIN video_tasks t ON t.id = x.task_id"
            " LEFT JOIN archived_files f ON f.task_id = x.task_id LEFT JOIN deleted_videos d"
            " ON d.batch_id = t.batch_id AND d.item_index = t.item_index WHERE x.state = 'stored'"
            " AND (f.state = 'removed' OR d.batch_id IS NOT NULL) ORDER BY x.task_id LIMIT :limit"
        ),
        {"limit": limit},
    ).all()


def stored_before(connection: Connection, account_id: int, *, before_ms: int, limit: int) -> FoundRows:
    """The account's files that were stored before then, whose videos never were."""
    return connection.execute(
        statement(
            "SELECT x.* FROM further_files x JOIN video_tasks t ON t.id = x.task_id"
            " LEFT JOIN archived_files f ON f.task_id = x.task_id WHERE x.state = 'stored'"
            " AND t.account_id = :account_id AND x.stored_at_ms < :before"
            " AND (f.task_id IS NULL OR f.state IN ('expired', 'refused')) ORDER BY x.task_id LIMIT :limit"
        ),
        {"account_id": account_id, "before": before_ms, "limit": limit},
    ).all()


def mark_removed(connection: Connection, rows: FoundRows) -> None:
    """Their objects are deleted."""
    connection.execute(
        statement(
            f"UPDATE further_files SET state = 'removed', object_key = NULL FROM {_PLACES.sql(connection)}"
            " WHERE further_files.task_id = v.task_id AND further_files.position = v.position"
        ),
        _PLACES.parameters(connection, [(row.task_id, row.position) for row in rows]),
    )


def erase(connection: Connection, task_ids: Iterable[int]) -> None:
    """Their addresses go with the videos'; what is not stored yet is not fetched any more."""
    connection.execute(
        statement(
            "UPDATE further_files SET url = 'erased', state = CASE state WHEN 'due' THEN 'removed' ELSE state"
            f" END FROM {_IDS.sql(connection)} WHERE further_files.task_id = v.id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
