"""Workers and their leases. A task in flight names its worker; a worker whose lease ran out loses them.

Leases go by the clock that `lease_time` names: on PostgreSQL the database's own, which is the same for all
machines (docs/decisions/0004), on SQLite this machine's, which is `now_ms`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection

from rushes.domain.errors import RushesError
from rushes.domain.trouble import Trouble, TroubleRow, kind_of
from rushes.store.database import (
    Rows,
    for_share,
    for_update,
    lease_time,
    lock_number,
    rows_at_once,
    skip_locked,
    statement,
)
from rushes.store.tasks import (
    OwnedTask,
    hand_over_if_owned,
    mark_unconfirmed_if_owned,
    owned_task_from_row,
    record_troubles_if_owned,
    wait_for_own_transactions,
)
from rushes.store.tasks.guards import ATTEMPTS

_OWNED_COLUMNS = (
    "id, attempt, provider, model, remote_task_id, progress, dispatched_at_ms, unconfirmed_at_ms,"
    " host, trouble_kind, trouble_reason, trouble_count, trouble_since_ms, trouble_at_ms"
)

_WORKER_STOPPED = "its worker stopped before the answer to the submit was stored"

_NAMES = Rows(name=str)
_IDS = Rows(id=int)


class LeaseLost(RushesError):
    """The worker was declared dead: its tasks may be another's. It must start anew under a new id."""

    code = "LEASE_LOST"


JOINING = -1
"""What a worker holds of a provider whose tasks it will serve, but does not take yet."""

RELEASED = "released"
"""The worker, never alive, that owns the tasks which a live one has given away."""

DYING_MS: Final = 30_000
"""Whose lease ends within this time may be dead when an adoption is committed: it takes less."""

_REGISTER_LOCK = 0x6A6F696E
"""Held while registering, so that of two workers which join at once one sees the other ("join" in ASCII)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A live worker as the others see it: its tasks in flight by provider, of all that it serves."""

    worker_id: str
    holds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Survey:
    """The live workers, oldest first, and the tasks in flight without a live owner, by provider."""

    standings: list[Standing]
    free: Mapping[str, int]


def register(
    connection: Connection,
    worker_id: str,
    *,
    host: str,
    pid: int,
    now_ms: int,
    lease_expires_at_ms: int,
    holds: Mapping[str, int] | None = None,
) -> bool:
    """Add the worker with its first lease; tells whether other workers live.

    `holds` names the providers that it serves; without it the worker counts for nobody's share.
    """
    lock_number(connection, _REGISTER_LOCK)
    connection.execute(
        statement(
            "INSERT INTO workers (id, host, pid, started_at_ms, lease_expires_at_ms, holds)"
            f" VALUES (:id, :host, :pid, {lease_time(connection)},"
            f" {lease_time(connection)} + :lease_ms, :holds)"
        ),
        {
            "id": worker_id,
            "host": host,
            "pid": pid,
            "now": now_ms,
            "lease_ms": lease_expires_at_ms - now_ms,
            "holds": msgspec.json.encode(holds or {}).decode(),
        },
    )
    others = connection.scalar(
        statement(
            f"SELECT 1 FROM workers WHERE lease_expires_at_ms > {lease_time(connection)}"
            " AND id <> :me LIMIT 1"
        ),
        {"now": now_ms, "me": worker_id},
    )
    return others is not None


def renew_lease_if_alive(
    connection: Connection,
    worker_id: str,
    *,
    lease_expires_at_ms: int,
    report: str,
    holds: Mapping[str, int],
    now_ms: int,
) -> list[Standing] | None:
    """Extend the lease; all live workers, or None when another worker has declared this one dead.

    Of a provider that `holds` leaves out, others read what they read before.
    """
    before = _held(connection, worker_id)
    result = connection.execute(
        statement(
            f"UPDATE workers SET lease_expires_at_ms = {lease_time(connection)} + :lease_ms,"
            " report = :report, holds = :holds WHERE id = :id AND lease_expires_at_ms > 0"
        ),
        {
            "id": worker_id,
            "now": now_ms,
            "lease_ms": lease_expires_at_ms - now_ms,
            "report": report,
            "holds": msgspec.json.encode({**before, **holds}).decode(),
        },
    )
    return standings(connection, now_ms) if result.rowcount == 1 else None


