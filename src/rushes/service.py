"""The service: the API, a worker and the webhook notifier in one process, started and stopped together."""

import asyncio
import contextlib
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rushes import __version__, telemetry
from rushes.api.app import build_api
from rushes.api.auth import KeyRing
from rushes.api.events import EventHub
from rushes.api.limits import RateLimits
from rushes.api.parts import ApiParts
from rushes.api.server import bound_socket, serve_until, url_of
from rushes.api.video_files import DOWNLOADS_AT_ONCE_MAX, KEPT_AT_ONCE_MAX
from rushes.domain.api_key import KEY_RANDOM_BYTES, api_key_from, api_key_hash, shown_part
from rushes.engine.file_links import FileLinks
from rushes.engine.gauges import WorkerReport, decoded_report
from rushes.engine.guarded_http import GuardedHttp
from rushes.engine.notify import Notifier
from rushes.engine.operator_reads import ReadOnly
from rushes.engine.quotes import ProviderPace
from rushes.engine.signing_key import KEY_SEED_BYTES, SIGNING_KEY_FILE, load_or_create_signing_key
from rushes.engine.views import iso_time
from rushes.engine.webhook_secrets import webhook_secret
from rushes.library import DEFAULT_ACCOUNT, Rushes
from rushes.metrics import ServiceMetrics
from rushes.providers.base import Provider
from rushes.store import keys, ledger
from rushes.store.objects import ObjectStore
from rushes.wiring import (
    build_crew,
    build_providers,
    catalogue_of,
    new_batch_id,
    require_providers,
    wall_clock_ms,
)

if TYPE_CHECKING:
    from rushes.dashboard.mount import Dashboard

DASHBOARD_PATH: Final = "/dashboard"

LONG_BODIES_AT_ONCE_MAX: Final = 4
"""Large batches whose bodies are checked at the same time, each on a thread."""

RATE_LIMIT_PER_MIN: Final = 600
"""The limit of a new key for which no other is named."""

log = telemetry.logger()


class Service:
    """One process's API and what runs beside it, over an open `Rushes`.

    Raises `SettingsError` when it shall work and no provider has a key.
    """

    def __init__(self, rushes: Rushes, *, with_worker: bool) -> None:
        settings = rushes.settings
        self._rushes = rushes
        self._providers = require_providers(settings) if with_worker else build_providers(settings)
        rushes.catalogue = catalogue_of(settings, self._providers)
        self.crew = build_crew(settings, rushes.database, self._providers) if with_worker else None
        self.worker = None if self.crew is None else self.crew.worker
        self.http = GuardedHttp(allow_private=settings.allow_private_urls)
        self.events = EventHub(rushes.database)
        secret = settings.webhook_secret
        # without a secret that all processes and their successors know, links end with this process
        link_key = secrets.token_bytes(32) if secret is None else secret.get_secret_value().encode()
        self.links = FileLinks(link_key, settings.base_url or "")
        self._webhook_secret_of = (
            None if secret is None else partial(webhook_secret, secret.get_secret_value())
        )
        self.notifier = (
            None
            if self._webhook_secret_of is None
            else Notifier(
                rushes.database,
                http=self.http,
                secret_of=self._webhook_secret_of,
                now_ms=wall_clock_ms,
            )
        )
        self.app: FastAPI = build_api(self._parts())
        self.dashboard, self.dashboard_note = self._dashboard()
        if self.dashboard is not None:
            # the API redirects no slashes, and a mount does not answer for its bare path
            self.app.add_route(DASHBOARD_PATH, _to_dashboard, methods=["GET"], include_in_schema=False)
            self.app.mount(DASHBOARD_PATH, self.dashboard.app)

    def _dashboard(self) -> tuple["Dashboard | None", str]:
        """The dashboard, or None; and where it is or why there is none, in a few words."""
        settings = self._rushes.settings
        if settings.dashboard_secret is None:
            return None, "no dashboard: RUSHES_DASHBOARD_SECRET is not set"
        try:
            from rushes.dashboard.mount import Dashboard
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "nicegui":
                raise
            return None, "no dashboard: NiceGUI is missing; pip install 'rushes[dashboard]'"
        from rushes.dashboard.parts import DashboardParts

        parts = DashboardParts(
            secret=settings.dashboard_secret.get_secret_value(),
            database=self._rushes.database,
            read=ReadOnly(self._rushes.database),
            now_ms=wall_clock_ms,
            new_nonce=lambda: secrets.token_urlsafe(12),
            on_work=self._wake,
            catalogue=self._rushes.catalogue,
            links=self.links.at(""),
            base_url=settings.base_url,
            signing_key=partial(
                load_or_create_signing_key,
                settings.data_dir / SIGNING_KEY_FILE,
                seed=secrets.token_bytes(KEY_SEED_BYTES),
            ),
        )
        return Dashboard(parts), f"dashboard at {DASHBOARD_PATH}/"

    def _parts(self) -> ApiParts:
        settings, database = self._rushes.settings, self._rushes.database
        secret, worker_secret, token = settings.webhook_secret, settings.worker_secret, settings.metrics_token
        return ApiParts(
            version=__version__,
            database=database,
            catalogue=self._rushes.catalogue,
            now_ms=wall_clock_ms,
            new_batch_id=new_batch_id,
            new_video_id=lambda: f"video_{secrets.token_hex(12)}",
            new_request_id=_request_ids(),
            keys=KeyRing(database),
            limits=RateLimits(database, now_ms=wall_clock_ms),
            events=self.events,
            files=self.http,
            files_of={name: provider.result_files for name, provider in self._providers.items()},
            objects=None if settings.archive_place is None else ObjectStore(settings.archive_place),
            links=self.links,
            long_bodies=asyncio.Semaphore(LONG_BODIES_AT_ONCE_MAX),
            downloads=asyncio.Semaphore(DOWNLOADS_AT_ONCE_MAX),
            kept_downloads=asyncio.Semaphore(KEPT_AT_ONCE_MAX),
            ticking=asyncio.Lock(),
            metrics=ServiceMetrics(
                database,
                now_ms=wall_clock_ms,
                own_worker=self._own_report,
                listener_count=lambda: self.events.listener_count,
            ),
            pace_of=_paces(self._providers),
            webhook_secret_of=self._webhook_secret_of,
            callback_key=None if secret is None else secret.get_secret_value().encode(),
            callback_readers={
                name: provider.remote_task_id_of_callback for name, provider in self._providers.items()
            },
            on_accepted=self._wake,
            on_callback=self._offer_callback,
            worker_secret=None if worker_secret is None else worker_secret.get_secret_value(),
            metrics_token=None if token is None else token.get_secret_value(),
            tick=self._tick,
        )

    async def run(
        self, *, host: str, port: int, stop: asyncio.Event, ready: Callable[[str], None] = lambda _url: None
    ) -> None:
        """Serve until `stop` is set; `ready(url)` is called once it listens.

        Then nothing new is taken, requests and submissions under way end, and the lease is given back.
        Raises `InputError` when the address cannot be had.
        """
        listening = bound_socket(host, port)
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(self.events.run())]
                if self.crew is not None:
                    group.create_task(self.crew.run(stop))
                if self.notifier is not None:
                    group.create_task(self.notifier.run(stop))
                url = url_of(listening)
                log.info(telemetry.SERVICE_STARTED, url=url, worker=self.worker is not None)
                ready(url)
                try:
                    await self._serve(listening, stop)
                finally:
                    stop.set()
                    for task in beside:
                        task.cancel()
        finally:
            listening.close()
            await self.close()
        log.info(telemetry.SERVICE_STOPPED)

    async def _serve(self, listening: socket.socket, stop: asyncio.Event) -> None:
        async with self.dashboard.running() if self.dashboard else contextlib.nullcontext():
            await serve_until(
                self.app,
                listening,
                stop,
                on_stopping=self.events.close,
                websockets=self.dashboard is not None,
            )

    async def close(self) -> None:
        """Release the connections to others; the database is the caller's."""
        with contextlib.suppress(Exception):
            await self.http.close()
            await self._providers.close()

    # --- what the API asks of the process ---------------------------------------------------------------

    def _wake(self) -> None:
        if self.worker is not None:
            self.worker.wake()

    def _offer_callback(self, task_id: int, attempt: int, remote_task_id: str | None) -> bool:
        if self.worker is None:
            return False
        return self.worker.nudges.offer(task_id, attempt=attempt, remote_task_id=remote_task_id)

    def _own_report(self) -> WorkerReport | None:
        if self.worker is None:
            return None
        return WorkerReport(self.worker.worker_id, decoded_report(self.worker.report()))

    async def _tick(self) -> dict[str, Any]:
        providers = self._providers or require_providers(self._rushes.settings)
        crew = build_crew(self._rushes.settings, self._rushes.database, providers)
        return (await crew.tick()).as_dict()


