"""Events of batches as they are committed, for all listeners of this process.

One loop per process asks the database which watched batches have new events, in one query for all of them;
each event is read and encoded once, however many listen. A listener that is slow or comes late reads what
it missed from the database by itself, so none can make this process hold more than a bounded tail.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from fastapi.sse import format_sse_event
from sqlalchemy import Connection

from rushes import telemetry
from rushes.api.edge.problems import Refusal
from rushes.domain.errors import StoreError
from rushes.read.events import encoded_event, event_heads, events_after
from rushes.store.database import Database

LOOK_SECONDS: Final = 0.25
"""How often watched batches are looked at: an event is seen about so long after its commit."""

KEEP_ALIVE_SECONDS: Final = 15.0
STREAM_SECONDS_MAX: Final = 3600.0
"""How long one connection may listen; a client then comes back with its Last-Event-ID."""

LISTENERS_MAX: Final = 2000
LISTENERS_PER_ACCOUNT_MAX: Final = 200
FEW_LISTENERS: Final = 4
"""An account with fewer streams than this finds a place as long as there is any."""

KEPT_FOR_FEW: Final = 0.2
"""The share of all places that is kept for such accounts."""

TAIL_EVENTS_MAX: Final = 1000
"""Events of a batch that are kept in memory for its listeners."""

PAGE_EVENTS_MAX: Final = 500
RECONNECT_LINE: Final = b"retry: 2000\n"
"""Milliseconds after which a client comes back. It stands in the first event: some decoders stumble over a
frame without data."""

KEEP_ALIVE_COMMENT: Final = b": ping\n"
"""Without an empty line after it, which would end a frame without data."""

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

    def __init__(
        self,
        database: Database,
        *,
        listeners_max: int = LISTENERS_MAX,
        listeners_per_account_max: int = LISTENERS_PER_ACCOUNT_MAX,
        base: str = "",
    ) -> None:
        self._database = database
        self._base = base
        self._listeners_max = listeners_max
        self._listeners_per_account_max = listeners_per_account_max
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
        """Refuse one listener too many.

        A few accounts cannot hold all places: the last of them are for accounts with few streams.
        """
        own = self._of_account.get(account_id, 0)
        share = 1.0 if own < FEW_LISTENERS else 1.0 - KEPT_FOR_FEW
        if self._closing or self.listener_count >= share * self._listeners_max:
            raise Refusal(
                503,
                "TOO_MANY_LISTENERS",
                "this server streams to as many as it can; try again",
                headers={"retry-after": "5"},
            )
        if own >= self._listeners_per_account_max:
            raise Refusal(
                429,
                "TOO_MANY_LISTENERS",
                f"the account has {self._listeners_per_account_max} streams open",
                headers={"retry-after": "5"},
            )

    async def stream(
        self, batch_id: int, *, account_id: int, after: int, seq: int, finished: bool
    ) -> AsyncIterator[bytes]:
        """Events after number `after`, until the batch is finished and all are sent.

        `seq` and `finished` tell how the batch stood when it was looked up.
        """
        channel = self._enter(batch_id, account_id, seq, finished)
        try:
            yield KEEP_ALIVE_COMMENT  # so that everything on the way knows that it is open
            prefix = RECONNECT_LINE
            async for frames in self._frames(batch_id, channel, after):
                yield frames if frames is KEEP_ALIVE_COMMENT else prefix + frames
                prefix = prefix if frames is KEEP_ALIVE_COMMENT else b""
        finally:
            self._leave(batch_id, account_id, channel)

    async def changed(
        self, batch_id: int, *, account_id: int, seq: int, finished: bool, seconds_max: float
    ) -> None:
        """Wait until the batch has an event after number `seq`, or is finished, or the time is over."""
        channel = self._enter(batch_id, account_id, seq, finished)
        until = asyncio.get_running_loop().time() + seconds_max
        try:
            async with asyncio.timeout_at(until):
                while not self._closing and (channel.seq, channel.finished) == (seq, finished):
                    await channel.changed.wait()
        except TimeoutError:
            return
        finally:
            self._leave(batch_id, account_id, channel)

    @contextlib.contextmanager
    def place(self, account_id: int) -> Iterator[None]:
        """One more stream of the account, which was admitted, until the end of the `with`."""
        self._of_account[account_id] = self._of_account.get(account_id, 0) + 1
        try:
            yield
        finally:
            self._give_up_place(account_id)

    @property
    def is_closing(self) -> bool:
        """Whether streams are to end."""
        return self._closing

    def _give_up_place(self, account_id: int) -> None:
        self._of_account[account_id] -= 1
        if not self._of_account[account_id]:
            del self._of_account[account_id]

    def _enter(self, batch_id: int, account_id: int, seq: int, finished: bool) -> _Channel:
        channel = self._channels.setdefault(batch_id, _Channel(seq, finished))
        channel.listeners += 1
        self._of_account[account_id] = self._of_account.get(account_id, 0) + 1
        self._watched.set()
        return channel

    def _leave(self, batch_id: int, account_id: int, channel: _Channel) -> None:
        channel.listeners -= 1
        if channel.listeners == 0:
            self._channels.pop(batch_id, None)
        self._give_up_place(account_id)

    async def _frames(self, batch_id: int, channel: _Channel, position: int) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        until = now() + STREAM_SECONDS_MAX
        while not self._closing and now() < until:
            changed = channel.changed
            frames = _in_memory(channel, position)
            if frames is None:
                reading = asyncio.create_task(
                    self._database.read(_read_frames, batch_id, position, self._base)
                )
                try:
                    while not (await asyncio.wait({reading}, timeout=KEEP_ALIVE_SECONDS))[0]:
                        yield KEEP_ALIVE_COMMENT
                    frames = reading.result()
                except StoreError as error:  # the client comes back with its Last-Event-ID
                    log.warning(telemetry.DATABASE_TROUBLE, error=error.message)
                    return
                finally:
                    reading.cancel()
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
                yield KEEP_ALIVE_COMMENT

    async def _look(self) -> None:
        heads = await self._database.read(event_heads, list(self._channels))
        for batch_id, seq, is_final in heads:
            channel = self._channels.get(batch_id)
            if channel is None:
                continue
            while channel.seq < seq:
                frames = await self._database.read(_read_frames, batch_id, channel.seq, self._base)
                channel.tail.extend(frames)
                channel.seq = frames[-1][0]
                channel.finished = False
                channel.wake()
            if channel.finished != is_final:
                channel.finished = is_final
                channel.wake()


def _in_memory(channel: _Channel, position: int) -> list[tuple[int, bytes]] | None:
    """The frames after `position`; None when they are older than the tail and must be read."""
    if position >= channel.seq:
        return []
    if channel.tail and channel.tail[0][0] <= position + 1:
        return [frame for frame in channel.tail if frame[0] > position]
    return None


def _read_frames(connection: Connection, batch_id: int, after: int, base: str) -> list[tuple[int, bytes]]:
    """The next events as they go over the wire, each with its number."""
    return [
        (seq, frame_of(seq, document))
        for seq, document in events_after(connection, batch_id, after, limit=PAGE_EVENTS_MAX, base=base)
    ]


def frame_of(seq: int, document: dict[str, Any]) -> bytes:
    """An event as it goes over the wire."""
    data = encoded_event(document).decode()
    return format_sse_event(id=str(seq), event=document["type"], data_str=data)
