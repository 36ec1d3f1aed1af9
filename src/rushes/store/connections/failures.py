"""What a driver's error means: the tree's error for it."""

from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rushes.domain.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnreachable,
    StatementRefused,
    StoreError,
)

RETRY_SQLSTATES: Final = frozenset({"40001", "40P01"})
"""PostgreSQL's serialization_failure and deadlock_detected: run the transaction again."""

WHEN_DAMAGED: Final = (
    "stop what uses it, keep a copy, and restore a backup (docs: Backups and upgrades), or save what can be"
    " read with `sqlite3 FILE .recover`"
)
"""What to do about a damaged SQLite file."""


def sqlstate(error: Exception) -> str | None:
    """PostgreSQL's five characters for what was wrong; None from SQLite, and without an answer."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def is_damage(error: DBAPIError) -> bool:
    """Whether it says that a SQLite file is damaged, or none."""
    code = getattr(error.orig, "sqlite_errorname", "") or ""
    # text that is not UTF-8 is found by Python and not by SQLite
    return code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or (
        not code and "decode to UTF-8" in str(error.orig)
    )


def store_error(error: DBAPIError | PoolTimeoutError) -> StoreError:
    """The tree's error for a driver's error, in one line and without the statement or its values."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseBusy("the database's connections are all in use; try again")
    original = error.orig
    # PostgreSQL's detail line quotes the row; its primary message names the rule alone
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    text = " ".join(str(primary or original).split())[:300]
    code = getattr(original, "sqlite_errorname", "") or ""
    state = sqlstate(error) or ""
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state == "55P03" or state in RETRY_SQLSTATES:
        return DatabaseBusy(f"the database is locked by another process ({text}); try again")
    if state == "57014":
        return DatabaseBusy(f"a statement took longer than it may ({text}); try again")
    if code.startswith("SQLITE_READONLY") or state == "25006":
        return DatabaseReadOnly(f"the database takes no writes ({text}); check its permissions")
    if code.startswith("SQLITE_FULL") or state in ("53100", "53000"):
        return DatabaseFull(f"no space is left for the database ({text}); free some and try again")
    if code.startswith("SQLITE_CANTOPEN"):
        return DatabaseUnreachable(f"the database file cannot be opened ({text}); check its folder")
    if code.startswith("SQLITE_IOERR"):
        return DatabaseUnreachable(f"the database file cannot be read or written ({text})")
    if is_damage(error):
        return DatabaseDamaged(f"the database file is damaged ({text}); {WHEN_DAMAGED}")
    if error.connection_invalidated or state[:2] in ("08", "57", "53") or (not state and not code):
        return DatabaseUnreachable(f"the database cannot be reached ({text})")
    return StatementRefused(f"the database refused a statement ({text})")
