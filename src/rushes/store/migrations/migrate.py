"""Bringing a database to this version's schema. Whether it is there already, `revisions` knows."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from rushes.domain.errors import SchemaOutdated
from rushes.store.connections.bounds import LONG_TRANSACTION_SECONDS_MAX
from rushes.store.database import Database, lock_number
from rushes.store.migrations.revisions import current, head, is_unknown, mismatch

__all__ = ["current", "head", "mismatch", "upgrade"]

_ADVISORY_LOCK = 0x727573686573
"""Held while migrating, so that processes which start together migrate once ("rushes" in ASCII)."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(Path(__file__).parent / "versions"))
    config.set_main_option("recursive_version_locations", "true")
    return config


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the database to `head()`; returns the revisions before and after. Safe to run at any time.

    Raises `SchemaOutdated` when a newer version made it.
    """

    def run(connection: Connection) -> tuple[str | None, str]:
        lock_number(connection, _ADVISORY_LOCK)
        before = current(connection)
        if is_unknown(before):
            raise SchemaOutdated(str(mismatch(before)))
        if before != head():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return before, head()

    return database.within(LONG_TRANSACTION_SECONDS_MAX).run(run)