def standings(connection: Connection, now_ms: int) -> list[Standing]:
    """The workers with a valid lease, oldest first."""
    rows = connection.execute(
        statement(
            f"SELECT id, holds FROM workers WHERE lease_expires_at_ms > {lease_time(connection)}"
            " ORDER BY started_at_ms, id"
        ),
        {"now": now_ms},
    )
    return [Standing(row[0], msgspec.json.decode(row[1], type=dict[str, int])) for row in rows]


def served_providers(connection: Connection, now_ms: int) -> set[str]:
    """The providers that live workers serve."""
    return {name for standing in standings(connection, now_ms) for name in standing.holds}


def survey(connection: Connection, now_ms: int) -> Survey:
    """Who lives, and how much there is to adopt."""
    rows = connection.execute(
        statement(
            "SELECT t.provider, count(*) FROM workers w JOIN video_tasks t ON t.worker_id = w.id"
            f" AND t.status = 'processing' WHERE w.lease_expires_at_ms <= {lease_time(connection)}"
            " GROUP BY t.provider"
        ),
        {"now": now_ms},
    )
    return Survey(standings(connection, now_ms), {row[0]: row[1] for row in rows})


def require_lease(connection: Connection, worker_id: str, now_ms: int) -> None:
    """Hold the worker's row for this transaction, so that it cannot be declared dead meanwhile.

    Raises `LeaseLost` when its lease has run out.
    """
    holds = connection.scalar(
        statement(
            f"SELECT lease_expires_at_ms > {lease_time(connection)} FROM workers WHERE id = :worker_id"
            f"{for_share(connection)}"
        ),
        {"worker_id": worker_id, "now": now_ms},
    )
    if not holds:
        raise LeaseLost(f"worker {worker_id} has lost its lease")


def release(connection: Connection, worker_id: str) -> None:
    """Give the lease back: whatever the worker still owns may be adopted at once.

    A claim or an adoption that is still under way is waited for: what it brings would be nobody's.
    """
    wait_for_own_transactions(connection, worker_id)
    owns = connection.scalar(
        statement("SELECT 1 FROM video_tasks WHERE worker_id = :id AND status = 'processing' LIMIT 1"),
        {"id": worker_id},
    )
    if owns is None:
        connection.execute(statement("DELETE FROM workers WHERE id = :id"), {"id": worker_id})
    else:
        connection.execute(
            statement("UPDATE workers SET lease_expires_at_ms = 0 WHERE id = :id"), {"id": worker_id}
        )


def any_dead(connection: Connection, worker_id: str, *, now_ms: int) -> bool:
    """Whether another worker's lease has run out."""
    found = connection.scalar(
        statement(
            f"SELECT 1 FROM workers WHERE lease_expires_at_ms <= {lease_time(connection)}"
            " AND id <> :me LIMIT 1"
        ),
        {"now": now_ms, "me": worker_id},
    )
    return found is not None


def unanswered_of_dead(connection: Connection, worker_id: str, *, now_ms: int) -> dict[tuple[int, int], str]:
    """Who has claimed what has no stored outcome, by `(task_id, attempt)`: other workers that are dead, or
    may be when an adoption is committed.

    To be read before it: afterwards nobody can tell any more, and its answer may be lost.
    """
    rows = connection.execute(
        statement(
            "SELECT t.id, t.attempt, t.worker_id FROM workers w JOIN video_tasks t ON t.worker_id = w.id"
            " AND t.status = 'processing' AND t.remote_task_id IS NULL AND t.unconfirmed_at_ms IS NULL"
            f" WHERE w.lease_expires_at_ms <= {lease_time(connection)} + :soon AND w.id <> :me"
        ),
        {"now": now_ms, "soon": DYING_MS, "me": worker_id},
    )
    return {(row.id, row.attempt): row.worker_id for row in rows}


