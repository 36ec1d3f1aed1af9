"""The whole API as one ASGI application."""

import re
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from rushes.api import batches, events, files, models, operators, videos, webhooks
from rushes.api.credits import router as credits_router
from rushes.api.documents import add_openapi
from rushes.api.edge import Edge
from rushes.api.event_shapes import Event, StreamedEvent
from rushes.api.parts import ApiParts
from rushes.api.problems import add_problem_handlers

PREFIX: Final = "/v1"
OLDER_PREFIX: Final = "/api/v1"
"""Where clients of the earlier service look; the same routes, left out of the document."""

_TENANT_ROUTERS: Final = (
    batches.router,
    events.router,
    credits_router,
    videos.router,
    webhooks.router,
)
_OTHER_ROUTERS: Final = (files.router, operators.router)


def build_api(parts: ApiParts) -> FastAPI:
    """The API over these parts: routes, refusals, request ids, the OpenAPI document at /openapi.json."""
    app = FastAPI(title="rushes", version=parts.version, redirect_slashes=False)
    app.state.parts = parts
    for router in _TENANT_ROUTERS:
        app.include_router(router, prefix=PREFIX)
        app.include_router(router, prefix=OLDER_PREFIX, include_in_schema=False)
    for router in _OTHER_ROUTERS:
        app.include_router(router)
    app.state.methods_of_path = [
        *_methods(_TENANT_ROUTERS, PREFIX),
        *_methods(_TENANT_ROUTERS, OLDER_PREFIX),
        *_methods(_OTHER_ROUTERS, ""),
    ]
    add_problem_handlers(app)
    add_openapi(app, more_models=(models.NewBatch, models.Quote, Event, StreamedEvent))
    app.add_middleware(Edge, new_request_id=parts.new_request_id, on_request=parts.metrics.on_request)
    return app


def _methods(routers: Sequence[APIRouter], prefix: str) -> list[tuple[re.Pattern[str], frozenset[str]]]:
    """Each route's path as a pattern, and its methods: for `Allow`, which names those of all routes."""
    return [
        (compile_path(prefix + route.path)[0], frozenset(route.methods or ()))
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
