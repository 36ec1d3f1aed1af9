"""The service: the API, a worker and the webhook notifier in one process, started and stopped together."""

import asyncio
import contextlib
import random
import secrets
import socket
from collections.abc import Callable
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rushes import __version__, telemetry
from rushes.api.app import build_api
from rushes.api.auth import WRONG_KEYS_IN_ALL_MAX, WRONG_KEYS_MAX
from rushes.api.documentation import DOCUMENTATION_PATH
from rushes.api.edge.connections import EdgeLimits
from rushes.api.edge.key_ring import KeyRing
from rushes.api.edge.limits import RateLimits
from rushes.api.edge.open_answers import OpenAnswers
from rushes.api.edge.server import bound_socket, serve_until, url_of
from rushes.api.event_hub import EventHub
from rushes.api.parts import ApiParts
from rushes.api.video_files import DOWNLOADS_AT_ONCE_MAX, KEPT_AT_ONCE_MAX
from rushes.database_wiring import forecaster_of, new_batch_id, wall_clock_ms
from rushes.domain.api_key import KEY_RANDOM_BYTES, api_key_from, api_key_hash, shown_part
from rushes.domain.brake import Brake
from rushes.domain.notation import iso_time
from rushes.files.links import FileLinks
from rushes.files.objects import ObjectStore
from rushes.library import DEFAULT_ACCOUNT, Rushes
from rushes.metrics import ServiceMetrics
from rushes.notify.notifier import Notifier
from rushes.notify.secrets import WebhookSecrets
from rushes.provider_wiring import build_providers, catalogue_of, require_providers, result_files_of
from rushes.providers.base import SignsCallbacks
from rushes.providers.odd_json import task_of_callback
from rushes.read.installation.gauges import WorkerReport, decoded_report
from rushes.read.scope import ReadOnly
from rushes.run.tick import TickReport
from rushes.settings import Settings
from rushes.store import keys, ledger
from rushes.store.action_log import Actor
from rushes.wiring import (
    build_worker_process,
    gate_rules,
    guarded_http,
    own_public_key,
    require_strong_secrets,
    signing_key_of,
)

if TYPE_CHECKING:
    from rushes.dashboard.mount import Dashboard

DASHBOARD_PATH: Final = "/dashboard"
PORTAL_PATH: Final = "/portal"

NO_KEY_NOTICE: Final = (
    "No provider has a key yet, so no batch can be run. Set one, for example GRSAI_API_KEY, and start"
    " again; `rushes doctor` lists them all, and `rushes serve --demo` needs none."
)

LONG_BODIES_AT_ONCE_MAX: Final = 4
"""Large batches whose bodies are checked at the same time, each on a thread."""

log = telemetry.logger()