async def _to_dashboard(_request: Request) -> Response:
    return RedirectResponse(f"{DASHBOARD_PATH}/")


def _request_ids() -> Callable[[], str]:
    """Makes ids that no other process makes; no secret, so that the system is asked for randomness once."""
    source = random.Random(secrets.randbits(128))
    return lambda: f"req_{source.getrandbits(64):016x}"


def _paces(providers: Mapping[str, Provider]) -> dict[str, ProviderPace]:
    return {
        name: ProviderPace(provider.limits.submits_per_second, provider.limits.in_flight_tasks_max)
        for name, provider in providers.items()
    }


# --- keys -----------------------------------------------------------------------------------------------


async def create_key(
    rushes: Rushes,
    *,
    account: str = DEFAULT_ACCOUNT,
    name: str = "",
    rate_limit_per_min: int | None = RATE_LIMIT_PER_MIN,
) -> dict[str, Any]:
    """A new key of the account, which is made when it is new: the only time that the key itself is seen."""
    key, now_ms = api_key_from(secrets.token_bytes(KEY_RANDOM_BYTES)), wall_clock_ms()

    def run(connection: Connection) -> int:
        return keys.create(
            connection,
            ledger.ensure_account(connection, account, now_ms),
            name=name,
            shown=shown_part(key),
            key_hash=api_key_hash(key),
            rate_limit_per_min=rate_limit_per_min,
            now_ms=now_ms,
        )

    key_id = await rushes.database.transact(run)
    return {
        "key": key,
        "key_id": key_id,
        "account": account,
        "name": name,
        "rate_limit_per_min": rate_limit_per_min,
        "created_at": iso_time(now_ms),
    }


async def list_keys(rushes: Rushes, *, account: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Keys, newest first, without what would let anyone use them."""
    rows = await rushes.database.read(keys.list_keys, account=account, limit=limit)
    return [
        {
            "key_id": row["id"],
            "account": row["account"],
            "name": row["name"],
            "shown": f"{row['shown']}…",
            "rate_limit_per_min": row["rate_limit_per_min"],
            "created_at": iso_time(row["created_at_ms"]),
            "revoked_at": iso_time(row["revoked_at_ms"]),
        }
        for row in rows
    ]


async def revoke_key(rushes: Rushes, key_id: int) -> None:
    """Revoke a key for ever; services that knew it learn of it within two seconds. Raises `NotFound`."""
    await rushes.database.transact(keys.revoke, key_id, now_ms=wall_clock_ms())
