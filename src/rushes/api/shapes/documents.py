"""What the OpenAPI document says beyond the routes themselves: tags, keys, and the shape of refusals."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from rushes.api.edge.problems import PROBLEM_TYPE, is_openai_path, openai_error
from rushes.api.shapes.events import webhooks_section
from rushes.api.shapes.examples import add_examples

BATCHES: Final = "batches"
CREDITS: Final = "credits"
VIDEOS: Final = "videos"
MODELS: Final = "models"
UPLOADS: Final = "uploads"
WEBHOOKS: Final = "webhooks"
OPENAI: Final = "openai"
ACCOUNT: Final = "account"
OPERATORS: Final = "operators"

ROOTS_MAX: Final = 8
"""Paths of a proxy or an app around this one under which the encoded document is kept."""

_TAGS: Final = [
    {"name": BATCHES, "description": "Many prompts at once: reserve, follow, cancel, retry, export."},
    {"name": CREDITS, "description": "Prepaid credits: balance, lots and the append-only ledger."},
    {"name": VIDEOS, "description": "One video at a time, in the shapes of the OpenAI SDK."},
    {"name": MODELS, "description": "What may be asked for, at what price, and how well it goes."},
    {"name": UPLOADS, "description": "Pictures, videos and sounds that are to go into videos."},
    {"name": WEBHOOKS, "description": "Events pushed to you, signed as Standard Webhooks."},
    {"name": OPENAI, "description": "Files and batches in the shapes of OpenAI's Batch API."},
    {"name": ACCOUNT, "description": "Keys, usage, and everything that happened, over all batches."},
    {"name": OPERATORS, "description": "For whoever runs the service, and for providers' callbacks."},
]

_DESCRIPTION: Final = """Runs batches of remote AI-video tasks to completion, settles prepaid credits exactly.

Send your key as `x-api-key`, or as `Authorization: Bearer …`. The same routes answer under `/api/v1`.

