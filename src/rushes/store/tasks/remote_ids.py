"""Whose is a remote id? Each belongs to one attempt for good: `remote_ids` has one narrow row for it.

An id is what one service calls a task: it is distinguished by the provider's name, the host that the task was
sent to, and the id. (The services of two hosts under one name may both count from 1, and answers are mixed up
at one host.) The table's primary key is 8 bytes of a hash of the three, as an index of the columns themselves
costs much more; see `docs/performance.md`. Ids of the same 8 bytes are distinguished by
the rows that have them.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from rushes.domain.task import ID_OF_ANOTHER_ATTEMPT
from rushes.store.database import Rows, statement


class NamedAttempt(NamedTuple):
    """An attempt and the remote id that its provider gave it."""

    task_id: int
    attempt: int
    provider: str
    host: str | None
    remote_task_id: str

    @property
    def key(self) -> int:
        """The 8 bytes, as a signed integer, that stand for the id."""
        return key_of(self.provider, self.host, self.remote_task_id)


def key_of(provider: str, host: str | None, remote_task_id: str) -> int:
    """Eight bytes of the hash of an id, as a signed integer. No name and no host has a NUL in it."""
    words = "\0".join((provider, host or "", remote_task_id))
    digest = hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


_TAKEN = Rows(key=int, task_id=int, attempt=int)
_KEYS = Rows(key=int)
_ATTEMPTS = Rows(task_id=int, attempt=int)
_CONTESTED = Rows(task_id=int, attempt=int, remote_task_id=str)


def take_if_free(connection: Connection, named: Sequence[NamedAttempt]) -> list[NamedAttempt]:
    """Give each id to its attempt, in this order; returns those whose id another attempt has.

    An id that is the attempt's already stays so. Keys are inserted in their own order, in which all wait.
    """
    if not named:
        return []
    keys = [attempt.key for attempt in named]
    rows = [
        (key, attempt.task_id, attempt.attempt)
        for key, attempt in sorted(zip(keys, named, strict=True), key=lambda pair: pair[0])
    ]
    taken = connection.execute(
        statement(
            "INSERT INTO remote_ids (key, task_id, attempt) SELECT v.key, v.task_id, v.attempt"
            f" FROM {_TAKEN.sql(connection)} WHERE 1 = 1 ON CONFLICT (key) DO NOTHING"
        ),
        _TAKEN.parameters(connection, rows),
    )
    if taken.rowcount == len(rows):
        return []
    holders = _holders(connection, keys)
    return [
        attempt
        for key, attempt in zip(keys, named, strict=True)
        if (holder := holders.get(key)) is not None
        and holder[:2] != attempt[:2]
        and holder[2:] == (attempt.provider, attempt.host or "", attempt.remote_task_id)
    ]


def holder_of(
    connection: Connection, provider: str, host: str | None, remote_task_id: str
) -> tuple[int, int] | None:
    """`(task_id, attempt)` of the attempt, past or present, that has this id; None if no attempt has."""
    key = key_of(provider, host, remote_task_id)
    found = _holders(connection, [key]).get(key)
    if found is None or found[2:] != (provider, host or "", remote_task_id):
        return None
    return found[:2]


def _holders(connection: Connection, keys: Sequence[int]) -> dict[int, tuple[int, int, str, str, str | None]]:
    """By key, the attempt that has it: its task and number, and the provider, host and id that it carries."""
    rows = connection.execute(
        statement(
            "SELECT r.key, r.task_id, r.attempt, COALESCE(n.provider, t.provider) AS provider,"
            " CASE WHEN n.task_id IS NULL THEN t.host ELSE n.host END AS host,"
            " CASE WHEN n.task_id IS NULL THEN t.remote_task_id ELSE n.remote_task_id END AS remote_task_id"
            f" FROM {_KEYS.sql(connection)} JOIN remote_ids r ON r.key = v.key"
            " JOIN video_tasks t ON t.id = r.task_id LEFT JOIN task_attempts n"
            " ON n.task_id = r.task_id AND n.attempt = r.attempt"
        ),
        _KEYS.parameters(connection, [(key,) for key in set(keys)]),
    )
    return {row[0]: (row[1], row[2], row[3], row[4] or "", row[5]) for row in rows}


def move(connection: Connection, held: NamedAttempt, *, to_task_id: int, to_attempt: int) -> None:
    """Give an attempt's id to another one, which follows the same remote task from now on."""
    connection.execute(
        statement(
            "UPDATE remote_ids SET task_id = :to_task_id, attempt = :to_attempt"
            " WHERE key = :key AND task_id = :task_id AND attempt = :attempt"
        ),
        {
            "to_task_id": to_task_id,
            "to_attempt": to_attempt,
            "key": held.key,
            "task_id": held.task_id,
            "attempt": held.attempt,
        },
    )


def unname(connection: Connection, contested: Sequence[NamedAttempt], *, now_ms: int) -> None:
    """Take back ids that this transaction has just stored but that others have: the attempts are unconfirmed.

    What they were called is kept in `contested_remote_ids`, for the audit.
    """
    source = _ATTEMPTS.sql(connection)
    connection.execute(
        statement(
            "UPDATE video_tasks SET remote_task_id = NULL, unconfirmed_at_ms = :now, trouble_kind = :kind,"
            " trouble_reason = :reason, trouble_count = 1, trouble_since_ms = :now, trouble_at_ms = :now"
            f" FROM {source}"
            " WHERE video_tasks.id = v.task_id AND +video_tasks.attempt = v.attempt"
        ),
        {
            **_ATTEMPTS.parameters(connection, [attempt[:2] for attempt in contested]),
            "now": now_ms,
            "kind": "another_task",
            "reason": ID_OF_ANOTHER_ATTEMPT,
        },
    )
    note_contested(
        connection, [(attempt[0], attempt[1], attempt.remote_task_id) for attempt in contested], now_ms=now_ms
    )


def note_contested(connection: Connection, rows: Sequence[tuple[int, int, str]], *, now_ms: int) -> None:
    """Keep the ids that these `(task_id, attempt, remote_task_id)` were given and do not carry."""
    connection.execute(
        statement(
            "INSERT INTO contested_remote_ids (task_id, attempt, remote_task_id, created_at_ms)"
            " SELECT v.task_id, v.attempt, v.remote_task_id, CAST(:now AS bigint)"
            f" FROM {_CONTESTED.sql(connection)} WHERE 1 = 1"
            " ON CONFLICT (task_id, attempt, remote_task_id) DO NOTHING"
        ),
        {**_CONTESTED.parameters(connection, rows), "now": now_ms},
    )
