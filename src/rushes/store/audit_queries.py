"""Reading whole tables in order, a page at a time, for audits and statements.

Every stream is ordered by its first column, so that streams can be walked side by side and memory holds
one account's lots, or one batch, at a time.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, text

PAGE_ROWS = 1000
"""Rows fetched at once from each stream."""

_ENTRY_COLUMNS = (
    "account_id, seq, type, delta, balance_after, batch_id, task_id, parts, description, created_at_ms, hash"
)


class Grouped:
    """A stream ordered by its first column, taken one key at a time, keys rising."""

    def __init__(self, rows: Iterator[Row[Any]]) -> None:
        self._rows = rows
        self._ahead = next(rows, None)

    def of(self, key: int) -> Iterator[Row[Any]]:
        """The rows of this key; must be read to its end before the next key is taken."""
        while self._ahead is not None and self._ahead[0] == key:
            row = self._ahead
            self._ahead = next(self._rows, None)
            yield row

    def before(self, key: int | None) -> Iterator[Row[Any]]:
        """The rows of keys below this one (None: all that are left), which nobody asked for."""
        while self._ahead is not None and (key is None or self._ahead[0] < key):
            row = self._ahead
            self._ahead = next(self._rows, None)
            yield row


def stream(connection: Connection, statement: str, **parameters: object) -> Iterator[Row[Any]]:
    """The rows of a query, fetched in pages of `PAGE_ROWS`, through a cursor of the server if it has any."""
    return iter(connection.execute(text(statement), parameters, execution_options={"yield_per": PAGE_ROWS}))


# --- by account -----------------------------------------------------------------------------------------


def accounts(connection: Connection) -> Iterator[Row[Any]]:
    """Every account with the credits that the lines of its batches hold (`lines_held`), by id."""
    return stream(
        connection,
        "SELECT a.id, a.name, a.available, a.held, a.ledger_seq, a.ledger_hash,"
        " CAST(COALESCE(h.lines_held, 0) AS bigint) AS lines_held FROM accounts a LEFT JOIN"
        " (SELECT b.account_id, SUM(r.reserved - r.settled - r.refunded) AS lines_held"
        " FROM batch_reservations r JOIN batches b ON b.id = r.batch_id GROUP BY b.account_id) h"
        " ON h.account_id = a.id ORDER BY a.id",
    )


def account(connection: Connection, account_id: int) -> Row[Any]:
    """One account, as `accounts` has it but without what its batches hold."""
    return connection.execute(
        text(
            "SELECT id, name, available, held, ledger_seq, ledger_hash FROM accounts WHERE id = :account_id"
        ),
        {"account_id": account_id},
    ).one()


def lots_of(connection: Connection, account_id: int) -> list[Row[Any]]:
    """The account's lots, as `lots_by_account` has them."""
    return list(
        connection.execute(
            text(
                "SELECT account_id, id, kind, amount, remaining, expires_at_ms FROM credit_lots"
                " WHERE account_id = :account_id ORDER BY id"
            ),
            {"account_id": account_id},
        )
    )


def lots_by_account(connection: Connection) -> Iterator[Row[Any]]:
    """Every lot, by account."""
    return stream(
        connection,
        "SELECT account_id, id, kind, amount, remaining, expires_at_ms FROM credit_lots"
        " ORDER BY account_id, id",
    )


def entries_by_account(connection: Connection) -> Iterator[Row[Any]]:
    """Every ledger entry, by account and number."""
    return stream(connection, f"SELECT {_ENTRY_COLUMNS} FROM ledger_entries ORDER BY account_id, seq")


def entry_hash_of(connection: Connection, account_id: int, seq: int) -> str | None:
    """The stored hash of one entry, None when there is no such entry."""
    found: str | None = connection.scalar(
        text("SELECT hash FROM ledger_entries WHERE account_id = :account_id AND seq = :seq"),
        {"account_id": account_id, "seq": seq},
    )
    return found


# --- by batch; `batch_id` narrows a stream to one batch -------------------------------------------------


def _of_batch(column: str, batch_id: int | None) -> tuple[str, dict[str, object]]:
    if batch_id is None:
        return "", {}
    return f" WHERE {column} = :batch_id", {"batch_id": batch_id}


