"""Webhook endpoints of an account: several, each with its events and a secret of its own."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.bodies import read_object
from rushes.api.edge.ids import public_id
from rushes.api.edge.problems import unknown_field
from rushes.api.edge.times import epoch_ms_if_given
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import requests
from rushes.api.shapes import webhooks as shapes
from rushes.api.shapes.batch_bodies import checked_webhook_url, read_label
from rushes.api.shapes.documents import WEBHOOKS, answers, json_body
from rushes.api.webhooks import OVERLAP_SECONDS, configured_secrets
from rushes.domain.catalogue.options import quoted
from rushes.domain.errors import InputError
from rushes.domain.input.event_filter import read_event_filter
from rushes.domain.notation import iso_time
from rushes.notify.notifier import TIMEOUT_SECONDS, post_signed, signed_headers
from rushes.notify.secrets import WebhookSecrets
from rushes.store import webhook_keys
from rushes.store.webhooks import endpoints

DESCRIPTION_CHARACTERS_MAX: Final = 200
FIELDS: Final = frozenset({"url", "events", "description", "enabled"})
TEST_EVENT: Final = "webhook.test"

router = APIRouter(prefix="/webhooks/endpoints", tags=[WEBHOOKS])

EndpointId = Annotated[
    str,
    AfterValidator(partial(public_id, kind="endpoint")),
    Path(description="The endpoint's id.", examples=["we_5f1c0a9d3e7b24680f13579a"]),
]

_EXAMPLE = {
    "url": "https://example.com/hooks/rushes",
    "events": ["video.stored", "batch.*"],
    "description": "the shop",
}


@router.post(
    "",
    status_code=201,
    response_model=shapes.EndpointAnswer,
    summary="Create a webhook endpoint",
    responses=answers(400, 408, 413, 415, 422, 503),
    openapi_extra=json_body(requests.NewEndpoint, _EXAMPLE),
)
async def create_endpoint(request: Request, caller: Caller, parts: Parts) -> Response:
    """It gets the events of all batches that happen from now on, or those of them that `events` names."""
    secrets = configured_secrets(parts)
    values = _values(await read_object(request), parts)
    if "url" not in values:
        raise InputError("missing", field="url")
    now_ms = parts.now_ms()
    row = await parts.database.transact(
        endpoints.create,
        caller.account_id,
        public_id=parts.new_endpoint_id(),
        url=values["url"],
        events=values.get("events"),
        description=values.get("description"),
        is_enabled=values.get("is_enabled", True),
        now_ms=now_ms,
    )
    return ok_answer(_with_secret(secrets, row, now_ms), status=201)


@router.get("", response_model=shapes.EndpointList, summary="List webhook endpoints", responses=answers())
async def list_endpoints(caller: Caller, parts: Parts) -> Response:
    """Oldest first. Addresses that only batches name are not among them."""
    rows = await parts.database.read(endpoints.of_account, caller.account_id)
    return ok_answer({"data": [_view(row) for row in rows]})


@router.get(
    "/{endpoint_id}",
    response_model=shapes.EndpointAnswer,
    summary="Get a webhook endpoint",
    responses=answers(404, 503),
)
async def get_endpoint(endpoint_id: EndpointId, caller: Caller, parts: Parts) -> Response:
    """With its signing secret."""
    secrets = configured_secrets(parts)
    row = await parts.database.read(endpoints.find, caller.account_id, endpoint_id)
    return ok_answer(_with_secret(secrets, row, parts.now_ms()))


@router.patch(
    "/{endpoint_id}",
    response_model=shapes.EndpointAnswer,
    summary="Change a webhook endpoint",
    responses=answers(400, 404, 408, 413, 415, 422, 503),
    openapi_extra=json_body(requests.ChangedEndpoint, {"enabled": True}),
)
async def change_endpoint(
    request: Request, endpoint_id: EndpointId, caller: Caller, parts: Parts
) -> Response:
    """What waits for one that is turned off becomes `disabled`, and can be replayed once it is on again."""
    secrets = configured_secrets(parts)
    await parts.database.read(endpoints.find, caller.account_id, endpoint_id)
    values, now_ms = _values(await read_object(request), parts), parts.now_ms()
    row = await parts.database.transact(
        endpoints.change, caller.account_id, endpoint_id, values, now_ms=now_ms
    )
    return ok_answer(_with_secret(secrets, row, now_ms))


@router.delete(
    "/{endpoint_id}",
    response_model=shapes.DeletedEndpoint,
    summary="Delete a webhook endpoint",
    responses=answers(404),
)
async def delete_endpoint(endpoint_id: EndpointId, caller: Caller, parts: Parts) -> Response:
    """It is sent nothing more; its deliveries stay listed for 30 days."""
    await parts.database.transact(endpoints.delete, caller.account_id, endpoint_id, now_ms=parts.now_ms())
    return ok_answer({"endpoint_id": endpoint_id, "deleted": True})


@router.post(
    "/{endpoint_id}/rotate",
    response_model=shapes.EndpointAnswer,
    summary="Replace an endpoint's secret",
    responses=answers(404, 422, 503),
)
async def rotate_endpoint(
    endpoint_id: EndpointId,
    caller: Caller,
    parts: Parts,
    overlap_seconds: Annotated[
        int,
        Query(
            ge=0,
            le=webhook_keys.OVERLAP_SECONDS_MAX,
            description="How long deliveries are signed with the secret before as well.",
        ),
    ] = OVERLAP_SECONDS,
) -> Response:
    """Old and new both sign until the overlap ends, a day unless it is said: nothing is lost meanwhile."""
    secrets, now_ms = configured_secrets(parts), parts.now_ms()
    row = await parts.database.transact(
        endpoints.rotate,
        caller.account_id,
        endpoint_id,
        overlap_seconds=overlap_seconds,
        now_ms=now_ms,
    )
    return ok_answer(_with_secret(secrets, row, now_ms))


@router.post(
    "/{endpoint_id}/test",
    response_model=shapes.EndpointTest,
    summary="Send a test event",
    responses=answers(404, 503),
)
async def send_test_event(endpoint_id: EndpointId, caller: Caller, parts: Parts) -> Response:
    """Posts one `webhook.test` now, signed as all others, and answers what the receiver made of it."""
    secrets = configured_secrets(parts)
    row = await parts.database.read(endpoints.find, caller.account_id, endpoint_id)
    message_id = f"msg_test_{parts.new_request_id().removeprefix('req_')}"
    started = asyncio.get_running_loop().time()
    status, error = await _post_test(parts, secrets, row, message_id)
    return ok_answer(
        {
            "webhook_id": message_id,
            "delivered": error is None,
            "http_status": status,
            "error": error,
            "duration_ms": int((asyncio.get_running_loop().time() - started) * 1000),
        }
    )


@router.post(
    "/{endpoint_id}/replay",
    response_model=shapes.EndpointReplayed,
    summary="Send what an endpoint missed",
    responses=answers(400, 404, 408, 413, 415, 422),
    openapi_extra=json_body(requests.EndpointReplay, {"since": "2026-11-01"}),
)
async def replay_endpoint(
    request: Request, endpoint_id: EndpointId, caller: Caller, parts: Parts
) -> Response:
    """All deliveries that failed or that it was turned off for, oldest first, at most 10,000.

    Asking twice sends once.
    """
    await parts.database.read(endpoints.find, caller.account_id, endpoint_id)
    document = await read_object(request)
    for name in document:
        if name != "since":
            raise unknown_field(name, frozenset({"since"}))
    count = await parts.database.transact(
        endpoints.replay_since,
        caller.account_id,
        endpoint_id,
        since_ms=epoch_ms_if_given(read_label(document, "since"), field="since") or 0,
        now_ms=parts.now_ms(),
    )
    return ok_answer({"endpoint_id": endpoint_id, "replayed": count})


async def _post_test(
    parts: ApiParts, secrets: WebhookSecrets, row: Mapping[str, Any], message_id: str
) -> tuple[int | None, str | None]:
    """The receiver's status, if it answered, and why the event does not count as taken."""
    now_ms = parts.now_ms()
    data = {"endpoint_id": row["public_id"]}
    body = msgspec.json.encode({"type": TEST_EVENT, "timestamp": iso_time(now_ms), "data": data})
    signing = secrets.all(row["public_id"], endpoints.versions_of(row, now_ms=now_ms))
    answer, error = await post_signed(
        parts.files,
        row["url"],
        headers=signed_headers(signing, message_id, body, now_ms=now_ms),
        body=body,
        account_id=row["account_id"],
        timeout_seconds=TIMEOUT_SECONDS,
    )
    return None if answer is None else answer.status, error


