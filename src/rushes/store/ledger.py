"""Accounts, lots and the append-only ledger. Every change of a balance goes through a `Book`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from rushes.domain.credits import (
    CREDITS_MAX,
    GENESIS_HASH,
    EntryType,
    Lot,
    LotKind,
    Part,
    chained_hash,
    decode_parts,
    encode_parts,
)
from rushes.domain.errors import InputError, NotFound
from rushes.store import installation
from rushes.store.database import Rows, for_update, insert_rows, statement
from rushes.store.tables import schema

ACCOUNT_NAME_CHARACTERS_MAX = 100

LOTS_READ = 16
"""Lots of an account that are looked at first: few purchases need more, and an account may have thousands."""

_ENTRY_ROWS = Rows(
    account_id=int,
    seq=int,
    type=str,
    delta=int,
    balance_after=int,
    batch_id=int,
    task_id=int,
    parts=str,
    description=str,
    created_at_ms=int,
    hash=str,
)
_LOT_ROWS = Rows(id=int, change=int)


@dataclass(slots=True)
class _Account:
    available: int
    held: int
    seq: int
    hash: str


class Book:
    """The ledgers of some accounts, locked until the transaction ends.

    `append` changes balances in memory and `write` stores all of it in a handful of statements, so a
    group of settlements costs as many round trips as one.
    """

    def __init__(self, connection: Connection, account_ids: Iterable[int]) -> None:
        self._connection = connection
        self._entries: list[tuple[object, ...]] = []
        self._lot_changes: dict[int, int] = {}
        ids = sorted(set(account_ids))
        rows = connection.execute(
            statement(
                "SELECT id, available, held, ledger_seq, ledger_hash FROM accounts"
                f" WHERE id IN (SELECT v.id FROM {_ID_ROWS.sql(connection)})"
                f" ORDER BY id{for_update(connection)}"
            ),
            _ID_ROWS.parameters(connection, [(account_id,) for account_id in ids]),
        )
        self._accounts = {row[0]: _Account(row[1], row[2], row[3], row[4]) for row in rows}
        missing = [account_id for account_id in ids if account_id not in self._accounts]
        if missing:
            raise NotFound(f"no account with id {missing[0]}")

    def available(self, account_id: int) -> int:
        """Credits the account may spend."""
        return self._accounts[account_id].available

    def append(
        self,
        account_id: int,
        entry_type: EntryType,
        parts: Sequence[Part],
        *,
        now_ms: int,
        batch_id: int | None = None,
        task_id: int | None = None,
        description: str = "",
    ) -> None:
        """Add one entry; its effect on available and held credits follows from its type."""
        account = self._accounts[account_id]
        amount = 0
        for part in parts:
            amount += part.amount
        match entry_type:
            case EntryType.RESERVE:
                delta, held_delta = -amount, amount
            case EntryType.SETTLE:
                delta, held_delta = 0, -amount
            case EntryType.REFUND:
                delta, held_delta = amount, -amount
            case EntryType.PURCHASE | EntryType.BONUS:
                delta, held_delta = amount, 0
            case EntryType.EXPIRE | EntryType.ADJUST:
                delta, held_delta = -amount, 0
        if delta:
            lot_changes = self._lot_changes
            sign = 1 if delta > 0 else -1
            for part in parts:
                lot_changes[part.lot_id] = lot_changes.get(part.lot_id, 0) + sign * part.amount
        account.available += delta
        account.held += held_delta
        account.seq += 1
        fields = (
            account_id,
            account.seq,
            entry_type.value,
            delta,
            account.available,
            batch_id,
            task_id,
            encode_parts(parts),
            description,
            now_ms,
        )
        account.hash = chained_hash(account.hash, *fields)
        self._entries.append((*fields, account.hash))

    def write(self) -> None:
        """Store the entries, the lots' and the accounts' balances. Call once, last."""
        connection = self._connection
        if not self._entries:
            return
        insert_rows(connection, "ledger_entries", _ENTRY_ROWS, self._entries)
        changes = [(lot_id, change) for lot_id, change in sorted(self._lot_changes.items()) if change]
        if changes:
            connection.execute(
                statement(
                    "UPDATE credit_lots SET remaining = remaining + v.change"
                    f" FROM {_LOT_ROWS.sql(connection)} WHERE credit_lots.id = v.id"
                ),
                _LOT_ROWS.parameters(connection, changes),
            )
        connection.execute(
            statement(
                "UPDATE accounts SET available = v.available, held = v.held, ledger_seq = v.seq,"
                f" ledger_hash = v.hash FROM {_ACCOUNT_ROWS.sql(connection)} WHERE accounts.id = v.id"
            ),
            _ACCOUNT_ROWS.parameters(
                connection,
                [(key, a.available, a.held, a.seq, a.hash) for key, a in self._accounts.items()],
            ),
        )


_ID_ROWS = Rows(id=int)
_ACCOUNT_ROWS = Rows(id=int, available=int, held=int, seq=int, hash=str)


# --- accounts -----------------------------------------------------------------------------------------


def ensure_account(connection: Connection, name: str, now_ms: int) -> int:
    """The id of the account with this name, created with no credits when there is none."""
    if not name or len(name) > ACCOUNT_NAME_CHARACTERS_MAX or not name.isprintable():
        raise InputError(f"an account name is 1 to {ACCOUNT_NAME_CHARACTERS_MAX} printable characters")
    connection.execute(
        statement(
            "INSERT INTO accounts (name, ledger_hash, created_at_ms) VALUES (:name, :hash, :now)"
            " ON CONFLICT (name) DO NOTHING"
        ),
        {"name": name, "hash": GENESIS_HASH, "now": now_ms},
    )
    return account_id(connection, name)


def account_id(connection: Connection, name: str) -> int:
    """The id of the account with this name; raises `NotFound`."""
    found = account_id_if_any(connection, name)
    if found is None:
        raise NotFound(f'there is no account "{name}"')
    return found


def account_id_if_any(connection: Connection, name: str) -> int | None:
    """The id of the account with this name; None for one that nothing was granted or made for yet."""
    return connection.scalar(select(schema.accounts.c.id).where(schema.accounts.c.name == name))


def lock(connection: Connection, account: int) -> None:
    """Lock the account until the transaction ends: what it has changes by this one alone."""
    connection.execute(
        statement(f"SELECT 1 FROM accounts WHERE id = :id{for_update(connection)}"), {"id": account}
    )


_LOTS = (
    "SELECT id, kind, remaining, expires_at_ms FROM credit_lots WHERE account_id = :account AND remaining > 0"
)
_IN_TURN = " ORDER BY expires_at_ms NULLS LAST, id"
_IS_LIVE = " AND (expires_at_ms IS NULL OR expires_at_ms > :now)"
_HAS_EXPIRED = " AND expires_at_ms <= :now"


def next_lots(connection: Connection, account: int, *, limit: int, now_ms: int) -> list[Lot]:
    """The account's lots that are spent next; none that is empty, none that has expired."""
    return _lots(
        connection, f"{_LOTS}{_IS_LIVE}{_IN_TURN} LIMIT :limit", account=account, limit=limit, now=now_ms
    )


