"""The database and the forecasts behind it, built from the settings: all that a look at the books needs.

`wiring` builds the rest. What is imported here is imported by every command, and paid for in its start.
"""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from rushes.domain.errors import DatabaseUnreachable
from rushes.store.connections.place import DatabaseSettings
from rushes.store.database import POSTGRESQL_IDLE_SECONDS, Database

if TYPE_CHECKING:
    from rushes.domain.catalogue.catalogue import Catalogue
    from rushes.providers.base import Provider
    from rushes.read.forecasts import Forecaster, ProviderPace
    from rushes.settings import Settings


def wall_clock_ms() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def new_batch_id() -> str:
    """A public batch id that cannot be guessed."""
    return f"bat_{secrets.token_hex(12)}"


def open_database(settings: DatabaseSettings, *, reads_only: bool = False) -> Database:
    """The configured database; for a SQLite file its folder is made, mode 0700. Nothing is migrated.

    With `reads_only` nothing is made, and a SQLite file is never written to.
    """
    database = Database(
        settings.database_url,
        busy_timeout_seconds=settings.sqlite_busy_timeout_seconds,
        # a worker that stands still for a lease must not hold up those who take over
        postgresql_idle_seconds=min(POSTGRESQL_IDLE_SECONDS, settings.lease_seconds),
        seconds_max=settings.database_timeout_seconds,
        leases_by_its_clock=True,
        reads_only=reads_only,
    )
    path = database.sqlite_path
    if path is not None and not reads_only:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnreachable(f"cannot make the folder {path.parent}: {error.strerror}") from error
    return database


def sqlite_file(settings: DatabaseSettings) -> Path | None:
    """The configured SQLite file, whether it is there or not; None for other databases."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database))


def missing_sqlite_file(settings: DatabaseSettings) -> Path | None:
    """The configured SQLite file if it is not there yet; None when it is, and for other databases."""
    path = sqlite_file(settings)
    return None if path is None or path.exists() else path


def forecaster_of(
    settings: "Settings", catalogue: "Catalogue", providers: "Mapping[str, Provider] | None" = None
) -> "Forecaster":
    """Forecasts by the limits of these providers; without them, by those that are set for all."""
    from rushes.read.forecasts import Forecaster, ProviderPace

    if providers is None:
        pace = ProviderPace(settings.submits_per_second or None, settings.in_flight_tasks_max or None)
        pace_of = dict.fromkeys((model.provider for model in catalogue), pace)
    else:
        pace_of = paces_of(providers)
    return Forecaster(
        catalogue,
        pace_of,
        unconfirmed_grace_seconds=settings.unconfirmed_grace_seconds,
        not_found_grace_seconds=settings.not_found_grace_seconds,
        resubmits=settings.unconfirmed_policy == "resubmit",
    )


def paces_of(providers: "Mapping[str, Provider]") -> "dict[str, ProviderPace]":
    """What these providers allow."""
    from rushes.read.forecasts import ProviderPace

    return {
        name: ProviderPace(provider.limits.submits_per_second, provider.limits.in_flight_tasks_max)
        for name, provider in providers.items()
    }
