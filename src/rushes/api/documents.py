"""What the OpenAPI document says beyond the routes themselves: tags, keys, and the shape of refusals."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from rushes.api.event_shapes import webhooks_section
from rushes.api.examples import add_examples
from rushes.api.problems import PROBLEM_TYPE

BATCHES: Final = "batches"
CREDITS: Final = "credits"
VIDEOS: Final = "videos"
WEBHOOKS: Final = "webhooks"
OPERATORS: Final = "operators"

_TAGS: Final = [
    {"name": BATCHES, "description": "Many prompts at once: reserve, follow, cancel, retry, export."},
    {"name": CREDITS, "description": "Prepaid credits: balance, lots and the append-only ledger."},
    {"name": VIDEOS, "description": "One video at a time, in the shapes of the OpenAI SDK."},
    {"name": WEBHOOKS, "description": "Events pushed to you, signed as Standard Webhooks."},
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
    404: ("NOT_FOUND", 'there is no batch "bat_5f1c0a9d3e7b24680f13579a"', {}),
    408: ("BODY_TOO_SLOW", "the body did not come within 60 seconds", {}),
    409: ("IDEMPOTENCY_IN_PROGRESS", "the first request with this id is still running", {}),
    410: ("VIDEO_EXPIRED", "the provider no longer has the file", {}),
    413: ("BODY_TOO_LARGE", "the body has more than 262144 bytes", {"bytes_max": 262144}),
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
    400: "The request is malformed, or not possible as things stand.",
    401: "The key is missing, wrong or revoked.",
    402: "The credits do not cover it; nothing was written.",
    404: "There is no such thing, or it is another account's.",
    408: "The body came too slowly.",
    409: "Not yet.",
    410: "The file is gone.",
    413: "The body is too large.",
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

_ALWAYS: Final = (401, 429, 500, 503)
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
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


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
            )
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = _PROBLEM_SCHEMA
            for model in more_models:
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
                if path.startswith("/v1/"):
                    for operation in operations.values():
                        operation["security"] = [{"apiKey": []}, {"bearer": []}]
                elif path.startswith("/internal/"):
                    operations["post"]["security"] = [{"workerSecret": []}]
            made["webhooks"] = webhooks_section(WEBHOOKS)
            add_examples(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _is_fastapis_own(answer: Mapping[str, Any] | None) -> bool:
    """Whether FastAPI put the refusal there by itself, for a path's parameter."""
    return answer is not None and PROBLEM_TYPE not in answer["content"]
