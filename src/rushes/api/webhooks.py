"""Outgoing webhooks, as their owner sees them: the signing secret, the deliveries, and a replay."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection
from starlette.responses import Response

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.edge.ids import public_id
from rushes.api.edge.problems import Refusal
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import webhooks as shapes
from rushes.api.shapes.documents import WEBHOOKS, answers
from rushes.domain.errors import NotFound
from rushes.domain.input.event_filter import EventType
from rushes.domain.notation import iso_time
from rushes.notify.notifier import delivery_view
from rushes.notify.secrets import WebhookSecrets, named_by_delivery_id
from rushes.read.deliveries import delivery_page
from rushes.read.scope import Scope
from rushes.store import deliveries, webhook_keys
from rushes.store.deliveries import DeliveryName
from rushes.store.webhooks import endpoints

PAGE_MAX: Final = 100
OVERLAP_SECONDS: Final = 86_400

router = APIRouter(prefix="/webhooks", tags=[WEBHOOKS])


@router.get(
    "/secret",
    response_model=shapes.WebhookSecret,
    summary="Get the signing secret",
    responses=answers(503),
)
async def get_secret(caller: Caller, parts: Parts) -> Response:
    """With it a receiver verifies `webhook-signature`, by any library of Standard Webhooks."""
    secrets = configured_secrets(parts)
    versions = await parts.database.read(webhook_keys.versions_of, caller.account_id, now_ms=parts.now_ms())
    return ok_answer(_view(secrets, caller.account_id, versions))


@router.post(
    "/secret/rotate",
    response_model=shapes.WebhookSecret,
    summary="Replace the signing secret",
    responses=answers(422, 503),
)
async def rotate_secret(
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
    """From now on deliveries carry two signatures, of the new secret and of the one before, until the overlap
    ends: give the new one to your receivers meanwhile. 0 ends the one before at once, as after a leak."""
    secrets = configured_secrets(parts)
    versions = await parts.database.transact(
        webhook_keys.rotate,
        caller.account_id,
        overlap_seconds=overlap_seconds,
        now_ms=parts.now_ms(),
    )
    return ok_answer(_view(secrets, caller.account_id, versions))


def configured_secrets(parts: ApiParts) -> WebhookSecrets:
    """What signs webhooks. Raises `Refusal` where the operator has set no secret."""
    if parts.webhook_secrets is None:
        raise Refusal(503, "WEBHOOKS_NOT_CONFIGURED", "this service sends no webhooks")
    return parts.webhook_secrets


def _view(secrets: WebhookSecrets, account_id: int, versions: webhook_keys.KeyVersions) -> dict[str, Any]:
    return {
        "secret": secrets.current(account_id, versions),
        "version": versions.current,
        "older_secrets": secrets.older(account_id, versions),
        "previous_until": iso_time(versions.previous_until_ms),
    }


@router.get(
    "/deliveries",
    response_model=shapes.DeliveryPage,
    summary="List deliveries",
    responses=answers(404, 422),
)
async def list_deliveries(
    caller: Caller,
    parts: Parts,
    status: Annotated[Literal["pending", "delivered", "failed", "disabled"] | None, Query()] = None,
    batch_id: Annotated[str | None, Query(description="Only deliveries of this batch's events.")] = None,
    event: Annotated[EventType | None, Query(description="Only events of this type.")] = None,
    endpoint_id: Annotated[str | None, Query(description="Only deliveries to this endpoint.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
) -> Response:
    """Newest first. Those that have ended are kept for 30 days."""
    wanted = {
        "status": status,
        "batch_id": None if batch_id is None else public_id(batch_id),
        "event": event,
        "limit": limit,
        "after": None if after is None else _delivery_named(after),
    }
    endpoint = None if endpoint_id is None else public_id(endpoint_id, kind="endpoint")
    rows, has_more = await parts.database.read(_page, caller.account_id, endpoint, **wanted)
    return ok_answer({"data": [delivery_view(row) for row in rows], "has_more": has_more})


def _page(
    connection: Connection, /, account_id: int, endpoint: str | None, **wanted: Any
) -> tuple[list[dict[str, Any]], bool]:
    if endpoint is not None:
        endpoints.require_ever(connection, account_id, endpoint)
    return delivery_page(connection, Scope(account_id), endpoint=endpoint, **wanted)


@router.post(
    "/deliveries/{delivery_id}/replay",
    response_model=shapes.DeliveryAnswer,
    summary="Send a delivery again",
    responses=answers(404),
)
async def replay_delivery(
    delivery_id: Annotated[
        str, Path(description="The delivery's `webhook-id`.", examples=["msg_bat_5f1c0a9d3e7b24680f13579a_2"])
    ],
    caller: Caller,
    parts: Parts,
) -> Response:
    """From the start of the ladder, with the same `webhook-id`; turns a disabled webhook on again.

    One that is waiting to be sent, or is being sent, stays as it is: asking twice sends once.
    """
    name = _delivery_named(delivery_id)
    row = await parts.database.transact(_replay, caller.account_id, name, now_ms=parts.now_ms())
    return ok_answer({"delivery": delivery_view(row)})


def _replay(connection: Connection, account_id: int, name: DeliveryName, *, now_ms: int) -> dict[str, Any]:
    row_id = deliveries.delivery_row_id(connection, account_id, name)
    return deliveries.replay_row(connection, row_id, now_ms=now_ms)


def _delivery_named(delivery_id: str) -> DeliveryName:
    found = named_by_delivery_id(delivery_id)
    if found is None or not delivery_id.isascii() or not delivery_id.isprintable():
        raise NotFound("there is no such delivery")
    return found
