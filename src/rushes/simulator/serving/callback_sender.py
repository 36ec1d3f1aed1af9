"""Posts callbacks when they are due, over real HTTP."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from rushes.simulator.callbacks import Callback
from rushes.simulator.core import SimulatorCore

POSTS_MAX: Final = 64
TIMEOUT_SECONDS: Final = 10.0


class CallbackSender(Protocol):
    """Posts JSON bodies."""

    async def post(self, url: str, body: bytes) -> int | None:
        """The HTTP status, or None when no answer came. Raises nothing for what the network does."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


class HttpCallbackSender:
    """Posts with pyreqwest; redirects are not followed, nothing is repeated."""

    def __init__(self) -> None:
        self._client: Client | None = None

    async def post(self, url: str, body: bytes) -> int | None:
        """Post once; the HTTP status, or None without an answer."""
        if self._client is None:
            builder = ClientBuilder().timeout(timedelta(seconds=TIMEOUT_SECONDS))
            self._client = builder.follow_redirects(False).no_proxy().build()
        try:
            request = self._client.post(url).header("content-type", "application/json").body_bytes(body)
            response = await request.build().send()
        except (PyreqwestError, ValueError):
            return None
        return response.status

    async def close(self) -> None:
        """Close the client, if one was needed."""
        if self._client is not None:
            await self._client.close()


class CallbackPump:
    """Hands the core's due callbacks to a sender.

    Call `wake` after every request: it costs one comparison unless a callback moved to the front.
    At most `POSTS_MAX` POSTs run at once; the others wait.
    """

    def __init__(
        self,
        core: SimulatorCore,
        sender: CallbackSender,
        *,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._core, self._sender, self._clock, self._loop = core, sender, clock, loop
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._waiting: deque[Callback] = deque()
        self._posts: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """See to it that the next callback is sent in time."""
        next_at = self._core.next_callback_at()
        if next_at is None or (self._timer_at is not None and self._timer_at <= next_at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = next_at
        self._timer = self._loop.call_later(max(0.0, next_at - self._clock()), self._fire)

    def _fire(self) -> None:
        self._timer = self._timer_at = None
        self._waiting.extend(self._core.due_callbacks(self._clock()))
        self._start_posts()
        self.wake()

    def _start_posts(self) -> None:
        while self._waiting and len(self._posts) < POSTS_MAX:
            post = self._loop.create_task(self._post(self._waiting.popleft()))
            self._posts.add(post)
            post.add_done_callback(self._ended)

    def _ended(self, post: asyncio.Task[None]) -> None:
        self._posts.discard(post)
        if self._waiting:
            self._start_posts()

    async def _post(self, callback: Callback) -> None:
        status = await self._sender.post(callback.url, callback.body)
        counts: Counter[str] = self._core.counts.callbacks
        counts["posts_unanswered" if status is None else f"posts_answered_{status // 100}xx"] += 1

    async def close(self) -> None:
        """Stop; what was not sent is not sent."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        posts = list(self._posts)
        for post in posts:
            post.cancel()
        await asyncio.gather(*posts, return_exceptions=True)
        await self._sender.close()