def batches(connection: Connection, batch_id: int | None = None) -> Iterator[Row[Any]]:
    """Every batch with its account's name (NULL when there is none) and its stored events, by id."""
    where, parameters = _of_batch("b.id", batch_id)
    return stream(
        connection,
        "SELECT b.id, b.public_id, b.account_id, a.name AS account, b.status, b.total_count,"
        " b.pending_count, b.processing_count, b.succeeded_count, b.failed_count, b.credits_reserved,"
        " b.credits_settled, b.credits_refunded, b.event_seq, b.created_at_ms, b.cancelled_at_ms,"
        " b.completed_at_ms, b.finalized_at_ms, COALESCE(e.events, 0) AS events,"
        " CASE WHEN EXISTS (SELECT 1 FROM batch_gates g JOIN clip_verdicts c ON c.batch_id = g.batch_id"
        " WHERE g.batch_id = b.id AND g.clips_max IS NOT NULL AND c.state <> 'decided') THEN 1 ELSE 0 END"
        " AS awaits_verdicts,"
        " COALESCE(e.first_event, 1) AS first_event, COALESCE(e.last_event, 0) AS last_event"
        " FROM batches b LEFT JOIN accounts a ON a.id = b.account_id"
        " LEFT JOIN (SELECT batch_id, COUNT(*) AS events, MIN(seq) AS first_event, MAX(seq) AS last_event"
        f" FROM batch_events{_of_batch('batch_id', batch_id)[0]} GROUP BY batch_id) e"
        f" ON e.batch_id = b.id{where} ORDER BY b.id",
        **parameters,
    )


def reservation_lines(connection: Connection, batch_id: int | None = None) -> Iterator[Row[Any]]:
    """Every reservation line, by batch and line."""
    where, parameters = _of_batch("batch_id", batch_id)
    return stream(
        connection,
        f"SELECT batch_id, line, lot_id, reserved, settled, refunded FROM batch_reservations{where}"
        " ORDER BY batch_id, line",
        **parameters,
    )


def tasks(connection: Connection, batch_id: int | None = None) -> Iterator[Row[Any]]:
    """Every task, by batch, item and retry; `owner` is its worker in the register, NULL if there is none."""
    where, parameters = _of_batch("t.batch_id", batch_id)
    return stream(
        connection,
        "SELECT t.batch_id, t.id, t.account_id, t.item_index, t.retry_number, t.is_current, t.custom_id,"
        " t.model, t.credits, t.status, t.attempt, w.id AS owner, t.completed_at_ms, t.video_url, t.error,"
        " t.failure_type, CASE WHEN c.verdict = 'rejected'"
        " OR f.state = 'refused' OR (f.state IN ('stored', 'removed') AND f.reason IS NOT NULL)"
        " THEN 1 ELSE 0 END AS rejected"
        " FROM video_tasks t LEFT JOIN workers w ON w.id = t.worker_id"
        " LEFT JOIN clip_verdicts c ON c.task_id = t.id LEFT JOIN archived_files f ON f.task_id = t.id"
        f"{where} ORDER BY t.batch_id, t.item_index, t.retry_number, t.id",
        **parameters,
    )


def resolutions(connection: Connection, batch_id: int | None = None) -> Iterator[Row[Any]]:
    """Every resolution, by batch and task."""
    where, parameters = _of_batch("batch_id", batch_id)
    return stream(
        connection,
        f"SELECT batch_id, task_id, attempt, kind, credits FROM task_resolutions{where}"
        " ORDER BY batch_id, task_id",
        **parameters,
    )


def entries_by_batch(connection: Connection, batch_id: int | None = None) -> Iterator[Row[Any]]:
    """Every ledger entry of a batch, by batch and number: the batch's id, then the columns of an entry."""
    where, parameters = _of_batch("batch_id", batch_id)
    return stream(
        connection,
        f"SELECT batch_id AS group_id, {_ENTRY_COLUMNS} FROM ledger_entries"
        f"{where or ' WHERE batch_id IS NOT NULL'} ORDER BY batch_id, account_id, seq",
        **parameters,
    )


def entries_before(connection: Connection, batch_id: int) -> Iterator[Row[Any]]:
    """`account_id, seq, hash` of the entry that stands before each entry of the batch."""
    return stream(
        connection,
        "SELECT e.account_id AS account_id, e.seq AS seq, p.hash FROM ledger_entries e JOIN ledger_entries p"
        " ON p.account_id = e.account_id AND p.seq = e.seq - 1 WHERE e.batch_id = :batch_id"
        # where that one was folded away, its hash stands in the fold
        " UNION SELECT e.account_id, e.seq, f.ledger_hash FROM ledger_entries e JOIN folds f"
        " ON f.account_id = e.account_id AND f.ledger_through_seq = e.seq - 1 WHERE e.batch_id = :batch_id"
        " ORDER BY account_id, seq",
        batch_id=batch_id,
    )


