"""Which revision a database is at, and which one this version needs, without Alembic: every start asks."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from rushes.domain.errors import SchemaOutdated

VERSIONS: Final = Path(__file__).parent / "versions"
_ASSIGNED: Final = re.compile(r"^(revision|down_revision)\b[^=\n]*= *(?:\"(\w+)\"|None)", re.MULTILINE)


@lru_cache(maxsize=1)
def _chain() -> tuple[frozenset[str], str]:
    """Every revision, and the one that no other stands on."""
    revisions, below = set[str](), set[str]()
    for path in VERSIONS.rglob("[0-9]*.py"):
        for name, value in _ASSIGNED.findall(path.read_text("utf-8")):
            if value:
                (revisions if name == "revision" else below).add(value)
    (newest,) = revisions - below
    return frozenset(revisions), newest


def head() -> str:
    """The newest revision that this version of rushes knows."""
    return _chain()[1]


def is_unknown(revision: str | None) -> bool:
    """Whether a newer version made the database: migrations are only ever added."""
    return revision is not None and revision not in _chain()[0]


def current(connection: Connection) -> str | None:
    """The database's revision, None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def mismatch(found: str | None) -> str | None:
    """What is wrong with a database at this revision and what to do about it; None at `head()`."""
    if found == head():
        return None
    if found is None:
        return "the database has no tables yet; run `rushes migrate`"
    if is_unknown(found):
        return (
            f"the database is at revision {found}, this version knows {head()} at most: a newer rushes made"
            " it; install that version, or restore the backup from before it"
        )
    return f"the database is at revision {found}, this version needs {head()}; run `rushes migrate`"


def require_current(connection: Connection) -> None:
    """Raise `SchemaOutdated` unless the database is at this version's schema."""
    problem = mismatch(current(connection))
    if problem is not None:
        raise SchemaOutdated(problem)
