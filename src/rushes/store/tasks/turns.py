"""Whose turn it is: accounts with pending tasks at a provider, and the batches of one, each found by a seek.

Nothing here counts what is pending. The index of pending tasks (`ix_video_tasks_turns`) is ordered by
provider, model, account and batch, and a look jumps from one account or batch in it to the next. So what is
held (other models, other providers) costs nothing, however much it is, and no second book can disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rushes.store.database import Rows, statement
from rushes.store.tables.schema import CLAIMABLE
from rushes.store.tasks.pauses import NOT_PAUSED

ACCOUNTS_MAX = 250
"""Accounts that one claim compares: with more of them waiting, those that come after the one that was served
last, so that each is looked at in turn."""


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """A batch with pending tasks for a provider."""

    batch_id: int
    account_id: int
    pending_count: int


@dataclass(frozen=True, slots=True)
class Turn:
    """How far an account's turns have come at a provider.

    `number` is the account's last turn, of all turns there; 0 for never. Its batches are served in rounds:
    `batch_id` was served last, and the round ends with `round_batch_id`, the newest batch when it started.
    Batches that come later wait for the next round, so no stream of new ones holds up an older one.
    """

    account_id: int
    number: int = 0
    batch_id: int = 0
    round_batch_id: int = 0


_NAMES = Rows(name=str)
_SPANS = Rows(account_id=int, after=int, until=int)
_TURNS = Rows(account_id=int, number=int, batch_id=int, round_batch_id=int)


def count_waiting(
    connection: Connection,
    provider: str,
    models: Sequence[str] | None,
    *,
    count_max: int,
    in_flight_max: int | None,
) -> int:
    """How many pending tasks of these models a claim may find at the provider, counted up to `count_max`.

    None while the provider is paused. One statement. With `in_flight_max` no more than there is room for,
    beside what is in flight there.
    """
    of_model = (
        f"(SELECT count(*) FROM (SELECT 1 FROM video_tasks t WHERE {CLAIMABLE}"
        # in the order of the index: statistics of a time when most tasks were pending would favour the table
        " AND t.provider = :provider{model} ORDER BY t.model, t.account_id LIMIT :count_max) AS counted)"
    )
    if models is None:
        waiting, names = of_model.format(model=""), {}
    else:
        each = of_model.format(model=" AND t.model = v.name")
        waiting = f"(SELECT COALESCE(sum({each}), 0) FROM {_NAMES.sql(connection)})"
        names = dict(_NAMES.parameters(connection, [(name,) for name in models]))
    in_flight = (
        "(SELECT count(*) FROM (SELECT 1 FROM video_tasks WHERE status = 'processing'"
        " AND provider = :provider LIMIT :in_flight_max) AS counted)"
    )
    room = "NULL" if in_flight_max is None else f"CASE WHEN w.count > 0 THEN {in_flight} ELSE 0 END"
    row = connection.execute(
        statement(
            f"SELECT w.count, {room} FROM"
            f" (SELECT CASE WHEN {NOT_PAUSED} THEN {waiting} ELSE 0 END AS count) AS w"
        ),
        {**names, "provider": provider, "count_max": count_max, "in_flight_max": in_flight_max},
    ).one()
    count = min(int(row[0]), count_max)
    return count if in_flight_max is None else min(count, in_flight_max - int(row[1]))


def waiting_models(connection: Connection, provider: str, models: Sequence[str] | None) -> list[str]:
    """Which of these models have pending tasks at the provider; of all models for None. None are those of one
    that is paused.
    """
    if models is None:
        rows = connection.scalars(
            statement(
                "WITH RECURSIVE found(model) AS ("
                f"SELECT min(model) FROM video_tasks WHERE {CLAIMABLE} AND provider = :provider"
                f" UNION ALL SELECT (SELECT min(t.model) FROM video_tasks t WHERE {CLAIMABLE}"
                " AND t.provider = :provider AND t.model > found.model) FROM found"
                " WHERE found.model IS NOT NULL)"
                f" SELECT model FROM found WHERE model IS NOT NULL AND {NOT_PAUSED}"
            ),
            {"provider": provider},
        )
    else:
        rows = connection.scalars(
            statement(
                f"SELECT v.name FROM {_NAMES.sql(connection)} WHERE {NOT_PAUSED} AND EXISTS"
                f" (SELECT 1 FROM video_tasks t WHERE {CLAIMABLE} AND t.provider = :provider"
                " AND t.model = v.name)"
            ),
            {**_NAMES.parameters(connection, [(name,) for name in models]), "provider": provider},
        )
    return [str(model) for model in rows]


def accounts_to_serve(
    connection: Connection, provider: str, models: Sequence[str], limit: int
) -> tuple[list[Turn], int]:
    """Up to `limit` accounts with pending tasks of these models, least recently served first.

    Also the number of the newest turn at the provider.
    """
    newest = connection.execute(
        statement(
            "SELECT number, account_id FROM dispatch_turns WHERE provider = :provider"
            " ORDER BY number DESC LIMIT 1"
        ),
        {"provider": provider},
    ).first()
    number, account_id = (newest.number, newest.account_id) if newest is not None else (0, 0)
    turns = _waiting_accounts(connection, provider, models, after=account_id, count_max=ACCOUNTS_MAX)
    if account_id > 0 and len(turns) < ACCOUNTS_MAX:
        count_max = ACCOUNTS_MAX - len(turns)
        first = _waiting_accounts(connection, provider, models, after=0, count_max=count_max)
        turns += [turn for turn in first if turn.account_id <= account_id]
    turns.sort(key=lambda turn: (turn.number, turn.account_id))
    return turns[:limit], number


def _waiting_accounts(
    connection: Connection, provider: str, models: Sequence[str], *, after: int, count_max: int
) -> list[Turn]:
    next_account = (
        f"(SELECT min(t.account_id) FROM video_tasks t WHERE {CLAIMABLE}"
        " AND t.provider = :provider AND t.model = {model} AND t.account_id > {after})"
    )
    rows = connection.execute(
        statement(
            "WITH RECURSIVE waiting(model, account_id) AS ("
            f"SELECT v.name, {next_account.format(model='v.name', after=':after')}"
            f" FROM {_NAMES.sql(connection)}"
            " UNION ALL"
            f" SELECT w.model, {next_account.format(model='w.model', after='w.account_id')}"
            " FROM waiting w WHERE w.account_id IS NOT NULL),"
            " bounded AS (SELECT account_id FROM waiting WHERE account_id IS NOT NULL LIMIT :count_max)"
            " SELECT DISTINCT s.account_id, COALESCE(d.number, 0), COALESCE(d.batch_id, 0),"
            " COALESCE(d.round_batch_id, 0) FROM bounded s LEFT JOIN dispatch_turns d"
            " ON d.provider = :provider AND d.account_id = s.account_id"
        ),
        {
            **_NAMES.parameters(connection, [(name,) for name in models]),
            "provider": provider,
            "after": after,
            "count_max": count_max,
        },
    )
    return [Turn(*row) for row in rows]


def newest_batch_id(connection: Connection) -> int:
    """The newest batch of all accounts."""
    return int(connection.scalar(statement("SELECT max(id) FROM batches")) or 0)


def batches_to_serve(
    connection: Connection,
    provider: str,
    models: Sequence[str],
    spans: Sequence[tuple[int, int, int]],
    each_max: int,
) -> dict[int, list[CandidateBatch]]:
    """The next batches with pending tasks of these models, oldest first, by account.

    Of each `(account_id, after, until)`: at most `each_max` with `after` < id <= `until`. What is left of a
    cancelled batch is passed over.
    """
    wanted = [span for span in spans if span[1] < span[2]]
    if not wanted:
        return {}
    names = _NAMES.sql(connection).replace(":rows", ":models").removesuffix("AS v") + "AS m"
    next_batch = (
        "(SELECT min(first) FROM (SELECT (SELECT min(t.batch_id) FROM video_tasks t"
        f" WHERE {CLAIMABLE} AND t.provider = :provider AND t.model = m.name"
        " AND t.account_id = {row}.account_id AND t.batch_id > {row}.{after}) AS first"
        f" FROM {names}) AS firsts)"
    )
    rows = connection.execute(
        statement(
            "WITH RECURSIVE following(account_id, until, place, batch_id) AS ("
            f"SELECT v.account_id, v.until, 1, {next_batch.format(row='v', after='after')}"
            f" FROM {_SPANS.sql(connection)}"
            " UNION ALL SELECT f.account_id, f.until, f.place + 1,"
            f" {next_batch.format(row='f', after='batch_id')} FROM following f"
            " WHERE f.batch_id < f.until AND f.place < :each_max)"
            " SELECT b.id, b.account_id, b.pending_count FROM following f JOIN batches b ON b.id = f.batch_id"
            " WHERE f.batch_id <= f.until AND b.pending_count > 0 AND b.cancelled_at_ms IS NULL ORDER BY b.id"
        ),
        {
            **_SPANS.parameters(connection, wanted),
            "models": _NAMES.parameters(connection, [(name,) for name in models])["rows"],
            "provider": provider,
            "each_max": each_max,
        },
    )
    found: dict[int, list[CandidateBatch]] = {}
    for row in rows:
        found.setdefault(row[1], []).append(CandidateBatch(*row))
    return found


def record_turns(connection: Connection, provider: str, turns: Sequence[Turn]) -> None:
    """These accounts were just served: the others come first next time."""
    rows = [
        (turn.account_id, turn.number, turn.batch_id, turn.round_batch_id)
        for turn in sorted(turns, key=lambda turn: turn.account_id)
    ]
    connection.execute(
        statement(
            "INSERT INTO dispatch_turns (provider, account_id, number, batch_id, round_batch_id)"
            " SELECT :provider, v.account_id, v.number, v.batch_id, v.round_batch_id"
            f" FROM {_TURNS.sql(connection)} WHERE v.account_id > 0"
            " ON CONFLICT (provider, account_id) DO UPDATE SET number = excluded.number,"
            " batch_id = excluded.batch_id, round_batch_id = excluded.round_batch_id"
        ),
        {**_TURNS.parameters(connection, rows), "provider": provider},
    )
