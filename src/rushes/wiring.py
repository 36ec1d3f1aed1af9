"""The only file that builds the parts from the settings."""

import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import make_url

from rushes import telemetry
from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import DatabaseUnreachable, NotFound, SettingsError
from rushes.domain.learned_schedule import LearnedSchedule
from rushes.domain.task import PollResult
from rushes.engine.archive import ArchiveLimits, Archiver
from rushes.engine.callbacks import callback_token
from rushes.engine.crew import Crew
from rushes.engine.downloads import Downloader
from rushes.engine.guarded_http import GuardedHttp
from rushes.engine.steward import UnconfirmedPolicy
from rushes.engine.worker import Worker, WorkerConfig
from rushes.providers.base import Provider, ProviderConfig, ProviderLimits
from rushes.providers.contained import build_contained
from rushes.providers.http import HttpTransport
from rushes.providers.registry import installed_providers, is_built_in
from rushes.settings import ProviderUrl, Settings
from rushes.store.database import POSTGRESQL_IDLE_SECONDS, Database
from rushes.store.objects import ObjectStore

OTHER_HOSTS_MAX = 16
"""Hosts that providers had before and that this process keeps connections to."""

log = telemetry.logger()


def wall_clock_ms() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def new_batch_id() -> str:
    """A public batch id that cannot be guessed."""
    return f"bat_{secrets.token_hex(12)}"


def new_worker_id() -> str:
    """A worker id that is never used twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


# --- building the parts -------------------------------------------------------------------------------


def open_database(settings: Settings) -> Database:
    """The configured database; for a SQLite file its folder is made. Nothing is migrated."""
    database = Database(
        settings.database_url,
        busy_timeout_seconds=settings.sqlite_busy_timeout_seconds,
        # a worker that stands still for a lease must not hold up those who take over
        postgresql_idle_seconds=min(POSTGRESQL_IDLE_SECONDS, settings.lease_seconds),
    )
    path = database.sqlite_path
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnreachable(f"cannot make the folder {path.parent}: {error.strerror}") from error
    return database


def missing_sqlite_file(settings: Settings) -> Path | None:
    """The configured SQLite file if it is not there yet; None when it is, and for other databases."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    path = Path(str(url.database))
    return None if path.exists() else path