def lots_for(connection: Connection, account: int, amount: int, *, now_ms: int) -> list[Lot]:
    """As many of them as hold this amount together; all of them where they hold less."""
    limit = LOTS_READ
    while True:
        found = next_lots(connection, account, limit=limit, now_ms=now_ms)
        if len(found) < limit or sum(lot.remaining for lot in found) >= amount:
            return found
        limit *= 8


def _lots(connection: Connection, query: str, **values: int) -> list[Lot]:
    rows = connection.execute(statement(query), values)
    return [Lot(row[0], LotKind(row[1]), row[2], row[3]) for row in rows]


def count_lots(connection: Connection, account: int, now_ms: int) -> int:
    """How many lots of the account have credits left that have not expired."""
    query = statement(
        f"SELECT COUNT(*) FROM credit_lots WHERE account_id = :account AND remaining > 0{_IS_LIVE}"
    )
    return int(connection.scalar(query, {"account": account, "now": now_ms}) or 0)


# --- changes of a balance -----------------------------------------------------------------------------


def grant(
    connection: Connection,
    account: int,
    amount: int,
    *,
    now_ms: int,
    kind: LotKind = LotKind.PERMANENT,
    expires_at_ms: int | None = None,
    description: str = "",
    by_operator: bool = True,
) -> int:
    """Give the account a new lot of `amount` credits; returns the lot's id.

    Once an operator has granted some, `rushes run` grants none by itself.
    """
    if not 0 < amount <= CREDITS_MAX:
        raise InputError(f"a grant is 1 to {CREDITS_MAX} credits, not {amount}", field="amount")
    if (kind is LotKind.BONUS) != (expires_at_ms is not None):
        raise InputError("a bonus lot needs an expiry, a permanent lot has none", field="expires_at")
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise InputError("the expiry must lie in the future", field="expires_at")
    book = Book(connection, [account])
    if book.available(account) + amount > CREDITS_MAX:
        raise InputError(f"an account holds at most {CREDITS_MAX} credits", field="amount")
    lot_id = connection.scalar(
        statement(  # the ledger entry below fills it
            "INSERT INTO credit_lots (account_id, kind, amount, remaining, expires_at_ms, created_at_ms)"
            " VALUES (:account, :kind, :amount, 0, :expires, :now) RETURNING id"
        ),
        {
            "account": account,
            "kind": kind.value,
            "amount": amount,
            "expires": expires_at_ms,
            "now": now_ms,
        },
    )
    assert lot_id is not None
    entry_type = EntryType.BONUS if kind is LotKind.BONUS else EntryType.PURCHASE
    book.append(account, entry_type, [Part(lot_id, amount)], now_ms=now_ms, description=description)
    book.write()
    if by_operator:
        installation.note_operator(connection)
    return int(lot_id)