def adopt(
    connection: Connection, worker_id: str, *, providers: Sequence[str], now_ms: int, limit: int
) -> list[OwnedTask]:
    """Take over up to `limit` tasks of workers whose lease has run out, and forget emptied workers.

    Only tasks of the given providers are taken: those that this worker can poll.

    An adopted attempt without a remote task id may have been sent by the dead worker: it becomes
    unconfirmed. Two workers never adopt the same task (SKIP LOCKED).
    """
    require_lease(connection, worker_id, now_ms)
    dead = list(
        connection.scalars(
            statement(
                f"SELECT id FROM workers WHERE lease_expires_at_ms <= {lease_time(connection)} AND id <> :me"
                f" ORDER BY lease_expires_at_ms, id{skip_locked(connection)}"
            ),
            {"now": now_ms, "me": worker_id},
        )
    )
    adopted: list[OwnedTask] = []
    for dead_id in dead:
        connection.execute(
            statement("UPDATE workers SET lease_expires_at_ms = 0 WHERE id = :id"), {"id": dead_id}
        )
        room = limit - len(adopted)
        if room > 0:
            adopted += _take_over(
                connection, worker_id, dead_id, providers=providers, now_ms=now_ms, limit=room
            )
        connection.execute(
            statement(
                "DELETE FROM workers WHERE id = :id AND NOT EXISTS (SELECT 1 FROM video_tasks"
                " WHERE worker_id = :id AND status = 'processing')"
            ),
            {"id": dead_id},
        )
    _count_held(connection, worker_id, Counter(task.provider for task in adopted))
    return adopted


def _count_held(connection: Connection, worker_id: str, changes: Mapping[str, int]) -> None:
    """Change what others read of this worker together with what it holds.

    Until its next renewal they would count those tasks twice, or not at all, and take or give away too many.
    """
    if not any(changes.values()):
        return
    holds = _held(connection, worker_id)
    counted = {
        # what it holds may have grown since it was counted: given away, that would make a number below none
        name: max(0, holds[name] + change)
        for name, change in changes.items()
        if holds.get(name, JOINING) != JOINING
    }
    encoded = msgspec.json.encode(holds | counted).decode()
    connection.execute(
        statement("UPDATE workers SET holds = :holds WHERE id = :id"), {"id": worker_id, "holds": encoded}
    )


def _held(connection: Connection, worker_id: str) -> dict[str, int]:
    """What others read of the worker; its row is locked until the transaction ends."""
    text = connection.scalar(
        statement(f"SELECT holds FROM workers WHERE id = :id{for_update(connection)}"), {"id": worker_id}
    )
    return {} if text is None else msgspec.json.decode(text, type=dict[str, int])


def _take_over(
    connection: Connection,
    worker_id: str,
    dead_id: str,
    *,
    providers: Sequence[str],
    now_ms: int,
    limit: int,
) -> list[OwnedTask]:
    rows = rows_at_once(
        connection,
        _OWNED_COLUMNS,
        # no order: any of them will do, without a sort
        "FROM (SELECT * FROM video_tasks WHERE worker_id = :dead AND status = 'processing'"
        f" AND provider IN (SELECT v.name FROM {_NAMES.sql(connection)})"
        f" LIMIT :limit{skip_locked(connection)}) AS taken",
        {
            **_NAMES.parameters(connection, [(name,) for name in providers]),
            "dead": dead_id,
            "limit": limit,
        },
    )
    taken = list(map(owned_task_from_row, rows))
    connection.execute(
        statement(
            f"UPDATE video_tasks SET worker_id = :me FROM {_IDS.sql(connection)} WHERE video_tasks.id = v.id"
        ),
        {**_IDS.parameters(connection, [(task.task_id,) for task in taken]), "me": worker_id},
    )
    return _hold_unanswered(connection, taken, worker_id=worker_id, now_ms=now_ms)


