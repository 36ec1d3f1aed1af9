"""Bringing a database to this version's schema, and refusing to work on any other."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from rushes.domain.errors import SchemaOutdated
from rushes.store.database import Database, is_postgresql

_ADVISORY_LOCK = 0x727573686573
"""Held while migrating, so that processes which start together migrate once ("rushes" in ASCII)."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """The newest revision that this version of rushes knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def current(connection: Connection) -> str | None:
    """The database's revision, None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def _is_unknown(revision: str | None) -> bool:
    """Whether a newer version made the database: migrations are only ever added."""
    scripts = ScriptDirectory.from_config(_config())
    return revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}


def mismatch(found: str | None) -> str | None:
    """What is wrong with a database at this revision and what to do about it; None at `head()`."""
    if found == head():
        return None
    if found is None:
        return "the database has no tables yet; run `rushes migrate`"
    if _is_unknown(found):
        return (
            f"the database is at revision {found}, this version knows {head()} at most: a newer rushes made"
            " it; install that version, or restore the backup from before it"
        )
    return f"the database is at revision {found}, this version needs {head()}; run `rushes migrate`"


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the database to `head()`; returns the revisions before and after. Safe to run at any time.

    Raises `SchemaOutdated` when a newer version made it.
    """

    def run(connection: Connection) -> tuple[str | None, str]:
        if is_postgresql(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        before = current(connection)
        if _is_unknown(before):
            raise SchemaOutdated(str(mismatch(before)))
        if before != head():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before, head()

    return database.run(run)


def require_current(connection: Connection) -> None:
    """Raise `SchemaOutdated` unless the database is at this version's schema."""
    problem = mismatch(current(connection))
    if problem is not None:
        raise SchemaOutdated(problem)
