"""A page's changes as server-sent events: the page is made anew every few seconds, and what differs is sent.

Any process can serve any page's stream: nothing of a page is kept between two requests.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from rushes.dashboard.frame import version_of, without_ages
from rushes.dashboard.session import Session
from rushes.dashboard.visit import Show, Visit
from rushes.dashboard.words import speaking
from rushes.domain.errors import StoreError

REFRESH_SECONDS: Final = 2.0
STREAM_SECONDS_MAX: Final = 3600.0
"""How long one connection is kept; the browser then comes back."""

STREAMS_MAX: Final = 500
"""Open streams of one process: a page more is asked to come back later."""


class Streams:
    """The open streams of this process."""

    def __init__(self) -> None:
        self._closing = asyncio.Event()
        self.count = 0

    def close(self) -> None:
        """End them all, so that the server can stop; browsers come back elsewhere."""
        self._closing.set()

    @property
    def is_full(self) -> bool:
        """Whether one more is one too many."""
        return self.count >= STREAMS_MAX or self._closing.is_set()

    async def of_page(
        self,
        visit: Visit,
        show: Show,
        *,
        version: str,
        session_now: Callable[[], Awaitable[Session | None]],
    ) -> AsyncIterator[bytes]:
        """Events of a page of which the browser shows `version`: `part`, `alive`, `trouble`, `signed-out`."""
        self.count += 1
        now = asyncio.get_running_loop().time
        until, sent = now() + STREAM_SECONDS_MAX, dict[str, str]()
        try:
            while not self._closing.is_set() and now() < until:
                try:
                    session = await session_now()
                    if session is None or session.operator != visit.session.operator:
                        yield _event("signed-out")
                        return
                    with speaking(visit.language):
                        page = await show(visit.at(visit.parts.now_ms()))
                except StoreError as error:
                    yield _event("trouble", {"message": error.message})
                else:
                    fresh = {name: without_ages(content) for name, content in page.parts.items()}
                    is_same = not sent and version_of(page.parts) == version
                    for name, content in page.parts.items():
                        if not is_same and sent.get(name) != fresh[name]:
                            yield _event("part", {"name": name, "html": content})
                    sent = fresh
                    yield _event("alive")
                await self._pause()
        finally:
            self.count -= 1

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                await self._closing.wait()
        except TimeoutError:
            return


def _event(name: str, data: dict[str, Any] | None = None) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data or {}, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
