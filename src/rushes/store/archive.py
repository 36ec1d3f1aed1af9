"""Where the file of each success stands, and who is fetching it. See `domain.archive`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.archive import ArchiveState
from rushes.domain.task import TaskStatus
from rushes.store.acceptance import looks, manifests
from rushes.store.database import Rows, dictionaries, insert_rows, skip_locked, statement, unindexed
from rushes.store.outputs.due import DueRows
from rushes.store.tasks import FinishedTask, storable

REASON_CHARACTERS_MAX = 300

_DUE = Rows(
    task_id=int,
    account_id=int,
    state=str,
    next_attempt_at_ms=int,
    link_dies_at_ms=int,
    created_at_ms=int,
)
_IDS = Rows(id=int)


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file that this process fetches now. `attempts` counts this try, and guards what is recorded."""

    task_id: int
    account_id: int
    attempts: int
    bad_files: int
    link_dies_at_ms: int
    account: str
    provider: str
    url: str
    options: str
    batch_public_id: str
    item_index: int
    gate: str | None = None
    """The thresholds of its batch's gate, as JSON, while the clip waits for a verdict."""
    source_state: str | None = None
    source_key: str | None = None
    """Where the file stands that it is a copy of, and its name once stored; None of one that was bought."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file once it is stored; keys are names in the archive.

    `reason` says in what it is not what was asked for, if it is not; `look` is its perceptual hash,
    `manifest` what its C2PA manifest says (`state` none without one), None where that was not read.
    """

    video_key: str
    thumbnail_key: str | None
    poster_key: str | None
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration_ms: int | None
    reason: str | None = None
    look: str | None = None
    manifest: Mapping[str, Any] | None = None


# --- settling -------------------------------------------------------------------------------------------


def add_due(
    connection: Connection,
    finished: Sequence[FinishedTask],
    *,
    link_seconds: Mapping[str, float],
    now_ms: int,
) -> int:
    """The successes among these are to be fetched, at once. Part of the transaction that settles them.

    `link_seconds` says by provider how long a link lives; a provider that is not named counts as the
    shortest. Returns how many files there are to fetch.
    """
    shortest = min(link_seconds.values(), default=0.0)
    rows: list[tuple[object, ...]] = []
    for task in finished:
        if task.status is TaskStatus.SUCCEEDED:
            dies_at_ms = now_ms + int(link_seconds.get(task.provider, shortest) * 1000)
            rows.append((task.task_id, task.account_id, "due", now_ms, dies_at_ms, now_ms))
    if rows:
        insert_rows(connection, "archived_files", _DUE, rows)
    return len(rows)


# --- fetching -------------------------------------------------------------------------------------------


_TO_FETCH = DueRows("archived_files", "due", at="next_attempt_at_ms", tries="attempts")


def any_due(connection: Connection, now_ms: int) -> bool:
    """Whether a file is to be fetched now."""
    return _TO_FETCH.any(connection, now_ms)


def claim_if_due(
    connection: Connection, *, limit: int, now_ms: int, claimed_until_ms: int
) -> list[ClaimedFile]:
    """Take files to fetch; nobody else gets them before `claimed_until_ms`."""
    rows = _TO_FETCH.claim(connection, limit=limit, now_ms=now_ms, claimed_until_ms=claimed_until_ms)
    if not rows:
        return []
    found = connection.execute(
        statement(
            "SELECT f.task_id, f.account_id, f.attempts, f.bad_files, f.link_dies_at_ms, a.name AS account,"
            " COALESCE(o.provider, t.provider) AS provider, t.video_url AS url, t.options,"
            " b.public_id AS batch_public_id, t.item_index, g.thresholds AS gate, s.state AS source_state,"
            " CASE WHEN s.state = 'stored' AND t.erased_at_ms IS NULL THEN s.video_key END AS source_key"
            f" FROM {_IDS.sql(connection)} JOIN archived_files f ON f.task_id = v.id"
            " JOIN video_tasks t ON t.id = f.task_id JOIN batches b ON b.id = t.batch_id"
            " JOIN accounts a ON a.id = f.account_id LEFT JOIN clip_verdicts c ON c.task_id = f.task_id"
            " AND c.state = 'file' LEFT JOIN batch_gates g ON g.batch_id = c.batch_id"
            " LEFT JOIN reused_items r ON r.task_id = f.task_id"
            " LEFT JOIN video_tasks o ON o.id = r.source_task_id"
            " LEFT JOIN archived_files s ON s.task_id = r.source_task_id ORDER BY f.task_id"
        ),
        _IDS.parameters(connection, [(row[0],) for row in rows]),
    )
    return [ClaimedFile(**row._mapping) for row in found]


