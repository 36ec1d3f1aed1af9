"""Outgoing webhooks, as their owner sees them: the signing secret, the deliveries, and a replay."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from rushes.api import models
from rushes.api.answering import ok_answer
from rushes.api.auth import Caller
from rushes.api.documents import WEBHOOKS, answers
from rushes.api.parts import Parts
from rushes.api.problems import Refusal
from rushes.domain.errors import NotFound
from rushes.engine import tenant
from rushes.engine.notify import delivery_view
from rushes.engine.webhook_secrets import event_of_webhook_id
from rushes.store import deliveries

PAGE_MAX: Final = 100

router = APIRouter(prefix="/webhooks", tags=[WEBHOOKS])


@router.get(
    "/secret",
    response_model=models.WebhookSecret,
    summary="Get the signing secret",
    responses=answers(503),
)
async def get_secret(caller: Caller, parts: Parts) -> Response:
    """With it a receiver verifies `webhook-signature`, by any library of Standard Webhooks."""
    if parts.webhook_secret_of is None:
        raise Refusal(503, "WEBHOOKS_NOT_CONFIGURED", "the operator has set no RUSHES_WEBHOOK_SECRET")
    return ok_answer({"secret": parts.webhook_secret_of(caller.account_id)})


@router.get(
    "/deliveries",
    response_model=models.DeliveryPage,
    summary="List deliveries",
    responses=answers(404, 422),
)
async def list_deliveries(
    caller: Caller,
    parts: Parts,
    status: Annotated[Literal["pending", "delivered", "failed", "disabled"] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
) -> Response:
    """Newest first. Those that have ended are kept for 30 days."""
    rows, has_more = await parts.database.read(
        tenant.delivery_page,
        caller.account_id,
        status=status,
        limit=limit,
        after=None if after is None else _event_of(after),
    )
    return ok_answer({"data": [delivery_view(row) for row in rows], "has_more": has_more})


@router.post(
    "/deliveries/{delivery_id}/replay",
    response_model=models.DeliveryAnswer,
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
    """From the beginning of the ladder, with the same `webhook-id`; turns a disabled webhook on again."""
    row = await parts.database.transact(
        deliveries.replay, caller.account_id, *_event_of(delivery_id), now_ms=parts.now_ms()
    )
    return ok_answer({"delivery": delivery_view(row)})


def _event_of(delivery_id: str) -> tuple[str, int]:
    found = event_of_webhook_id(delivery_id)
    if found is None or not found[0].isascii() or not found[0].isprintable():
        raise NotFound("there is no such delivery")
    return found