def _hold_unanswered(
    connection: Connection, taken: list[OwnedTask], *, worker_id: str, now_ms: int
) -> list[OwnedTask]:
    """Attempts whose submit has no stored outcome become unconfirmed, and say why."""
    trouble = Trouble(kind_of(_WORKER_STOPPED), _WORKER_STOPPED, 1, now_ms, now_ms)
    unanswered: list[tuple[int, int]] = []
    for number, task in enumerate(taken):
        if task.is_unanswered:
            unanswered.append((task.task_id, task.attempt))
            taken[number] = task._replace(unconfirmed_at_ms=now_ms, trouble=trouble)
    if unanswered:
        mark_unconfirmed_if_owned(connection, unanswered, worker_id=worker_id, now_ms=now_ms)
        troubles = [TroubleRow(*attempt, *astuple(trouble)) for attempt in unanswered]
        record_troubles_if_owned(connection, troubles, worker_id=worker_id)
    return taken


def owned_in_flight(
    connection: Connection,
    worker_id: str,
    *,
    providers: Sequence[str],
    adrift: Sequence[tuple[int, int]] = (),
) -> list[OwnedTask]:
    """The worker's tasks in flight at these providers, but for those whose submit is still under way.

    For a worker that cannot know whether its adoption took effect. With those of `adrift`, as `(task_id,
    attempt)`, that the database has as claimed: their submits are over.
    """
    wait_for_own_transactions(connection, worker_id)
    known_as_claimed = ATTEMPTS.sql(connection).replace(":rows", ":adrift")
    rows = connection.execute(
        statement(
            f"SELECT {_OWNED_COLUMNS} FROM video_tasks WHERE worker_id = :me AND status = 'processing'"
            f" AND provider IN (SELECT v.name FROM {_NAMES.sql(connection)})"
            " AND (remote_task_id IS NOT NULL OR unconfirmed_at_ms IS NOT NULL"
            f" OR (id, attempt) IN (SELECT v.id, v.attempt FROM {known_as_claimed})) ORDER BY id"
        ),
        {
            **_NAMES.parameters(connection, [(name,) for name in providers]),
            "adrift": ATTEMPTS.parameters(connection, adrift)["rows"],
            "me": worker_id,
        },
    )
    return [owned_task_from_row(row) for row in rows]


def release_share_if_owned(
    connection: Connection,
    rows: Sequence[tuple[int, int]],
    *,
    provider: str,
    worker_id: str,
    now_ms: int,
) -> list[int]:
    """Give these `(task_id, attempt)` to whoever adopts them; returns the tasks that were given away.

    Their row in `workers` is locked first, so that an adopter cannot delete it as an empty one meanwhile.
    """
    connection.execute(
        statement(
            "INSERT INTO workers (id, host, pid, started_at_ms, lease_expires_at_ms)"
            " VALUES (:id, '', 0, :now, 0) ON CONFLICT (id) DO UPDATE SET lease_expires_at_ms = 0"
        ),
        {"id": RELEASED, "now": now_ms},
    )
    free = connection.scalars(
        statement(
            f"SELECT id FROM video_tasks WHERE worker_id = :me AND {_IDS.among(connection, 'id')}"
            f"{skip_locked(connection)}"  # what this worker commits just now, in another order
        ),
        {**_IDS.parameters(connection, [row[:1] for row in rows]), "me": worker_id},
    )
    unlocked = set(free)
    its = [row for row in rows if row[0] in unlocked]
    given = hand_over_if_owned(connection, its, worker_id=worker_id, to_worker_id=RELEASED)
    _count_held(connection, worker_id, {provider: -len(given)})
    return given


def any_alive(connection: Connection, now_ms: int) -> bool:
    """Whether any worker has a valid lease."""
    found = connection.scalar(
        statement(f"SELECT 1 FROM workers WHERE lease_expires_at_ms > {lease_time(connection)} LIMIT 1"),
        {"now": now_ms},
    )
    return found is not None


def live_workers(connection: Connection, now_ms: int) -> Sequence[dict[str, object]]:
    """The workers with a valid lease, oldest first."""
    rows = connection.execute(
        statement(
            f"SELECT * FROM workers WHERE lease_expires_at_ms > {lease_time(connection)}"
            " ORDER BY started_at_ms, id"
        ),
        {"now": now_ms},
    )
    return [dict(row._mapping) for row in rows]
