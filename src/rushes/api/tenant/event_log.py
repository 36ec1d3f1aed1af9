"""`GET /v1/events`: what happened over all batches of an account, in one order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from rushes.api.auth import Caller
from rushes.api.edge.answering import ok_answer
from rushes.api.event_hub import (
    KEEP_ALIVE_COMMENT,
    KEEP_ALIVE_SECONDS,
    RECONNECT_LINE,
    STREAM_SECONDS_MAX,
    frame_of,
)
from rushes.api.events import event_number
from rushes.api.files import links_for
from rushes.api.parts import ApiParts, Parts
from rushes.api.shapes import account as shapes
from rushes.api.shapes.documents import ACCOUNT, answers
from rushes.domain.errors import StoreError
from rushes.read.tenant.event_log import log_page
from rushes.store.webhooks import event_log

PAGE_MAX: Final = 500
LOOK_SECONDS: Final = 1.0
"""How often a stream looks for news."""

EVENT_STREAM: Final = "text/event-stream"
_STREAMED: Final = {"$ref": "#/components/schemas/StreamedEvent"}
NUMBERINGS_MAX: Final = 20
"""How often one request puts new events into the log before it answers."""

POSITION_MAX: Final = 2**53

router = APIRouter(tags=[ACCOUNT])


@router.get(
    "/events",
    response_model=shapes.EventPage,
    summary="List events",
    responses=answers(422, 429, ok={200: {"content": {EVENT_STREAM: {"schema": _STREAMED}}}}),
)
async def list_events(
    request: Request,
    caller: Caller,
    parts: Parts,
    after: Annotated[int, Query(ge=0, lt=POSITION_MAX, description="The `last_id` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    last_event_id: Annotated[str | None, Header(description="Goes before `after`, in a stream.")] = None,
) -> Response:
    """Oldest first, each once: whoever asks for what comes after the last one seen misses nothing.

    With `Accept: text/event-stream` it is a stream that continues as things happen; each `id` is the event's
    position, and it is resumed by `Last-Event-ID`.
    """
    base = links_for(request, parts).base
    if EVENT_STREAM in request.headers.get("accept", ""):
        parts.events.admit(caller.account_id)
        after = event_number(last_event_id) or after
        return StreamingResponse(
            _stream(parts, caller.account_id, after, base),
            media_type=EVENT_STREAM,
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )
    found, has_more = await _page(parts, caller.account_id, after=after, limit=limit, base=base)
    last_id = found[-1]["id"] if found else after
    return ok_answer({"data": found, "has_more": has_more, "last_id": last_id})


async def _page(
    parts: ApiParts, account_id: int, *, after: int, limit: int, base: str
) -> tuple[list[dict[str, Any]], bool]:
    """What comes after that position, once all that is new has its place in the log."""
    for _ in range(NUMBERINGS_MAX):
        if not await parts.database.read(event_log.has_news, account_id):
            break
        await parts.database.transact(event_log.number_new, account_id, now_ms=parts.now_ms())
    return await parts.database.read(log_page, account_id, after=after, limit=limit, base=base)


async def _stream(parts: ApiParts, account_id: int, after: int, base: str) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    until, silent_since, head = now() + STREAM_SECONDS_MAX, now(), RECONNECT_LINE
    with parts.events.place(account_id):
        while not parts.events.is_closing and now() < until:
            try:
                found, _ = await _page(parts, account_id, after=after, limit=PAGE_MAX, base=base)
            except StoreError:
                found = []  # the database is away for a moment: what happens meanwhile comes later
            if found:
                frames = [frame_of(event.pop("id"), event) for event in [dict(each) for each in found]]
                after, silent_since = found[-1]["id"], now()
                yield head + b"".join(frames)
                head = b""
                continue
            if now() - silent_since >= KEEP_ALIVE_SECONDS:
                silent_since = now()
                yield KEEP_ALIVE_COMMENT
            await asyncio.sleep(LOOK_SECONDS)