def _values(document: Mapping[str, Any], parts: ApiParts) -> dict[str, Any]:
    """The columns that the body names. Raises `InputError`."""
    for name in document:
        if name not in FIELDS:
            raise unknown_field(name, FIELDS)
    values: dict[str, Any] = {}
    if document.get("url") is not None:
        allow_private = parts.files.allow_private
        values["url"] = checked_webhook_url(document["url"], field="url", allow_private=allow_private)
    if "events" in document:
        values["events"] = read_event_filter(document["events"], field="events")
    if "description" in document:
        values["description"] = read_label(document, "description", characters_max=DESCRIPTION_CHARACTERS_MAX)
    if document.get("enabled") is not None:
        if not isinstance(document["enabled"], bool):
            raise InputError(f"must be true or false, not {quoted(document['enabled'])}", field="enabled")
        values["is_enabled"] = document["enabled"]
    return values


def _with_secret(secrets: WebhookSecrets, row: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    versions = endpoints.versions_of(row, now_ms=now_ms)
    return {
        "endpoint": _view(row),
        "secret": secrets.current(row["public_id"], versions),
        "older_secrets": secrets.older(row["public_id"], versions),
        "previous_until": iso_time(versions.previous_until_ms),
    }


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "endpoint_id": row["public_id"],
        "url": row["url"],
        "events": None if row["events"] is None else row["events"].split(","),
        "description": row["description"],
        "enabled": row["disabled_at_ms"] is None,
        "disabled_reason": row["disabled_reason"],
        "disabled_at": iso_time(row["disabled_at_ms"]),
        "created_at": iso_time(row["created_at_ms"]),
    }
