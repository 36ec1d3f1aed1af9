"""A provider in front of a real server that gives fixed answers by path."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rushes.domain.task import PollResult, SubmitOutcome
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.http.client import HttpTransport
from rushes.providers.inputs import InputFile
from tests.providers.local_http import Exchange, http1_server

KEY = "sk-canary-5f10c2"
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is sent as JSON unless it is bytes."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] | None = None


def request_of(api_model: str, prompt: str, options: Mapping[str, Any], **more: Any) -> SubmitRequest:
    """A request whose `options` hold its files too, as tuples of `InputFile`."""
    inputs = {name: value for name, value in options.items() if _are_files(value)}
    plain = {name: value for name, value in options.items() if name not in inputs}
    return SubmitRequest(api_model, prompt, plain, inputs=inputs, **more)


def _are_files(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, InputFile) for each in value)


@dataclass(frozen=True, slots=True)
class Service:
    """A provider's `build`, and the replies of the service by path and query."""

    build: Callable[[ProviderConfig], Provider]
    replies: Mapping[str, Reply]

    def submit(self, request: SubmitRequest) -> tuple[SubmitOutcome, list[Exchange]]:
        """The outcome of one submit, and what the service read."""
        return self.ask(lambda provider: provider.submit(request))

    def poll(self, remote_task_id: str) -> tuple[PollResult, list[Exchange]]:
        """What one poll comes to, and what the service read."""
        return self.ask(lambda provider: provider.poll_remote_task(remote_task_id))

    def ask(self, ask: Callable[[Provider], Awaitable[Outcome]]) -> tuple[Outcome, list[Exchange]]:
        """What the provider makes of it, and what the service read."""

        async def answer(exchange: Exchange) -> None:
            reply = self.replies.get(exchange.path, Reply({"detail": "Not Found"}, 404))
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            await exchange.answer(reply.status, body, dict(reply.headers or {}))

        async def run() -> tuple[Outcome, list[Exchange]]:
            async with asyncio.timeout(10), http1_server(answer) as server:
                transport = HttpTransport(connect_timeout_seconds=1)
                config = ProviderConfig(server.url + "/", KEY, transport, timeout_seconds=1.0)
                result = await ask(self.build(config))
                await transport.close()
                return result, server.requests

        return asyncio.run(run())