_BESIDE = ("look", "manifest")
"""What of a stored file stands in tables of its own."""

_CLAIMED = "task_id = :task_id AND state = 'due' AND attempts = :attempts"
"""The guard of everything that a fetch records: a claim that ran out and was taken again is another try."""


def renew_if_claimed(connection: Connection, claimed: ClaimedFile, *, until_ms: int) -> bool:
    """Nobody else gets the file before then; False when the claim was another's by now."""
    result = connection.execute(
        statement(f"UPDATE archived_files SET next_attempt_at_ms = :until WHERE {_CLAIMED}"),
        {"until": until_ms, "task_id": claimed.task_id, "attempts": claimed.attempts},
    )
    return result.rowcount == 1


def record_stored_if_claimed(
    connection: Connection, claimed: ClaimedFile, stored: StoredFile, *, now_ms: int
) -> bool:
    """The file is in the archive; False when the claim was another's by then."""
    result = connection.execute(
        statement(
            "UPDATE archived_files SET state = 'stored', reason = :reason, video_key = :video_key,"
            " thumbnail_key = :thumbnail_key, poster_key = :poster_key, bytes = :bytes, sha256 = :sha256,"
            " width = :width, height = :height, duration_ms = :duration_ms, stored_at_ms = :now"
            f" WHERE {_CLAIMED}"
        ),
        {
            **{name: getattr(stored, name) for name in StoredFile.__slots__ if name not in _BESIDE},
            "task_id": claimed.task_id,
            "attempts": claimed.attempts,
            "now": now_ms,
        },
    )
    if result.rowcount == 1 and stored.look is not None:
        looks.record(connection, claimed.task_id, stored.look)
    if result.rowcount == 1 and stored.manifest is not None:
        manifests.record(connection, claimed.task_id, stored.manifest)
    return result.rowcount == 1


def record_failure_if_claimed(
    connection: Connection,
    claimed: ClaimedFile,
    *,
    state: ArchiveState,
    reason: str,
    bad_files: int,
    next_attempt_at_ms: int,
) -> bool:
    """The try failed: still `due`, to be retried then, or `expired` or `refused` for good."""
    result = connection.execute(
        statement(
            "UPDATE archived_files SET state = :state, reason = :reason, bad_files = :bad_files,"
            f" next_attempt_at_ms = :next WHERE {_CLAIMED}"
        ),
        {
            "state": state.value,
            "reason": storable(reason)[:REASON_CHARACTERS_MAX],
            "bad_files": bad_files,
            "next": next_attempt_at_ms,
            "task_id": claimed.task_id,
            "attempts": claimed.attempts,
        },
    )
    return result.rowcount == 1


def alert_if_due(connection: Connection, *, before_ms: int, now_ms: int, limit: int) -> Sequence[Row[Any]]:
    """Files still due whose links die before then and that were not alerted yet: once each."""
    ids = connection.execute(
        statement(
            "WITH picked AS MATERIALIZED (SELECT task_id FROM archived_files WHERE state = 'due'"
            " AND link_dies_at_ms < :before AND alerted_at_ms IS NULL ORDER BY link_dies_at_ms"
            f" LIMIT :limit{skip_locked(connection)}) UPDATE archived_files SET alerted_at_ms = :now"
            " WHERE task_id IN (SELECT task_id FROM picked) RETURNING task_id"
        ),
        {"before": before_ms, "now": now_ms, "limit": limit},
    ).all()
    if not ids:
        return []
    return connection.execute(
        statement(
            "SELECT f.task_id, f.attempts, f.reason, f.link_dies_at_ms, b.public_id, t.item_index"
            f" FROM {_IDS.sql(connection)} JOIN archived_files f ON f.task_id = v.id"
            " JOIN video_tasks t ON t.id = f.task_id JOIN batches b ON b.id = t.batch_id ORDER BY f.task_id"
        ),
        _IDS.parameters(connection, [(row[0],) for row in ids]),
    ).all()