Every refusal is a problem document (RFC 9457): `status`, `error` (a code), `message`, `request_id` and facts.
Every answer carries `x-request-id`. Repeating a request with the same `Idempotency-Key` is harmless.
"""

_EXAMPLES: Final[Mapping[int, tuple[str, str, dict[str, Any]]]] = {
    400: ("BAD_REQUEST", "the batch has already finished", {}),
    401: ("INVALID_API_KEY", "the key is wrong or was revoked", {}),
    402: (
        "INSUFFICIENT_CREDITS",
        "100 credits are required, 40 are available: 60 are missing",
        {"required": 100, "available": 40, "missing": 60},
    ),
    403: ("SCOPE_MISSING", "the key may read; this needs a key with the scope submit", {"scope": "read"}),
    404: ("NOT_FOUND", 'there is no batch "bat_5f1c0a9d3e7b24680f13579a"', {}),
    408: ("BODY_TOO_SLOW", "the body did not come within 60 seconds", {}),
    409: ("IDEMPOTENCY_IN_PROGRESS", "the first request with this id is still running", {}),
    410: ("VIDEO_EXPIRED", "the provider no longer has the file", {}),
    413: ("BODY_TOO_LARGE", "the body has more than 262144 bytes", {"bytes_max": 262144}),
    414: ("URI_TOO_LONG", "the URL has more than 32768 bytes", {}),
    415: ("UNSUPPORTED_MEDIA_TYPE", "send application/json, with that Content-Type", {}),
    416: ("RANGE_NOT_SATISFIABLE", "the file has no such range", {}),
    422: (
        "INVALID_INPUT",
        'items[3].duration: must be 10 or 15, not "long"',
        {"field": "items[3].duration", "errors": []},
    ),
    429: ("RATE_LIMIT_EXCEEDED", "more than 600 requests in a minute; wait 12 s", {"limit": 600}),
    502: ("URL_UNREACHABLE", "timed out", {}),
    503: ("DATABASE_BUSY", "the database is busy or away; try again", {}),
}

_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "The request is malformed, or the state does not allow it.",
    401: "The key is missing, wrong or revoked.",
    402: "The credits do not cover it; nothing was written.",
    403: "The key's scope does not allow it.",
    404: "There is no such thing, or it is another account's.",
    408: "The body came too slowly.",
    409: "Not yet.",
    410: "The file is gone.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is of another kind than the route takes.",
    416: "The file has no such range.",
    422: "The input is wrong; the message names the field.",
    429: "Too many requests; `Retry-After` says how long to wait.",
    500: "A fault of the service.",
    502: "The place where the file lies did not answer.",
    503: "The service cannot answer at the moment.",
}

_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457, with the fields of the older API. Further fields are facts of the code.",
    "additionalProperties": True,
    "required": [
        "type", "title", "status", "detail", "request_id", "ok", "error", "message",
    ],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "ok": {"type": "boolean", "enum": [False]},
        "error": {"type": "string", "description": "The code to act on."},
        "message": {"type": "string"},
        "field": {"type": "string", "description": "Where in the body or query the fault lies."},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}  # fmt: skip

_OPENAI_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    **_PROBLEM_SCHEMA,
    "title": "OpenAIProblem",
    "description": "The same with the error in OpenAI's own shape, so that its SDKs show the message.",
    "properties": {
        **_PROBLEM_SCHEMA["properties"],
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string", "description": "The code to act on."},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
            },
        },
    },
}

_NOT_MODIFIED: Final = {"description": "The asker has it already: `If-None-Match` names its `ETag`."}

_ALWAYS: Final = (401, 403, 429, 500, 503)
"""What any route that asks for a key may answer."""


def problem(status: int) -> dict[str, Any]:
    """One refusal, for a route's `responses`."""
    code, message, facts = _EXAMPLES.get(status, ("INTERNAL_ERROR", "something went wrong here", {}))
    example = {
        "type": f"urn:rushes:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": message,
        "request_id": "req_0123456789abcdef",
        "ok": False,
        "error": code,
        "message": message,
        **facts,
    }
    return {
        "description": _DESCRIPTIONS[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }


def answers(
    *statuses: int, ok: Mapping[int | str, dict[str, Any]] | None = None, keyed: bool = True
) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`: these refusals, those of every keyed route, and `ok`."""
    refusals = sorted({*statuses, *(_ALWAYS if keyed else (500,))})
    return {**(ok or {}), **{status: problem(status) for status in refusals}}


def json_body(model: type[Any], example: Mapping[str, Any]) -> dict[str, Any]:
    """`openapi_extra` for a route that reads its JSON body by itself; the schema is a pydantic model's."""
    content = {"application/json": {"schema": body_schema(model), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


_BODY_MODELS: Final[dict[str, type[Any]]] = {}
"""The bodies that routes read by themselves, by the names under which the document has them."""


def body_schema(model: type[Any]) -> dict[str, Any]:
    """The schema of a body that a route reads by itself, as a reference into the document."""
    _BODY_MODELS[model.__name__] = model
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def add_openapi(app: FastAPI, *, more_models: tuple[type[Any], ...]) -> None:
    """Give the app a complete document: problem shape, keys, and models that no route names by itself."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title="rushes",
                version=app.version,
                description=_DESCRIPTION,
                routes=app.routes,
                tags=_TAGS,
                servers=[{"url": "/", "description": "This service."}],
                license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
            )
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = _PROBLEM_SCHEMA
            for model in (*_BODY_MODELS.values(), *more_models):
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(schema.pop("$defs", {}))
                schemas.setdefault(model.__name__, schema)
            made["components"]["securitySchemes"] = {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "workerSecret": {"type": "apiKey", "in": "header", "name": "x-worker-secret"},
            }
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for operations in made["paths"].values():
                for operation in operations.values():
                    if _is_fastapis_own(operation["responses"].get("422")):
                        del operation["responses"]["422"]  # an id that can be none is not found
            for path, operations in made["paths"].items():
                for method, operation in operations.items():
                    operation["security"] = _security(path)
                    _may_be_unchanged(method, operation["responses"])
            schemas["OpenAIProblem"] = _OPENAI_PROBLEM_SCHEMA
            for path, operations in made["paths"].items():
                if is_openai_path(path):
                    for operation in operations.values():
                        _in_openai_shape(operation["responses"])
            made["webhooks"] = webhooks_section(WEBHOOKS)
            add_examples(made)
            _drop_null_defaults(made)
            app.openapi_schema = made
        return app.openapi_schema

    @lru_cache(maxsize=ROOTS_MAX)
    def encoded(root: str) -> bytes:
        found = document()
        if root:
            found = found | {"servers": [{"url": root}, *found["servers"]]}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()

    async def answer(request: Request) -> Response:
        return Response(
            encoded(request.scope.get("root_path", "").rstrip("/")), media_type="application/json"
        )

    app.openapi = document  # type: ignore[method-assign]
    app.add_route("/openapi.json", answer, methods=["GET"], include_in_schema=False)


def _security(path: str) -> list[dict[str, list[str]]]:
    if path.startswith(("/v1/", "/openai/v1/")):
        return [{"apiKey": []}, {"bearer": []}]
    return [{"workerSecret": []}] if path.startswith("/internal/") else []


def _may_be_unchanged(method: str, responses: dict[str, Any]) -> None:
    """JSON answers of GET have an ETag, see `edge.conditional`."""
    if method == "get" and "application/json" in responses.get("200", {}).get("content", {}):
        responses.setdefault("304", _NOT_MODIFIED)


def _drop_null_defaults(document: dict[str, Any]) -> None:
    """A default of null makes generated clients take a field for one that is always there."""
    level: list[Any] = [document["components"]["schemas"], document["paths"]]
    while level:
        part = level.pop()
        if isinstance(part, list):
            level += part
        elif isinstance(part, dict):
            if part.get("default", "") is None:
                del part["default"]
            level += [inner for name, inner in part.items() if name not in ("example", "examples")]


def _in_openai_shape(responses: Mapping[str, Any]) -> None:
    """The refusals among these answers, as they are under the paths of OpenAI's API."""
    for status, answer in responses.items():
        content = answer.get("content", {}).get(PROBLEM_TYPE)
        if content is not None:
            example = content["example"]
            error = openai_error(int(status), example["error"], example["message"], example.get("field"))
            content["schema"] = {"$ref": "#/components/schemas/OpenAIProblem"}
            content["example"] = {**example, "error": error}


def _is_fastapis_own(answer: Mapping[str, Any] | None) -> bool:
    """Whether FastAPI put the refusal there by itself, for a path's parameter."""
    return answer is not None and PROBLEM_TYPE not in answer["content"]
