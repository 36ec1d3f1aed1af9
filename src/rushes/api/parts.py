"""Everything that the routes work with, put together by `rushes.service` and handed to `build_api`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from rushes.domain.catalogue import Catalogue
from rushes.engine.file_links import FileLinks
from rushes.engine.guarded_http import GuardedHttp
from rushes.engine.quotes import ProviderPace
from rushes.metrics import ServiceMetrics
from rushes.providers.base import ResultFiles
from rushes.store.database import Database
from rushes.store.objects import ObjectStore

if TYPE_CHECKING:
    from rushes.api.auth import KeyRing
    from rushes.api.events import EventHub
    from rushes.api.limits import RateLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """The API's collaborators. Time, ids and what other parts of the process do are functions.

    `webhook_secret_of(account_id)` is None when the operator has set no secret: then no batch may name a
    webhook. `callback_key` signs callback tokens; None turns callbacks off. `callback_readers` give the
    remote id that a provider's callback names, `files_of` how each provider's files are fetched. `objects`
    is None where no videos are kept. `on_accepted()` tells the worker of this process, if any, that there
    is work, and `on_callback(task_id, attempt, remote_task_id)` offers it a callback: False when it is not
    its task. `tick()` runs one bounded pass.
    """

    version: str
    database: Database
    catalogue: Catalogue
    now_ms: Callable[[], int]
    new_batch_id: Callable[[], str]
    new_video_id: Callable[[], str]
    new_request_id: Callable[[], str]
    keys: "KeyRing"
    limits: "RateLimits"
    events: "EventHub"
    files: GuardedHttp
    files_of: Mapping[str, ResultFiles]
    objects: ObjectStore | None
    links: FileLinks
    long_bodies: asyncio.Semaphore
    downloads: asyncio.Semaphore
    kept_downloads: asyncio.Semaphore
    ticking: asyncio.Lock
    metrics: ServiceMetrics
    pace_of: Mapping[str, ProviderPace]
    webhook_secret_of: Callable[[int], str] | None
    callback_key: bytes | None
    callback_readers: Mapping[str, Callable[[bytes], str | None]]
    on_accepted: Callable[[], None]
    on_callback: Callable[[int, int, str | None], bool]
    worker_secret: str | None
    metrics_token: str | None
    tick: Callable[[], Awaitable[dict[str, Any]]]


async def parts_of(request: Request) -> ApiParts:
    """The parts of this request's app. Not a plain function, which FastAPI would run on a thread."""
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(parts_of)]