# --- reading --------------------------------------------------------------------------------------------


def files_of(connection: Connection, task_ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    """The rows of those tasks' files, by task; tasks that did not succeed have none."""
    rows = connection.execute(
        statement(f"SELECT f.* FROM {_IDS.sql(connection)} JOIN archived_files f ON f.task_id = v.id"),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    return {file["task_id"]: file for file in dictionaries(rows)}


def due_count(connection: Connection) -> int:
    """How many files are still to be fetched, further ones of a success included."""
    counted = "(SELECT COUNT(*) FROM archived_files WHERE state = 'due')"
    further = counted.replace("archived", "further")
    return int(connection.scalar(statement(f"SELECT {counted} + {further}")) or 0)


def files_of_batch(connection: Connection, batch_public_id: str) -> tuple[dict[str, int], str | None]:
    """The batch's files by state, further ones too, and why the last try of one that is still due failed."""
    counts, reason = {state.value: 0 for state in ArchiveState}, None
    for table in ("archived_files", "further_files"):
        rows = connection.execute(
            statement(
                "SELECT f.state, COUNT(*), MAX(f.reason) FROM batches b JOIN video_tasks t"
                f" ON t.batch_id = b.id JOIN {table} f ON f.task_id = t.id"
                " WHERE b.public_id = :public_id GROUP BY f.state"
            ),
            {"public_id": batch_public_id},
        )
        for state, count, why in rows.all():
            counts[state] += int(count)
            reason = why if state == ArchiveState.DUE.value else reason
    return counts, reason


def totals(connection: Connection) -> tuple[dict[str, int], int]:
    """All files by state, and the bytes that are stored. Looks at every file."""
    rows = connection.execute(
        statement(
            "SELECT state, COUNT(*), SUM(CASE WHEN state = 'stored' THEN bytes ELSE 0 END)"
            " FROM archived_files GROUP BY state"
        )
    ).all()
    files = {state.value: 0 for state in ArchiveState} | {row[0]: int(row[1]) for row in rows}
    return files, sum(int(row[2] or 0) for row in rows)


@dataclass(frozen=True, slots=True)
class DueFiles:
    """How many files are still due, how many of their links die soon, and when the oldest was settled."""

    count: int
    at_risk: int
    since_ms: int | None


def due_files(connection: Connection, *, dies_before_ms: int) -> DueFiles:
    """`at_risk` counts links that die before then. Looks at due files only."""
    row = connection.execute(
        statement(
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN link_dies_at_ms < :before THEN 1 ELSE 0 END), 0),"
            " MIN(created_at_ms) FROM archived_files WHERE state = 'due'"
        ),
        {"before": dies_before_ms},
    ).one()
    return DueFiles(int(row[0]), int(row[1]), None if row[2] is None else int(row[2]))


def stored_after(
    connection: Connection, task_id: int, *, limit: int, account: str | None = None
) -> list[Row[Any]]:
    """Stored files of tasks after that one, in the order of tasks; of all accounts or of one."""
    of_account = " JOIN accounts a ON a.id = f.account_id AND a.name = :account" if account else ""
    return list(
        connection.execute(
            statement(
                f"SELECT f.* FROM archived_files f{of_account}"
                " WHERE f.state = 'stored' AND f.task_id > :after ORDER BY f.task_id LIMIT :limit"
            ),
            {"after": task_id, "limit": limit, **({"account": account} if account else {})},
        )
    )


def troubles(connection: Connection, *, limit: int) -> list[Row[Any]]:
    """Why files are not stored: `(state, reason, count)`, the most frequent first."""
    return list(
        connection.execute(
            statement(
                "SELECT state, COALESCE(reason, '') AS reason, COUNT(*) AS count FROM archived_files"
                " WHERE state IN ('due', 'expired', 'refused') GROUP BY state, reason"
                " ORDER BY count DESC, state, reason LIMIT :limit"
            ),
            {"limit": limit},
        )
    )


# --- retention ------------------------------------------------------------------------------------------