# --- what concerns the provider -------------------------------------------------------------------------


def unconfirmed_submits(
    connection: Connection, *, error: str, provider: str | None = None
) -> Iterator[Row[Any]]:
    """Attempts that the provider may have accepted unseen: still held, refunded, or submitted again.

    `batch_id, item_index, attempt, since_ms, state, contested_id`, by batch and item. `error` is the error
    under which such attempts are given up; `contested_id` is a remote id that the attempt was given and that
    another one has.
    """
    of_provider = "" if provider is None else " AND x.provider = :provider"
    return stream(
        connection,
        "SELECT b.public_id AS batch_id, x.item_index, x.attempt, x.since_ms, x.state,"
        " (SELECT MIN(c.remote_task_id) FROM contested_remote_ids c WHERE c.task_id = x.task_id"
        " AND c.attempt = x.attempt) AS contested_id FROM ("
        "SELECT id AS task_id, batch_id, item_index, attempt, unconfirmed_at_ms AS since_ms, provider,"
        " 'held' AS state"
        " FROM video_tasks WHERE status = 'processing' AND unconfirmed_at_ms IS NOT NULL"
        " AND remote_task_id IS NULL"
        " UNION ALL SELECT id, batch_id, item_index, attempt, completed_at_ms, provider, 'refunded'"
        " FROM video_tasks WHERE status = 'failed' AND error = :error"
        " UNION ALL SELECT t.id, t.batch_id, t.item_index, n.attempt, n.ended_at_ms, n.provider,"
        " 'resubmitted'"
        " FROM task_attempts n JOIN video_tasks t ON t.id = n.task_id WHERE n.error = :error"
        " AND n.remote_task_id IS NULL"
        f") x JOIN batches b ON b.id = x.batch_id WHERE 1 = 1{of_provider}"
        " ORDER BY x.batch_id, x.item_index, x.attempt",
        error=error,
        **({} if provider is None else {"provider": provider}),
    )


_REMOTE_TASKS = (
    "SELECT t.provider, COALESCE(t.host, '') AS host, t.remote_task_id, t.status, t.credits,"
    " t.completed_at_ms, t.batch_id, t.item_index, t.attempt, t.provider_cost, t.expected_cost_micros,"
    " t.cost_currency"
    " FROM video_tasks t WHERE t.remote_task_id IS NOT NULL"
    " UNION ALL SELECT n.provider, COALESCE(n.host, ''), n.remote_task_id, 'ended', t.credits,"
    " n.ended_at_ms, t.batch_id, t.item_index, n.attempt, NULL, NULL, NULL"
    " FROM task_attempts n JOIN video_tasks t ON t.id = n.task_id WHERE n.remote_task_id IS NOT NULL"
)


def remote_tasks(connection: Connection, provider: str) -> Iterator[Row[Any]]:
    """Every attempt with a remote id of this provider; `status` is `ended` for one given up earlier."""
    return stream(
        connection,
        "SELECT x.remote_task_id, x.status, x.credits, x.completed_at_ms, b.public_id AS batch_id,"
        " x.item_index, x.attempt, x.provider_cost, x.expected_cost_micros, x.cost_currency"
        f" FROM ({_REMOTE_TASKS}) x"
        " JOIN batches b ON b.id = x.batch_id"
        " WHERE x.provider = :provider ORDER BY x.batch_id, x.item_index, x.attempt",
        provider=provider,
    )


def repeated_remote_ids(connection: Connection) -> Iterator[Row[Any]]:
    """`provider, remote_task_id, batch_id, item_index, attempt` of ids that several attempts carry."""
    return stream(
        connection,
        "SELECT x.provider, x.remote_task_id, b.public_id AS batch_id, x.item_index, x.attempt"
        f" FROM ({_REMOTE_TASKS}) x JOIN (SELECT provider, host, remote_task_id FROM ({_REMOTE_TASKS}) y"
        " GROUP BY provider, host, remote_task_id HAVING COUNT(*) > 1) d"
        " ON d.provider = x.provider AND d.host = x.host AND d.remote_task_id = x.remote_task_id"
        " JOIN batches b ON b.id = x.batch_id"
        " ORDER BY x.provider, x.remote_task_id, x.batch_id, x.item_index, x.attempt",
    )
