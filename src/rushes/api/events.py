"""`GET /v1/batches/{id}/events`: a batch's events as they are committed (server-sent events).

One loop per process asks the database which watched batches have new events, in one query for all of them;
each event is read and encoded once, however many listen. A listener that is slow or comes late reads what
it missed from the database by itself, so none can make this process hold more than a bounded tail.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy import Connection
from starlette.responses import Response, StreamingResponse

from rushes import telemetry
from rushes.api.auth import Caller
from rushes.api.documents import BATCHES, answers
from rushes.api.ids import BatchId
from rushes.api.parts import Parts
from rushes.api.problems import Refusal
from rushes.domain.errors import InputError, StoreError
from rushes.engine import tenant
from rushes.engine.events import encoded_event, event_heads, events_after
from rushes.store.database import Database

LOOK_SECONDS: Final = 0.25
"""How often watched batches are looked at: an event is seen about so long after its commit."""

KEEP_ALIVE_SECONDS: Final = 15.0
STREAM_SECONDS_MAX: Final = 3600.0
"""How long one connection may listen; a client then comes back with its Last-Event-ID."""

LISTENERS_MAX: Final = 2000
LISTENERS_PER_ACCOUNT_MAX: Final = 1000
TAIL_EVENTS_MAX: Final = 1000
"""Events of a batch that are kept in memory for its listeners."""

PAGE_EVENTS_MAX: Final = 500
RECONNECT_MS: Final = 2000

log = telemetry.logger()


class _Channel:
    """One watched batch: its last event number, the tail of its events, and who waits for more."""

    __slots__ = ("changed", "finished", "listeners", "seq", "tail")

    def __init__(self, seq: int, finished: bool) -> None:
        self.seq = seq
        self.finished = finished
        self.tail: deque[tuple[int, bytes]] = deque(maxlen=TAIL_EVENTS_MAX)
        self.changed = asyncio.Event()
        self.listeners = 0

    def wake(self) -> None:
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()


class EventHub:
    """Streams of events for any number of listeners of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._channels: dict[int, _Channel] = {}
        self._of_account: dict[int, int] = {}
        self._watched = asyncio.Event()
        self._closing = False

    @property
    def listener_count(self) -> int:
        """Open streams."""
        return sum(self._of_account.values())

    async def run(self) -> None:
        """Look for new events of watched batches until cancelled."""
        while True:
            await self._watched.wait()
            if not self._channels:
                self._watched.clear()
                continue
            try:
                await self._look()
            except StoreError as error:
                log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End all streams, so that the server can stop; clients come back elsewhere."""
        self._closing = True
        for channel in self._channels.values():
            channel.wake()

    def admit(self, account_id: int) -> None:
        """Refuse one listener too many."""
        if self._closing or self.listener_count >= LISTENERS_MAX:
            raise Refusal(
                503,
                "TOO_MANY_LISTENERS",
                "this server streams to as many as it can; try again",
                headers={"retry-after": "5"},
            )
        if self._of_account.get(account_id, 0) >= LISTENERS_PER_ACCOUNT_MAX:
            raise Refusal(
                429,
                "TOO_MANY_LISTENERS",
                f"the account has {LISTENERS_PER_ACCOUNT_MAX} streams open",
                headers={"retry-after": "5"},
            )

    async def stream(
        self, batch_id: int, *, account_id: int, after: int, seq: int, finished: bool
    ) -> AsyncIterator[bytes]:
        """Events after number `after`, until the batch is finished and all are sent.

        `seq` and `finished` tell how the batch stood when it was looked up.
        """
        channel = self._channels.setdefault(batch_id, _Channel(seq, finished))
        channel.listeners += 1
        self._of_account[account_id] = self._of_account.get(account_id, 0) + 1
        self._watched.set()
        try:
            yield f"retry: {RECONNECT_MS}\n\n".encode()
            async for frames in self._frames(batch_id, channel, after):
                yield frames
        finally:
            channel.listeners -= 1
            if channel.listeners == 0:
                self._channels.pop(batch_id, None)
            self._of_account[account_id] -= 1
            if not self._of_account[account_id]:
                del self._of_account[account_id]

    async def _frames(self, batch_id: int, channel: _Channel, position: int) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        until = now() + STREAM_SECONDS_MAX
        while not self._closing and now() < until:
            changed = channel.changed
            frames = await self._after(batch_id, channel, position)
            if frames:
                position = frames[-1][0]
                yield b"".join(frame for _, frame in frames)
                continue
            if channel.finished:
                return
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await changed.wait()
            except TimeoutError:
                yield KEEPALIVE_COMMENT

    async def _after(self, batch_id: int, channel: _Channel, position: int) -> list[tuple[int, bytes]]:
        """The next frames after `position`: from the tail, or from the database what is older than it."""
        if position >= channel.seq:
            return []
        if channel.tail and channel.tail[0][0] <= position + 1:
            return [frame for frame in channel.tail if frame[0] > position]
        return await self._database.read(_read_frames, batch_id, position)

    async def _look(self) -> None:
        heads = await self._database.read(event_heads, list(self._channels))
        for batch_id, seq, is_final in heads:
            channel = self._channels.get(batch_id)
            if channel is None:
                continue
            while channel.seq < seq:
                frames = await self._database.read(_read_frames, batch_id, channel.seq)
                channel.tail.extend(frames)
                channel.seq = frames[-1][0]
                channel.finished = False
                channel.wake()
            if channel.finished != is_final:
                channel.finished = is_final
                channel.wake()


def _read_frames(connection: Connection, batch_id: int, after: int) -> list[tuple[int, bytes]]:
    """The next events as they go over the wire, each with its number."""
    return [
        (seq, _frame(seq, document))
        for seq, document in events_after(connection, batch_id, after, limit=PAGE_EVENTS_MAX)
    ]


def _frame(seq: int, document: dict[str, Any]) -> bytes:
    data = encoded_event(document).decode()
    return format_sse_event(id=str(seq), event=document["type"], data_str=data)


# --- the route ------------------------------------------------------------------------------------------

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
    after = _event_number(last_event_id)

    row_id, seq, finished = await parts.database.read(tenant.event_head, caller.account_id, batch_id)
    after = min(after, seq)
    if finished and after == seq:
        return Response(status_code=204)
    parts.events.admit(caller.account_id)
    return StreamingResponse(
        parts.events.stream(row_id, account_id=caller.account_id, after=after, seq=seq, finished=finished),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


def _event_number(text: str | None) -> int:
    if text is None or text == "":
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise InputError("must be the number of an event", field="Last-Event-ID")
    return int(text)
