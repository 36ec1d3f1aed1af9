"""Refusals: every answer of 400 and above is a problem document (RFC 9457), with the older clients' fields.

{type, title, status, detail, request_id,  ok: false, error: "CODE", message,  …facts}

Under the paths of OpenAI's API `error` is OpenAI's own, so that its SDKs show the message:
{"error": {message, type, code, param},  …}
"""

import json
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from rushes import telemetry
from rushes.api.edge.parameters import faults_of
from rushes.domain import errors
from rushes.domain.catalogue.options import nearest, quoted
from rushes.files.guard.addresses import UrlRefused
from rushes.files.guard.client import NoAnswerFromUrl
from rushes.read.videos import VideoFailed, VideoNotFinished

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 1
"""What a client is asked to wait when the database was busy or away."""

_RESERVED: Final = frozenset(
    {"type", "title", "status", "detail", "request_id", "ok", "error", "message", "instance"}
)

_STATUS_OF: Final[Mapping[type[errors.RushesError], int]] = {
    errors.InputError: 422,
    errors.InsufficientCredits: 402,
    errors.DayCapReached: 402,
    errors.IdempotencyKeyReused: 422,
    errors.IdempotencyInProgress: 409,
    errors.NotFound: 404,
    errors.BatchNotCancellable: 400,
    errors.ItemNotCancellable: 400,
    errors.ItemNotJudgeable: 409,
    errors.ItemNotRetryable: 400,
    errors.ItemNotAdoptable: 400,
    errors.NotAuthorised: 401,
    VideoNotFinished: 409,
    VideoFailed: 400,
    errors.SettingsError: 503,
    UrlRefused: 422,
    NoAnswerFromUrl: 502,
}