class Service:
    """One process's API and what runs beside it, over an open `Rushes`.

    It starts without any provider's key too; `notice` then says what is missing.
    """

    def __init__(self, rushes: Rushes, *, with_worker: bool) -> None:
        settings = rushes.settings
        require_strong_secrets(settings, rushes.database)
        self._rushes = rushes
        rushes.actor = Actor("api", "internal")  # the routes of operators, by the worker's secret
        self._providers = build_providers(settings)
        self.notice = None if self._providers else NO_KEY_NOTICE
        rushes.catalogue = catalogue_of(settings, self._providers)
        rushes.forecaster = forecaster_of(settings, rushes.catalogue, self._providers)
        self.worker_process = (
            build_worker_process(settings, rushes.database, self._providers) if with_worker else None
        )
        self.worker = None if self.worker_process is None else self.worker_process.worker
        self._stop = asyncio.Event()
        self._ticks: set[asyncio.Task[TickReport]] = set()
        self.http = guarded_http(settings)
        self.open_answers = OpenAnswers(rushes.database)
        self.events = EventHub(
            rushes.database,
            listeners_max=settings.streams_max,
            listeners_per_account_max=settings.streams_per_account_max,
            base=settings.base_url or "",
        )
        secrets = _values(settings.webhook_secret, settings.webhook_secret_previous)
        # without a secret that all processes and their successors know, links end with this process
        current, *older = [value.encode() for value in secrets] or [token_bytes(32)]
        self.links = FileLinks(current, settings.base_url or "", tuple(older))
        self._webhook_secrets = WebhookSecrets(*secrets) if settings.webhook_secret else None
        self.notifier = (
            None
            if self._webhook_secrets is None
            else Notifier(
                rushes.database,
                http=self.http,
                secrets=self._webhook_secrets,
                now_ms=wall_clock_ms,
                base=settings.base_url or "",
            )
        )
        self.app: FastAPI = build_api(self._parts())
        self.dashboard, self.dashboard_note = self._dashboard()
        if self.dashboard is not None:
            # the API redirects no slashes, and a mount does not answer for its bare path
            to_dashboard = partial(_to, f"{DASHBOARD_PATH}/")
            self.app.add_route(DASHBOARD_PATH, to_dashboard, methods=["GET"], include_in_schema=False)
            self.app.mount(DASHBOARD_PATH, self.dashboard.app)
        self._add_portal()
        home = DOCUMENTATION_PATH if self.dashboard is None else f"{DASHBOARD_PATH}/"
        self.app.add_route("/", partial(_to, home), methods=["GET"], include_in_schema=False)

    def _dashboard(self) -> tuple["Dashboard | None", str]:
        """The dashboard, or None; and where it is or why there is none, in a few words."""
        settings = self._rushes.settings
        if settings.dashboard_secret is None:
            return None, "no dashboard: RUSHES_DASHBOARD_SECRET is not set"
        from rushes.dashboard.mount import Dashboard
        from rushes.dashboard.parts import DashboardParts

        parts = DashboardParts(
            secret=settings.dashboard_secret.get_secret_value(),
            database=self._rushes.database,
            read=ReadOnly(self._rushes.database),
            now_ms=wall_clock_ms,
            new_nonce=lambda: secrets.token_urlsafe(24),
            new_batch_id=new_batch_id,
            on_work=self._wake,
            catalogue=self._rushes.catalogue,
            forecaster=self._rushes.forecaster,
            links=self.links.at(""),
            base_url=settings.base_url,
            valuation=settings.valuation,
            gate=gate_rules(settings),
            objects=None if settings.archive_place is None else ObjectStore(settings.archive_place),
            uploads=self._rushes.uploads,
            adopt=self._rushes.adopt,
            version=__version__,
            settings=[(one[0], one[1], one[2]) for one in settings.effective()],
            signing_key=partial(signing_key_of, settings),
            own_public_key=partial(own_public_key, settings),
        )
        return Dashboard(parts), f"dashboard at {DASHBOARD_PATH}/"

    def _add_portal(self) -> None:
        """Tenants' pages. Their cookies are signed as links are."""
        from rushes.dashboard.portal.mount import Portal, PortalParts

        portal = Portal(
            PortalParts(
                secret=self.links.secret,
                database=self._rushes.database,
                now_ms=wall_clock_ms,
                catalogue=self._rushes.catalogue,
                forecaster=self._rushes.forecaster,
                links=self.links.at(""),
                base_url=self._rushes.settings.base_url,
            )
        )
        to_portal = partial(_to, f"{PORTAL_PATH}/")
        self.app.add_route(PORTAL_PATH, to_portal, methods=["GET"], include_in_schema=False)
        self.app.mount(PORTAL_PATH, portal.app)

    def _parts(self) -> ApiParts:
        settings, database = self._rushes.settings, self._rushes.database
        return ApiParts(
            version=__version__,
            notice=self.notice,
            cors_origins=settings.cors_origins,
            database=database,
            catalogue=self._rushes.catalogue.for_tenants(),
            now_ms=wall_clock_ms,
            new_batch_id=new_batch_id,
            new_video_id=lambda: f"video_{secrets.token_hex(12)}",
            new_request_id=_request_ids(),
            new_endpoint_id=lambda: f"we_{secrets.token_hex(12)}",
            new_api_key=lambda: api_key_from(token_bytes(KEY_RANDOM_BYTES)),
            keys=KeyRing(database),
            open_answers=self.open_answers,
            limits=RateLimits(database, now_ms=wall_clock_ms),
            key_brake=Brake(failures_max=WRONG_KEYS_MAX, in_all_max=WRONG_KEYS_IN_ALL_MAX),
            secret_brake=Brake(),
            events=self.events,
            files=self.http,
            files_of=result_files_of(settings, self._providers),
            objects=None if settings.archive_place is None else ObjectStore(settings.archive_place),
            links=self.links,
            uploads=self._rushes.uploads,
            long_bodies=asyncio.Semaphore(LONG_BODIES_AT_ONCE_MAX),
            downloads=asyncio.Semaphore(DOWNLOADS_AT_ONCE_MAX),
            kept_downloads=asyncio.Semaphore(KEPT_AT_ONCE_MAX),
            ticking=asyncio.Lock(),
            metrics=ServiceMetrics(
                database,
                now_ms=wall_clock_ms,
                own_worker=self._own_report,
                valuation=settings.valuation,
                listener_count=lambda: self.events.listener_count,
            ),
            forecaster=self._rushes.forecaster,
            gate=gate_rules(settings),
            webhook_secrets=self._webhook_secrets,
            callback_secrets=[
                value.encode() for value in _values(settings.webhook_secret, settings.webhook_secret_previous)
            ],
            callback_readers={
                name: partial(task_of_callback, provider) for name, provider in self._providers.items()
            },
            callback_checks={
                name: provider.callback_is_genuine
                for name, provider in self._providers.items()
                if isinstance(provider, SignsCallbacks)
            },
            on_accepted=self._wake,
            on_callback=self._offer_callback,
            worker_secrets=_values(settings.worker_secret, settings.worker_secret_previous),
            metrics_tokens=_values(settings.metrics_token, settings.metrics_token_previous),
            tick=self._tick,
            adopt=self._adopt,
        )

    async def run(
        self, *, host: str, port: int, stop: asyncio.Event, ready: Callable[[str], None] = lambda _url: None
    ) -> None:
        """Serve until `stop` is set; `ready(url)` is called once it listens.

        Then nothing new is taken, requests and submissions under way end, and the lease is given back.
        Raises `InputError` when the address cannot be had.
        """
        listening = bound_socket(host, port)
        self._stop = stop
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self.events.run()),
                    group.create_task(self.open_answers.run()),
                ]
                if self.worker_process is not None:
                    group.create_task(self.worker_process.run(stop))
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
                    await asyncio.gather(*self._ticks, return_exceptions=True)
        finally:
            listening.close()
            await self.close()
        log.info(telemetry.SERVICE_STOPPED)

    async def _serve(self, listening: socket.socket, stop: asyncio.Event) -> None:
        await serve_until(
            self.app,
            listening,
            stop,
            on_stopping=self._end_streams,
            limits=_edge_limits(self._rushes.settings),
        )

    def _end_streams(self) -> None:
        self.events.close()
        if self.dashboard is not None:
            self.dashboard.close()

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

    async def _adopt(
        self, batch_id: str, index: int, remote_task_id: str, account: str | None
    ) -> dict[str, Any]:
        return await self._rushes.adopt(batch_id, index, remote_task_id, account=account)

    async def _tick(self) -> dict[str, Any]:
        if not self._providers:
            self._providers = require_providers(self._rushes.settings)  # one may have come since the start
        process = build_worker_process(self._rushes.settings, self._rushes.database, self._providers)
        # the pass goes on when its caller hangs up or the server closes: a submit under way needs its time
        ticking = asyncio.create_task(process.tick(stop=self._stop))
        self._ticks.add(ticking)
        ticking.add_done_callback(self._ticks.discard)
        return (await asyncio.shield(ticking)).as_dict()


