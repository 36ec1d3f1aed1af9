"""Everything that the routes work with, put together by `rushes.service` and handed to `build_api`."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from rushes.api.edge.key_ring import KeyRing
from rushes.api.edge.limits import RateLimits
from rushes.api.edge.open_answers import OpenAnswers
from rushes.api.event_hub import EventHub
from rushes.domain.acceptance.gate import NO_GATE, GateRules
from rushes.domain.brake import Brake
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.files.guard.client import GuardedHttp
from rushes.files.links import FileLinks
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads
from rushes.metrics import ServiceMetrics
from rushes.notify.secrets import WebhookSecrets
from rushes.providers.base import ResultFiles
from rushes.read.forecasts import Forecaster
from rushes.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """The API's collaborators. Time, ids and what other parts of the process do are functions.

    `webhook_secrets` is None when the operator has set no secret: then no batch may name a webhook.
    `callback_secrets` sign callback tokens, the current one first; none of them turns callbacks off.
    `callback_readers` give the remote id that a provider's callback names, `callback_checks` say whether
    the provider signed it, `files_of` how each provider's files are fetched. `objects` is None where no
    videos are kept. `on_accepted()` tells the worker of this process, if any, that there is work, and
    `on_callback(task_id, attempt, remote_task_id)` offers it a callback: False when it is not its task.
    `tick()` runs one bounded pass, and `adopt(batch_id, index, remote_task_id, account)` gives an item a
    remote task: see `Rushes.adopt`. `notice` stands at the top of the documentation: what keeps this
    service from working, or None.
    """

    version: str
    notice: str | None
    cors_origins: Collection[str]
    database: Database
    catalogue: Catalogue
    now_ms: Callable[[], int]
    new_batch_id: Callable[[], str]
    new_video_id: Callable[[], str]
    new_request_id: Callable[[], str]
    new_endpoint_id: Callable[[], str]
    new_api_key: Callable[[], str]
    keys: KeyRing
    open_answers: OpenAnswers
    limits: RateLimits
    key_brake: Brake
    secret_brake: Brake
    events: EventHub
    files: GuardedHttp
    files_of: Mapping[str, ResultFiles]
    objects: ObjectStore | None
    links: FileLinks
    uploads: Uploads
    long_bodies: asyncio.Semaphore
    downloads: asyncio.Semaphore
    kept_downloads: asyncio.Semaphore
    ticking: asyncio.Lock
    metrics: ServiceMetrics
    forecaster: Forecaster
    webhook_secrets: WebhookSecrets | None
    callback_secrets: Sequence[bytes]
    callback_readers: Mapping[str, Callable[[bytes], str | None]]
    callback_checks: Mapping[str, Callable[[bytes, Mapping[str, str]], bool]]
    on_accepted: Callable[[], None]
    on_callback: Callable[[int, int, str | None], bool]
    worker_secrets: Sequence[str]
    metrics_tokens: Sequence[str]
    tick: Callable[[], Awaitable[dict[str, Any]]]
    adopt: Callable[[str, int, str, str | None], Awaitable[dict[str, Any]]]
    gate: GateRules = NO_GATE


async def parts_of(request: Request) -> ApiParts:
    """The parts of this request's app. Not a plain function, which FastAPI would run on a thread."""
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(parts_of)]
