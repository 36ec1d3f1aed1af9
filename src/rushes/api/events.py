"""`GET /v1/batches/{id}/events`: a batch's events as they are committed (server-sent events)."""

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from rushes.api.auth import Caller
from rushes.api.edge.ids import BatchId
from rushes.api.parts import Parts
from rushes.api.shapes.documents import BATCHES, answers
from rushes.domain.errors import InputError
from rushes.read.batches import event_head
from rushes.read.scope import Scope

router = APIRouter(tags=[BATCHES])

_STREAM_EXAMPLE = {"id": "2", "event": "video.succeeded", "data": '{"type":"video.succeeded", …}'}


@router.get(
    "/batches/{batch_id}/events",
    response_class=StreamingResponse,
    summary="Follow a batch's events",
    responses=answers(
        404,
        422,
        429,
        503,
        ok={
            200: {
                "description": "Server-sent events until the batch is finished. Each `id` is the event's"
                " number in the batch; send the last one as `Last-Event-ID` to go on from there.",
                "content": {
                    # as usual before OpenAPI 3.2, the schema is one event's
                    "text/event-stream": {
                        "schema": {"$ref": "#/components/schemas/StreamedEvent"},
                        "example": _STREAM_EXAMPLE,
                    }
                },
            },
            204: {"description": "The batch is finished and there is no event after `Last-Event-ID`."},
        },
    ),
)
async def follow_batch(
    batch_id: BatchId,
    caller: Caller,
    parts: Parts,
    last_event_id: Annotated[
        str | None, Header(description="Number of the last event seen.", examples=["17"])
    ] = None,
) -> Response:
    """`video.*` for each item that ends, `batch.*` for the batch; comments keep the connection alive."""
    after = event_number(last_event_id)

    row_id, seq, finished = await parts.database.read(event_head, Scope(caller.account_id), batch_id)
    after = min(after, seq)
    if finished and after == seq:
        return Response(status_code=204)
    parts.events.admit(caller.account_id)
    return StreamingResponse(
        parts.events.stream(row_id, account_id=caller.account_id, after=after, seq=seq, finished=finished),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


def event_number(text: str | None) -> int:
    """The number in a `Last-Event-ID`, 0 without one. Raises `InputError`."""
    if text is None or text == "":
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise InputError("must be the number of an event", field="Last-Event-ID")
    return int(text)