class Providers(dict[str, Provider]):
    """Providers by name. Whoever builds them closes them, on the event loop that used them."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[HttpTransport] = []

    async def close(self) -> None:
        """Release their connections; requests under way fail."""
        for transport in self.transports:
            await transport.close()


def build_providers(settings: Settings) -> Providers:
    """Every installed provider that has a key and can be built, by name, each over its own connections."""
    providers, troubles = try_providers(settings)
    for name, trouble in troubles.items():
        log.error(telemetry.PROVIDER_LEFT_OUT, provider=name, error=trouble)
    return providers


def try_providers(settings: Settings) -> tuple[Providers, dict[str, str]]:
    """`build_providers`, and why some of other packages were left out, by name."""
    providers = Providers()
    troubles: dict[str, str] = {}
    for name, account in settings.provider_accounts().items():
        if account.missing is not None:
            continue
        try:
            providers[name] = _provider(settings, providers.transports, name, account.host)
        except SettingsError as error:
            troubles[name] = error.message
    return providers, troubles


def _provider(settings: Settings, transports: list[HttpTransport], name: str, host: str) -> Provider:
    """The provider at that host, its transport added to those to be closed.

    Raises `SettingsError` for one of another package that cannot be built.
    """
    defaults = ProviderLimits()
    limits = ProviderLimits(
        submits_per_second=settings.submits_per_second or defaults.submits_per_second,
        polls_per_second=settings.polls_per_second or defaults.polls_per_second,
        poll_interval_min_seconds=(
            settings.poll_interval_min_seconds
            if settings.is_set("RUSHES_POLL_INTERVAL_MIN_SECONDS")
            else None
        ),
        in_flight_tasks_max=settings.in_flight_tasks_max or defaults.in_flight_tasks_max,
        connections_max=settings.connections_max or defaults.connections_max,
    )
    transport = HttpTransport(connections_max=limits.connections_max)
    transports.append(transport)
    config = ProviderConfig(
        host=host,
        api_key=settings.provider_account(name).key,
        transport=transport,
        timeout_seconds=settings.request_timeout_seconds,
        limits=limits,
    )
    entry_point = installed_providers()[name]
    if not is_built_in(entry_point):
        return build_contained(name, entry_point.load, config)
    provider: Provider = entry_point.load()(config)
    return provider


def provider_at(
    settings: Settings, name: str, host: str, *, transports: list[HttpTransport] | None = None
) -> Provider | None:
    """A provider at another host than the one that is set, with the same key: for what was sent there.

    None for a host that no setting may have, and for a provider that cannot be built.
    """
    try:
        checked: str = TypeAdapter(ProviderUrl).validate_python(host)
        return _provider(settings, [] if transports is None else transports, name, checked)
    except (ValidationError, SettingsError):
        return None


def catalogue_of(settings: Settings, providers: Mapping[str, Provider]) -> Catalogue:
    """The models as they are once the providers were built: those of one that could not be take no tasks."""
    with_key = [name for name, account in settings.provider_accounts().items() if account.missing is None]
    left_out = {
        name: f"{name} could not be started, see the log" for name in with_key if name not in providers
    }
    return settings.catalogue().with_unavailable(left_out)


def require_providers(settings: Settings) -> Providers:
    """`build_providers`; raises `SettingsError` when there is none."""
    providers = build_providers(settings)
    if not providers:
        raise SettingsError(
            "GRSAI_API_KEY is not set, nor any other provider's key: no provider can be used"
            " (`rushes doctor` lists them; `rushes serve --no-worker` serves without)"
        )
    return providers


def build_archiver(
    settings: Settings, database: Database, providers: Mapping[str, Provider]
) -> Archiver | None:
    """What fetches the files of successes; None when the operator keeps none."""
    if settings.archive_place is None:
        return None
    return Archiver(
        database,
        objects=ObjectStore(settings.archive_place),
        http=GuardedHttp(allow_private=settings.allow_private_urls),
        files_of={name: provider.result_files for name, provider in providers.items()},
        now_ms=wall_clock_ms,
        limits=ArchiveLimits(
            file_bytes_max=settings.archive_file_bytes_max,
            files_at_once_max=settings.archive_downloads_max,
            retention=settings.archive_retention or None,
        ),
    )


def build_downloader(settings: Settings, folder: Path, *, on_bytes: Callable[[int], None]) -> Downloader:
    """What copies videos into the folder: from the archive or, without one, from their providers."""
    place = settings.archive_place
    return Downloader(
        folder,
        objects=None if place is None else ObjectStore(place),
        http=GuardedHttp(allow_private=settings.allow_private_urls),
        files_of={name: provider.result_files for name, provider in build_providers(settings).items()},
        on_bytes=on_bytes,
    )


def build_crew(settings: Settings, database: Database, providers: Mapping[str, Provider]) -> Crew:
    """A worker and, unless the operator keeps no videos, the archiver that it wakes."""
    archiver = build_archiver(settings, database, providers)
    if archiver is None:
        return Crew(build_worker(settings, database, providers), None)
    return Crew(build_worker(settings, database, providers, on_commit=archiver.wake), archiver)


def build_worker(
    settings: Settings,
    database: Database,
    providers: Mapping[str, Provider],
    *,
    on_commit: Callable[[], None] = lambda: None,
) -> Worker:
    """A worker of this process for the given providers; `on_commit` hears that outcomes were committed."""
    transports = providers.transports if isinstance(providers, Providers) else []
    return Worker(
        database,
        providers,
        catalogue=settings.catalogue(),
        schedule=LearnedSchedule(
            settings.poll_interval_min_seconds,
            settings.poll_interval_max_seconds,
            catalogue=settings.catalogue(),
            first_wait_max_seconds=(
                settings.poll_interval_max_seconds
                if settings.is_set("RUSHES_POLL_INTERVAL_MAX_SECONDS")
                else None
            ),
        ),
        config=WorkerConfig(
            lease_seconds=settings.lease_seconds,
            unconfirmed_grace_seconds=settings.unconfirmed_grace_seconds,
            unconfirmed_policy=UnconfirmedPolicy(settings.unconfirmed_policy),
            wait_seconds_max=settings.wait_seconds_max,
            failover_queue_max=settings.failover_queue_max,
            poll_backoff_seconds_max=settings.poll_interval_max_seconds,
            callback_url=callback_urls(settings),
            takes_callbacks=settings.base_url is not None,
            archives=settings.archive_place is not None,
            host=socket.gethostname(),
            pid=os.getpid(),
        ),
        now_ms=wall_clock_ms,
        new_id=new_worker_id,
        jitter=random.Random(),
        on_commit=on_commit,
        hosts={name: host for name in providers if (host := settings.provider_account(name).host)},
        provider_at=lru_cache(OTHER_HOSTS_MAX)(partial(provider_at, settings, transports=transports)),
    )


def callback_urls(settings: Settings) -> Callable[[str, int, int], str | None]:
    """Makes the callback URL of `(provider, task_id, attempt)`; None for each without a public base URL."""
    base_url, secret = settings.base_url, settings.webhook_secret
    if base_url is None:
        return lambda _provider, _task_id, _attempt: None
    if secret is None:
        raise SettingsError("RUSHES_WEBHOOK_SECRET must be set when RUSHES_BASE_URL is: it signs callbacks")
    key = secret.get_secret_value().encode()
    return lambda provider, task_id, attempt: (
        f"{base_url}/callbacks/{provider}/{callback_token(key, task_id=task_id, attempt=attempt)}"
    )


async def poll_remote_task(settings: Settings, provider: str, remote_task_id: str) -> PollResult:
    """Ask a provider once about a remote task; nothing is stored, and no database is needed.

    Raises `NotFound` for a provider that is not installed and `SettingsError` for one without a key.
    """
    account = settings.provider_account(provider)
    if provider not in installed_providers():
        raise NotFound(f'there is no provider "{provider}"; there are: {", ".join(installed_providers())}')
    if account.missing is not None:
        raise SettingsError(f"{provider} needs a key: set {account.missing}", variable=account.missing)
    providers, troubles = try_providers(settings)
    if provider in troubles:
        raise SettingsError(f"the provider {provider} cannot be used: {troubles[provider]}")
    try:
        return await providers[provider].poll_remote_task(remote_task_id)
    finally:
        await providers.close()
