"""The whole API as one ASGI application."""

import re
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from rushes.api import batches, events, files, models, operators, videos, webhooks
from rushes.api.compatible import earlier, openai_batches, openai_files
from rushes.api.credits import router as credits_router
from rushes.api.documentation import add_documentation
from rushes.api.edge.conditional import Conditional
from rushes.api.edge.cors import Cors
from rushes.api.edge.outermost import Edge
from rushes.api.edge.problems import add_problem_handlers
from rushes.api.media import uploads
from rushes.api.parts import ApiParts
from rushes.api.shapes import requests
from rushes.api.shapes.documents import add_openapi
from rushes.api.shapes.events import Event, StreamedEvent
from rushes.api.tenant import endpoints, event_log, keys, results, usage, verdicts

PREFIX: Final = "/v1"
OLDER_PREFIX: Final = "/api/v1"
"""Where clients of the earlier service look; the same routes, left out of the document."""

OPENAI_PREFIX: Final = "/openai/v1"
"""Where all that OpenAI's clients ask has its own names: batches too, which are others under `/v1`."""

_TENANT_ROUTERS: Final = (
    batches.router,
    verdicts.router,
    events.router,
    credits_router,
    videos.router,
    models.router,
    uploads.router,
    webhooks.router,
    endpoints.router,
    results.router,
    event_log.router,
    keys.router,
    usage.router,
)
_OPENAI_ROUTERS: Final = (videos.router, models.router)
_OPENAI_OWN_ROUTERS: Final = (openai_files.router, openai_batches.router)
_OTHER_ROUTERS: Final = (files.router, operators.router, earlier.router)


def build_api(parts: ApiParts) -> FastAPI:
    """The API over these parts: routes, refusals, request ids, the OpenAPI document at /openapi.json."""
    app = FastAPI(
        title="rushes",
        version=parts.version,
        redirect_slashes=False,
        openapi_url=None,  # it is encoded once, see `add_openapi`: to do so for each request takes 8 ms
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.parts = parts
    for router in _TENANT_ROUTERS:
        app.include_router(router, prefix=PREFIX)
        app.include_router(router, prefix=OLDER_PREFIX, include_in_schema=False)
    for router in _OPENAI_ROUTERS:
        app.include_router(router, prefix=OPENAI_PREFIX, include_in_schema=False)
    for router in _OPENAI_OWN_ROUTERS:
        app.include_router(router, prefix=OPENAI_PREFIX)
    for router in _OTHER_ROUTERS:
        app.include_router(router)
    app.state.methods_of_path = [
        *_methods(_TENANT_ROUTERS, PREFIX),
        *_methods(_TENANT_ROUTERS, OLDER_PREFIX),
        *_methods((*_OPENAI_ROUTERS, *_OPENAI_OWN_ROUTERS), OPENAI_PREFIX),
        *_methods(_OTHER_ROUTERS, ""),
    ]
    add_documentation(app, notice=parts.notice)
    add_problem_handlers(app)
    add_openapi(app, more_models=(requests.NewBatch, Event, StreamedEvent))
    app.add_middleware(Conditional)
    app.add_middleware(Cors, origins=parts.cors_origins)
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