def _edge_limits(settings: Settings) -> EdgeLimits:
    return EdgeLimits(
        connections_max=settings.clients_max,
        connections_per_address_max=settings.clients_per_address_max,
        bodies_per_address_max=settings.bodies_per_address_max,
        trusted_proxies=settings.trusted_proxies,
    )


def _values(*secrets: SecretStr | None) -> list[str]:
    """The current secret and the one before it; none when there is no current one."""
    if secrets[0] is None:
        return []
    return [secret.get_secret_value() for secret in secrets if secret is not None]


async def _to(path: str, request: Request) -> Response:
    return RedirectResponse(request.scope.get("root_path", "") + path)


def _request_ids() -> Callable[[], str]:
    """Makes ids that no other process makes; no secret, so that the system is asked for randomness once."""
    source = random.Random(secrets.randbits(128))
    return lambda: f"req_{source.getrandbits(64):016x}"


# --- keys -----------------------------------------------------------------------------------------------


async def create_key(
    rushes: Rushes,
    *,
    account: str = DEFAULT_ACCOUNT,
    name: str = "",
    rate_limit_per_min: int | None = keys.RATE_LIMIT_PER_MIN,
) -> dict[str, Any]:
    """A new key of the account, which is made when it is new: the only time that the key itself is seen."""
    key, now_ms = api_key_from(secrets.token_bytes(KEY_RANDOM_BYTES)), wall_clock_ms()

    def run(connection: Connection) -> int:
        key_id = keys.create(
            connection,
            ledger.ensure_account(connection, account, now_ms),
            name=name,
            shown=shown_part(key),
            key_hash=api_key_hash(key),
            rate_limit_per_min=rate_limit_per_min,
            now_ms=now_ms,
        )
        facts = {"account": account, "name": name, "rate_limit_per_min": rate_limit_per_min}
        rushes.acted(connection, "key.create", f"key {key_id}", after=facts)
        return key_id

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
    """Revoke a key permanently; services that knew it learn of it within two seconds. Raises `NotFound`."""
    now_ms = wall_clock_ms()

    def run(connection: Connection) -> None:
        if keys.revoke(connection, key_id, now_ms=now_ms):
            rushes.acted(
                connection, "key.revoke", f"key {key_id}", before={"revoked": False}, after={"revoked": True}
            )

    await rushes.database.transact(run)