def settled_parts(connection: Connection, task_id: int) -> list[tuple[str, int | None, int]]:
    """What the task's settlement kept of each lot: the lot's kind, its end, and the credits."""
    # its batch is asked for first: a planner that knows it finds the entry by it
    batch_id = connection.scalar(
        statement("SELECT batch_id FROM video_tasks WHERE id = :task_id"), {"task_id": task_id}
    )
    text = connection.scalar(
        statement(
            "SELECT parts FROM ledger_entries"
            " WHERE batch_id = :batch_id AND task_id = :task_id AND type = 'settle'"
        ),
        {"batch_id": batch_id, "task_id": task_id},
    )
    parts = () if text is None else decode_parts(text)
    rows = connection.execute(
        statement(
            "SELECT id, kind, expires_at_ms FROM credit_lots"
            f" WHERE id IN (SELECT v.id FROM {_ID_ROWS.sql(connection)})"
        ),
        _ID_ROWS.parameters(connection, [(part.lot_id,) for part in parts]),
    )
    lots_of = {row.id: (str(row.kind), row.expires_at_ms) for row in rows}
    return [(*lots_of[part.lot_id], part.amount) for part in parts]


def available_credits(connection: Connection, account: int, now_ms: int) -> int:
    """Credits that the account may spend now; those past their expiry do not count.

    What it has, less the few lots that expired and were not swept yet: of lots there may be thousands.
    """
    found = connection.scalar(
        statement(
            "SELECT available - COALESCE((SELECT CAST(SUM(remaining) AS bigint) FROM credit_lots"
            # found by their expiry, not by the account: so it has no index of its own here
            " WHERE +account_id = accounts.id AND remaining > 0 AND expires_at_ms IS NOT NULL"
            " AND expires_at_ms <= :now), 0) FROM accounts WHERE id = :account"
        ),
        {"account": account, "now": now_ms},
    )
    return int(found or 0)


def expire_lots(connection: Connection, now_ms: int, *, account: int | None = None, limit: int = 1000) -> int:
    """Empty the lots whose expiry has passed, with an `expire` entry each; returns how many."""
    of_account = "" if account is None else " AND account_id = :account"
    found = connection.scalars(
        statement(
            "SELECT DISTINCT account_id FROM credit_lots WHERE remaining > 0"
            f" AND expires_at_ms IS NOT NULL AND expires_at_ms <= :now{of_account} LIMIT :limit"
        ),
        {"now": now_ms, "limit": limit, **({} if account is None else {"account": account})},
    )
    account_ids = list(found)
    if not account_ids:
        return 0
    book = Book(connection, account_ids)  # locks the accounts; their lots are read only after that
    expired = 0
    for owner in sorted(account_ids):
        for lot in _lots(connection, _LOTS + _HAS_EXPIRED + _IN_TURN, account=owner, now=now_ms):
            book.append(owner, EntryType.EXPIRE, [Part(lot.lot_id, lot.remaining)], now_ms=now_ms)
            expired += 1
    book.write()
    return expired


# --- resolutions ----------------------------------------------------------------------------------------

_RESOLUTION_ROWS = Rows(task_id=int, batch_id=int, attempt=int, kind=str, credits=int, created_at_ms=int)


def insert_resolutions(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Append `(task_id, batch_id, attempt, kind, credits, created_at_ms)`.

    A task that was resolved before is refused by the primary key, and with it the whole transaction.
    """
    insert_rows(connection, "task_resolutions", _RESOLUTION_ROWS, rows)