_TO_BE_COPIED = (
    "(EXISTS (SELECT 1 FROM reused_items r WHERE r.source_task_id = {f}.task_id AND r.is_open = 1)"
    " OR EXISTS (SELECT 1 FROM reused_items r JOIN archived_files c ON c.task_id = r.task_id"
    " WHERE r.source_task_id = {f}.task_id AND c.state = 'due'))"
)
"""Another item takes the file: it stays until it has been copied."""

_DELETED = (
    "FROM deleted_videos d JOIN video_tasks t ON t.batch_id = d.batch_id AND t.item_index = d.item_index"
    " JOIN archived_files f ON f.task_id = t.id WHERE f.state = 'stored'"
    f" AND NOT {_TO_BE_COPIED.format(f='f')}"
)


def accounts_with_files(connection: Connection) -> list[tuple[int, str]]:
    """The accounts that may have stored files, each with its name."""
    rows = connection.execute(statement("SELECT id, name FROM accounts ORDER BY id"))
    return [(int(row[0]), str(row[1])) for row in rows]


def stored_before(connection: Connection, account_id: int, *, before_ms: int, limit: int) -> list[Row[Any]]:
    """The account's files that were stored before then, the oldest first."""
    return list(
        connection.execute(
            statement(
                "SELECT * FROM archived_files WHERE account_id = :account_id AND state = 'stored'"
                f" AND stored_at_ms < :before AND NOT {_TO_BE_COPIED.format(f='archived_files')}"
                " ORDER BY stored_at_ms LIMIT :limit"
            ),
            {"account_id": account_id, "before": before_ms, "limit": limit},
        )
    )


def stored_before_totals(connection: Connection, account_id: int, *, before_ms: int) -> tuple[int, int]:
    """How many such files there are, and their bytes."""
    row = connection.execute(
        statement(
            "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM archived_files WHERE account_id = :account_id"
            f" AND state = 'stored' AND stored_at_ms < :before AND NOT"
            f" {_TO_BE_COPIED.format(f='archived_files')}"
        ),
        {"account_id": account_id, "before": before_ms},
    ).one()
    return int(row[0]), int(row[1])


def stored_of_deleted(connection: Connection, *, limit: int) -> list[Row[Any]]:
    """Stored files whose videos were deleted. Looks at every deletion."""
    return list(
        connection.execute(
            statement(f"SELECT f.* {_DELETED} ORDER BY f.task_id LIMIT :limit"), {"limit": limit}
        )
    )


def stored_of_deleted_totals(connection: Connection) -> tuple[int, int]:
    """How many such files there are, and their bytes."""
    row = connection.execute(statement(f"SELECT COUNT(*), COALESCE(SUM(f.bytes), 0) {_DELETED}")).one()
    return int(row[0]), int(row[1])


def mark_removed_if_stored(connection: Connection, task_ids: Iterable[int]) -> list[int]:
    """Nobody is given them again; returns those that this call marked. Their objects are still there."""
    rows = connection.execute(
        statement(
            f"UPDATE archived_files SET state = 'removed' FROM {_IDS.sql(connection)}"
            f" WHERE archived_files.task_id = v.id"
            f" AND {unindexed(connection, 'archived_files.state')} = 'stored'"
            " RETURNING archived_files.task_id"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
    return [int(row[0]) for row in rows]


def removed_with_objects(connection: Connection, *, limit: int) -> list[Row[Any]]:
    """Files marked as removed whose objects may still be there: deleting them was interrupted."""
    return list(
        connection.execute(
            statement(
                "SELECT * FROM archived_files WHERE state = 'removed' AND video_key IS NOT NULL"
                " ORDER BY task_id LIMIT :limit"
            ),
            {"limit": limit},
        )
    )


def forget_objects(connection: Connection, task_ids: Iterable[int]) -> None:
    """Their objects are deleted."""
    connection.execute(
        statement(
            "UPDATE archived_files SET video_key = NULL, thumbnail_key = NULL, poster_key = NULL"
            f" FROM {_IDS.sql(connection)} WHERE archived_files.task_id = v.id"
            " AND archived_files.state = 'removed'"
        ),
        _IDS.parameters(connection, [(task_id,) for task_id in task_ids]),
    )
