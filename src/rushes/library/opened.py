"""The database and the settings behind `Rushes`, and what is done to the whole database."""

import asyncio
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection

from rushes import telemetry
from rushes.database_wiring import forecaster_of, open_database, wall_clock_ms
from rushes.domain.credits import LotKind
from rushes.read.batch_views import batch_view
from rushes.store import action_log, ledger
from rushes.store.action_log import Actor
from rushes.store.connections.place import DatabasePlace
from rushes.store.migrations import revisions

if TYPE_CHECKING:
    from rushes.domain.catalogue.catalogue import Catalogue
    from rushes.files.uploads import Uploads
    from rushes.provider_wiring import Providers
    from rushes.read.forecasts import Forecaster
    from rushes.settings import Settings

DEFAULT_ACCOUNT = "default"


def _route_logs() -> None:
    """Give log lines to the standard `logging` (name `rushes`), unless the program has set structlog up."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


class Opened:
    """What all parts of `Rushes` stand on: open it, close it, migrate it, back it up."""

    def __init__(
        self,
        settings: "Settings | None" = None,
        *,
        migrated: bool = True,
        reads_only: bool = False,
        place: DatabasePlace | None = None,
    ) -> None:
        """With a `place` the settings are read only when something asks for them."""
        telemetry.before_the_first_line(_route_logs)
        self._settings = settings
        self.database = open_database(place or self.settings, reads_only=reads_only)
        self.actor: Actor | None = None
        """Who acts through it: each act is then written into the log of actions, by its own transaction."""
        self._migrates = migrated
        self._providers: list[Providers] = []

    @cached_property
    def settings(self) -> "Settings":
        """The settings that it works by."""
        from rushes.settings import Settings

        return self._settings or Settings.load()

    @cached_property
    def catalogue(self) -> "Catalogue":
        """The models that there are."""
        return self.settings.catalogue()

    @cached_property
    def forecaster(self) -> "Forecaster":
        """Who knows when batches are done."""
        return forecaster_of(self.settings, self.catalogue)

    @cached_property
    def uploads(self) -> "Uploads":
        """The files that items may name as their pictures, videos and sounds."""
        from rushes.wiring import build_uploads

        return build_uploads(self.settings, self.database)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.prepare)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def prepare(self) -> None:
        """Bring the database to this version's schema."""
        if self._migrates:
            self.migrate()
        else:
            self.database.run_reading(revisions.require_current)

    async def aclose(self) -> None:
        """Release the connections to providers, and close the database."""
        for providers in self._providers:
            await providers.close()
        await asyncio.to_thread(self.close)  # a second signal is still heard meanwhile

    def acted(
        self,
        connection: Connection,
        action: str,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Write into the log of actions what this transaction does, if somebody is named who does it."""
        if self.actor is not None:
            now_ms = wall_clock_ms()
            action_log.record(
                connection, self.actor, action, subject, before=before, after=after, now_ms=now_ms
            )

    def grant_in(
        self,
        connection: Connection,
        account: str,
        amount: int,
        *,
        kind: LotKind = LotKind.PERMANENT,
        expires_at_ms: int | None = None,
        description: str = "",
        now_ms: int,
    ) -> None:
        """Give an account credits as part of this transaction, and write that into the log of actions."""
        ledger.grant(
            connection,
            ledger.ensure_account(connection, account, now_ms),
            amount,
            now_ms=now_ms,
            kind=kind,
            expires_at_ms=expires_at_ms,
            description=description,
        )
        facts = {"amount": amount, "kind": kind.value, "description": description}
        self.acted(connection, "credits.grant", f"account {account}", after=facts)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def schema_revisions(self) -> tuple[str | None, str]:
        """The database's revision (None when it is empty) and the one that this version needs."""
        return self.database.run_reading(revisions.current), revisions.head()

    def migrate(self) -> tuple[str | None, str]:
        """Bring the database to this version's schema; returns the revisions before and after."""
        from rushes.store.migrations import migrate

        return migrate.upgrade(self.database)

    async def damage(self, *, seconds_max: float) -> list[str] | None:
        """What SQLite's own check of the file finds; None when it took longer. PostgreSQL has none."""
        from rushes.store.tables import guards

        ends = time.monotonic() + seconds_max
        return await self.database.read(guards.damage_until, lambda: time.monotonic() > ends)

    async def backup(self, folder: str | Path) -> dict[str, Any]:
        """Copy the database into a folder while it is in use; returns what was written.

        `folder`, `file`, `database` (`sqlite` or `postgresql`), `revision`, `bytes`, `sha256`, `made_at` and
        the `version` of rushes; the same stands in `backup.json` beside the copy.
        """
        from rushes import __version__  # which imports this module
        from rushes.store.retention import backup

        return await asyncio.to_thread(
            backup.back_up, self.database, Path(folder), version=__version__, now_ms=wall_clock_ms()
        )

    async def vacuum(self) -> None:
        """Give space that rows have left back to the disk; takes as long as a copy, and locks others out."""
        await asyncio.to_thread(self.database.vacuum)

    def _batch_view(self, connection: Connection, row: Mapping[str, Any]) -> dict[str, Any]:
        eta = self.forecaster.etas(connection, [row], wall_clock_ms())[row["id"]]
        return batch_view(row, eta=eta)