CODE_OF_STATUS: Final[Mapping[int, str]] = {
    400: "BAD_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
"""Of what the router and the parsers refuse; any other status has its own name as its code."""

_OPENAI_PATH: Final = re.compile(r"(?:/api)?/v1/(?:videos|models)(?:/|\Z)|/openai/v1(?:/|\Z)")

_OPENAI_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
"""OpenAI's word for a status; others below 500 are `invalid_request_error`, above it `server_error`."""

log = telemetry.logger()


class Refusal(errors.RushesError):
    """What the API itself refuses: a status, a code, a message for people, and headers."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.status = status
        self.refusal_code = code
        self.headers = dict(headers or {})


def is_openai_path(path: str) -> bool:
    """Whether clients of OpenAI's API ask there."""
    return _OPENAI_PATH.match(path) is not None


def openai_error(status: int, code: str, message: str, field: object) -> dict[str, Any]:
    """A refusal as OpenAI's SDKs read it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"message": message, "type": _OPENAI_TYPES.get(status, kind), "code": code, "param": field}


def problem_response(
    request_id: str,
    path: str,
    *,
    status: int,
    code: str,
    message: str,
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The document as a response. Text that is not valid Unicode is escaped, so it can always be written.

    `path` is the request's: it tells in whose form the error is.
    """
    document = _document(request_id, status, code, message)
    document |= {name: value for name, value in (facts or {}).items() if name not in _RESERVED}
    if is_openai_path(path):
        document["error"] = openai_error(status, code, message, (facts or {}).get("field"))
    body = json.dumps(document, separators=(",", ":"), default=str).encode()
    return Response(body, status_code=status, headers=dict(headers or {}), media_type=PROBLEM_TYPE)


def response_to(request_id: str, path: str, error: errors.RushesError) -> Response:
    """The problem document of any error of the tree."""
    if isinstance(error, Refusal):
        return problem_response(
            request_id,
            path,
            status=error.status,
            code=error.refusal_code,
            message=error.message,
            facts=error.facts,
            headers=error.headers,
        )
    if isinstance(error, errors.StoreError):
        # what the database said is for the log, not for tenants
        log.error(telemetry.DATABASE_TROUBLE, request_id=request_id, error=error.message)
        if error.retryable:
            return problem_response(
                request_id,
                path,
                status=status_of(type(error)),
                code=error.code,
                message="the database is busy or away; try again",
                headers={"retry-after": str(RETRY_AFTER_SECONDS)},
            )
        return problem_response(
            request_id, path, status=status_of(type(error)), code=error.code, message="the database refused"
        )
    return problem_response(
        request_id,
        path,
        status=status_of(type(error)),
        code=error.code,
        message=error.message,
        facts=error.facts,
        # OpenAI's SDKs would ask again in a second or two; a render takes minutes
        headers={"x-should-retry": "false"} if isinstance(error, VideoNotFinished) else None,
    )


def status_of(kind: type[errors.RushesError]) -> int:
    """The HTTP status that an error of this kind is answered with."""
    if issubclass(kind, errors.StoreError):
        return 503 if kind.retryable else 500
    return next((status for known, status in _STATUS_OF.items() if issubclass(kind, known)), 500)


# --- for FastAPI ----------------------------------------------------------------------------------------


def request_id_of(request: Request) -> str:
    """The id that the edge gave this request."""
    found: str = request.scope["rushes_request_id"]
    return found


async def _on_rushes_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.RushesError)
    return response_to(request_id_of(request), request.scope["path"], error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the router and the parsers refuse: no such route, wrong method, a body over the limit, …"""
    assert isinstance(error, HTTPException)
    code = CODE_OF_STATUS.get(error.status_code) or HTTPStatus(error.status_code).name
    message = {
        404: "there is nothing at this path",
        405: "this path does not take that method; see the Allow header",
        413: "the body is larger than this route takes",
    }.get(error.status_code) or HTTPStatus(error.status_code).phrase
    if error.status_code == 400 and isinstance(error.detail, str):
        message = error.detail[:300]
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # the router names the methods of one route; the path may have others
        path = request.scope["path"]
        allowed = {
            method
            for pattern, methods in request.app.state.methods_of_path
            if pattern.match(path)
            for method in (*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ()))
        }
        headers["Allow"] = ", ".join(sorted(allowed)) or headers.get("Allow", "GET")
        if request.method == "OPTIONS" and allowed:
            return Response(status_code=204, headers=headers)
    return problem_response(
        request_id_of(request),
        request.scope["path"],
        status=error.status_code,
        code=code,
        message=message,
        headers=headers,
    )


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """A parameter that is missing or of the wrong kind; names it, and never repeats more than a bit of it."""
    assert isinstance(error, RequestValidationError)
    faults = faults_of(request, error.errors())
    first = faults[0]
    return problem_response(
        request_id_of(request),
        request.scope["path"],
        status=422,
        code=errors.InputError.code,
        message=f"{first['field']}: {first['message']}",
        facts={"field": first["field"], "errors": faults},
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Make every refusal of the app a problem document."""
    app.add_exception_handler(errors.RushesError, _on_rushes_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


def unknown_field(name: object, known: frozenset[str], *, path: str = "") -> errors.InputError:
    """The refusal of a field that a body does not have, with its path."""
    text = str(name)
    field = text if text.isprintable() and len(text) <= 128 else None
    where = f"{path}.{field}" if path and field else (field or path or None)
    suggestion = nearest(text, known)
    hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"known: {', '.join(sorted(known))}"
    return errors.InputError(f"unknown field {quoted(text)}; {hint}", field=where)


def unasked_problem(status: int, code: str, message: str) -> bytes:
    """A whole answer: what the app cannot give, because the request does not get there."""
    request_id = f"req_{secrets.token_hex(8)}"
    document = _document(request_id, status, code, message)
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status} {document['title']}\r\ncontent-type: {PROBLEM_TYPE}\r\n"
        f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _document(request_id: str, status: int, code: str, message: str) -> dict[str, Any]:
    return {
        "type": f"urn:rushes:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": message,
        "request_id": request_id,
        "ok": False,
        "error": code,
        "message": message,
    }
