"""Polls over lines: real HTTP, answers that come twice, broken or never, and places that others need."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, ParamSpec

import pytest
import uvloop

from rushes.domain.polling.schedule import LadderSchedule
from rushes.domain.task import Succeeded, Verdict
from rushes.providers.base import ProviderConfig, ProviderLimits
from rushes.providers.families.grsai import GrsaiProvider
from rushes.providers.families.grsai_unified import GrsaiUnifiedProvider
from rushes.providers.health import ProviderHealth
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Response, TransportError
from rushes.run.commit import Committer
from rushes.run.lane.attempts import Attempts
from rushes.run.lane.line_polls import PAUSE_SECONDS, Lines
from rushes.run.lane.poll import Poller
from rushes.run.lane.remote_task import ModelTimes, PollCounts, RemoteTask
from tests.books import WORKER
from tests.providers.local_http import Exchange, LocalServer, http1_server
from tests.run.lanes import context_of, ended

CONNECTIONS = 4
WAIT_SECONDS = 20.0

P = ParamSpec("P")


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test on the event loop that rushes runs on."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        uvloop.run(test(*arguments, **named))

    return run


Answer = Callable[[Exchange, str], Awaitable[None]]


class Verdicts(Committer):
    """Keeps verdicts in place of storing them."""

    def __init__(self) -> None:
        super().__init__(None, worker_id=WORKER, now_ms=lambda: 0)  # type: ignore[arg-type]
        self.kept: dict[int, Verdict] = {}

    def verdict(self, task_id: int, attempt: int, verdict: Verdict) -> None:
        """One more."""
        assert task_id not in self.kept
        self.kept[task_id] = verdict


def running(remote_id: str, progress: int = 50) -> bytes:
    """Grsai's answer for a task that renders."""
    data = {"id": remote_id, "status": "running", "progress": progress, "results": []}
    return json.dumps({"code": 0, "msg": "success", "data": data}).encode()


def succeeded(remote_id: str) -> bytes:
    """Its answer for one that is done, whose file names it."""
    files = [{"url": f"https://files.example.com/{remote_id}.mp4"}]
    data = {"id": remote_id, "status": "succeeded", "progress": 100, "results": files}
    return json.dumps({"code": 0, "msg": "success", "data": data}).encode()


class Setting:
    """A poller over real connections, and what it came to."""

    def __init__(self, server: LocalServer, transport: HttpTransport, timeout_seconds: float) -> None:
        self.server, self.transport = server, transport
        self.verdicts = Verdicts()
        self.provider = GrsaiProvider(
            ProviderConfig(
                host=server.url,
                api_key="key",
                transport=transport,
                timeout_seconds=timeout_seconds,
                limits=ProviderLimits(connections_max=CONNECTIONS),
            )
        )
        context = context_of(schedule=LadderSchedule(0.01, 0.01), committer=self.verdicts)
        self.poller = Poller(self.provider, context, Attempts(), health=ProviderHealth())

    def follow(self, count: int) -> None:
        """That many tasks."""
        now = asyncio.get_running_loop().time()
        for number in range(count):
            self.poller.add(
                RemoteTask(
                    task_id=number,
                    attempt=1,
                    times=ModelTimes("sora-2", 1000, 2000),
                    remote_task_id=f"r-{number}",
                    progress=0,
                    sent_at=now,
                ),
                first_delay_seconds=0.0,
            )

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Poll until it is so."""
        polling = asyncio.ensure_future(self.poller.run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not is_so():
                    await asyncio.sleep(0.01)
        finally:
            await ended(polling)


@contextlib.asynccontextmanager
async def setting(answer: Answer, *, timeout_seconds: float = 10.0) -> AsyncIterator[Setting]:
    """A server that answers so, for each asked id."""

    async def serve(exchange: Exchange) -> None:
        await answer(exchange, json.loads(exchange.body)["id"])

    async with http1_server(serve) as server:
        transport = HttpTransport(connections_max=CONNECTIONS)
        yield Setting(server, transport, timeout_seconds)
        await transport.close()


def after(polls: int) -> Answer:
    """Succeeds at a task's poll of that number."""
    asked: dict[str, int] = {}

    async def answer(exchange: Exchange, remote_id: str) -> None:
        asked[remote_id] = asked.get(remote_id, 0) + 1
        await exchange.answer(
            body=succeeded(remote_id) if asked[remote_id] >= polls else running(remote_id, asked[remote_id])
        )

    return answer


@on_uvloop
async def test_many_tasks_are_polled_over_few_connections_each_with_its_own_verdict() -> None:
    async with setting(after(4)) as found:
        found.follow(200)
        await found.until(lambda: len(found.verdicts.kept) == 200)
        for number, verdict in found.verdicts.kept.items():
            assert isinstance(verdict, Succeeded)
            assert verdict.video_url.endswith(f"/r-{number}.mp4")
        assert len(found.server.requests) == 800
        assert found.server.connections <= CONNECTIONS
        assert found.poller.counts.transient_errors == 0


@on_uvloop
async def test_an_answer_that_comes_twice_is_never_the_next_questions() -> None:
    async def twice(exchange: Exchange, remote_id: str) -> None:
        body = succeeded(remote_id)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await exchange.write((head + body) * (2 if len(seen) % 3 == 0 else 1))
        seen.append(remote_id)

    seen: list[str] = []
    async with setting(twice) as found:
        found.follow(60)
        await found.until(lambda: len(found.verdicts.kept) == 60)
        urls = {number: verdict.video_url for number, verdict in found.verdicts.kept.items()}  # type: ignore[union-attr]
        assert all(url.endswith(f"/r-{number}.mp4") for number, url in urls.items())
        assert found.server.connections > 5, "each double answer ends its connection"
        assert found.poller.counts.transient_errors == 0


@on_uvloop
async def test_a_second_answer_that_meets_the_next_question_costs_no_poll_and_pauses_the_lines() -> None:
    async def late(exchange: Exchange, remote_id: str) -> None:
        seen.append(remote_id)
        number = len(seen)
        await asyncio.sleep(0.005)  # the next question is there before its answer
        if number == 50:
            body = running(remote_id)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            await exchange.write(head + body)
            await asyncio.sleep(0.002)
            await exchange.write(head + body)
            return
        await exchange.answer(body=running(remote_id) if number < 400 else succeeded(remote_id))

    seen: list[str] = []
    async with setting(late) as found:
        found.follow(40)
        await found.until(lambda: len(found.verdicts.kept) == 40)
        counts = found.poller.counts
        assert (counts.about_another_task, counts.lines_paused, counts.transient_errors) == (1, 1, 0)
        assert len(seen) == counts.scanned + 1, "it was asked for once more"


@on_uvloop
async def test_after_answers_about_other_tasks_polls_go_without_lines_for_a_minute() -> None:
    async with setting(after(10**9)) as found:
        found.follow(40)
        now = asyncio.get_running_loop().time()
        a_task = found.poller.tasks[0]
        lines = Lines(
            found.provider, counts=PollCounts(), next_task=lambda _: a_task, apply=found.poller.apply
        )
        await found.until(lambda: found.poller.counts.processing >= 40)
        line = lines.take(a_task, now)
        assert line is not None
        line.end()
        lines._mixed_up(now)
        assert lines.take(a_task, now + PAUSE_SECONDS - 1.0) is None
        assert lines._next(now + PAUSE_SECONDS - 1.0) is None, "a line that is at work ends"
        lines._mixed_up(now + 1.0)
        assert lines._counts.lines_paused == 1, "one pause"
        assert lines._next(now + PAUSE_SECONDS) is a_task
        line = lines.take(a_task, now + PAUSE_SECONDS)
        assert line is not None
        line.end()


@pytest.mark.parametrize("goodbye", ["said", "unsaid"])
@on_uvloop
async def test_a_server_that_closes_after_its_answers_costs_no_poll(goodbye: str) -> None:
    async def closing(exchange: Exchange, remote_id: str) -> None:
        body = await_end(remote_id)
        closes = len(found.server.requests) % 3 == 0
        headers = {"Connection": "close"} if closes and goodbye == "said" else {}
        await exchange.answer(body=body, headers=headers)
        if closes:
            await exchange.close()

    asked: dict[str, int] = {}

    def await_end(remote_id: str) -> bytes:
        asked[remote_id] = asked.get(remote_id, 0) + 1
        return succeeded(remote_id) if asked[remote_id] == 4 else running(remote_id)

    async with setting(closing) as found:
        found.follow(100)
        await found.until(lambda: len(found.verdicts.kept) == 100)
        assert found.poller.counts.transient_errors == 0
        assert found.poller.counts.scanned == 400


@on_uvloop
async def test_no_question_follows_on_a_connection_whose_server_said_that_it_closes() -> None:
    class Kept:
        def __init__(self) -> None:
            self.got = asyncio.get_running_loop().create_future()

        def done(self) -> bool:
            return self.got.done()

        def set_result(self, response: Response) -> None:
            self.got.set_result(line.may_go_on())

        def set_exception(self, error: TransportError) -> None:
            self.got.set_exception(error)

    async def answer(exchange: Exchange, remote_id: str) -> None:
        is_last = len(found.server.requests) == 3
        headers = {"Connection": "close"} if is_last else {}
        await exchange.answer(body=running(remote_id), headers=headers)

    async with setting(answer) as found:
        await found.provider.poll_remote_task("r-1")
        found_line = found.provider.poll_line()
        assert found_line is not None
        line = found_line
        may_go_on = []
        for _ in range(2):
            kept = Kept()
            question = found.provider.poll_question("r-1")
            assert question is not None
            line.ask(question, kept, until=asyncio.get_running_loop().time() + 5.0)
            may_go_on.append(await kept.got)
        assert may_go_on == [True, False]
        line.end()


@on_uvloop
async def test_an_answer_about_another_task_ends_the_line_and_is_no_verdict() -> None:
    async def swapped(exchange: Exchange, remote_id: str) -> None:
        seen.append(remote_id)
        await exchange.answer(body=succeeded("r-999" if len(seen) % 4 == 2 else remote_id))

    seen: list[str] = []
    async with setting(swapped) as found:
        found.follow(20)
        await found.until(lambda: len(found.verdicts.kept) == 20)
        assert found.poller.counts.about_another_task >= 4
        urls = [verdict.video_url for verdict in found.verdicts.kept.values()]  # type: ignore[union-attr]
        assert len(set(urls)) == 20
        assert not any("r-999" in url for url in urls)


@on_uvloop
async def test_a_failure_that_names_no_task_counts_only_over_a_fresh_connection() -> None:
    async def unknown(exchange: Exchange, remote_id: str) -> None:
        known = b'{"code":-22,"msg":"task does not exist","data":null}'
        await exchange.answer(body=running(remote_id) if len(found.server.requests) <= 8 else known)
        connections.append(exchange.connection_number)

    connections: list[int] = []
    async with setting(unknown) as found:
        found.follow(1)
        await found.until(lambda: len(found.verdicts.kept) == 1)
        assert len(set(connections[8:])) >= 5, "each of the five was said over a connection of its own"


@on_uvloop
async def test_a_question_without_an_answer_times_out_and_is_asked_again() -> None:
    async def silent_at_first(exchange: Exchange, remote_id: str) -> None:
        seen.append(remote_id)
        if len(seen) == 5:
            await asyncio.sleep(5)
        await exchange.answer(body=running(remote_id) if len(seen) < 20 else succeeded(remote_id))

    seen: list[str] = []
    async with setting(silent_at_first, timeout_seconds=0.3) as found:
        found.follow(2)
        await found.until(lambda: len(found.verdicts.kept) == 2)
        assert found.poller.counts.transient_errors == 1


@pytest.mark.parametrize("how", ["close", "reset"])
@on_uvloop
async def test_a_connection_that_ends_costs_one_poll(how: str) -> None:
    async def breaking(exchange: Exchange, remote_id: str) -> None:
        seen.append(remote_id)
        if len(seen) == 6:
            await getattr(exchange, how)()
            return
        await exchange.answer(body=running(remote_id) if len(seen) < 20 else succeeded(remote_id))

    seen: list[str] = []
    async with setting(breaking) as found:
        found.follow(2)
        await found.until(lambda: len(found.verdicts.kept) == 2)
        assert found.poller.counts.transient_errors == 1


@on_uvloop
async def test_while_polls_go_over_lines_other_requests_get_their_turn() -> None:
    async with setting(after(10**9)) as found:
        found.follow(500)
        polling = asyncio.ensure_future(found.poller.run())
        await asyncio.sleep(0.2)
        for number in range(20):
            async with asyncio.timeout(WAIT_SECONDS):
                await found.provider.poll_remote_task(f"r-{number}")
        async with asyncio.timeout(WAIT_SECONDS):
            while found.poller.counts.processing <= 500:
                await asyncio.sleep(0.01)
        assert found.poller.counts.transient_errors == 0
        await ended(polling)


@on_uvloop
async def test_when_polling_stops_the_question_under_way_is_given_up_with_its_connection() -> None:
    async def slow(exchange: Exchange, remote_id: str) -> None:
        if len(found.server.requests) > 3:
            await asyncio.sleep(0.5)
        await exchange.answer(body=running(remote_id))

    async with setting(slow) as found:
        found.follow(1)
        polling = asyncio.ensure_future(found.poller.run())
        while len(found.server.requests) <= 3:
            await asyncio.sleep(0.005)
        counted = found.poller.counts.processing
        await ended(polling)
        await asyncio.sleep(0.7)
        assert found.poller.counts.processing == counted


@on_uvloop
async def test_a_defect_in_acting_on_an_answer_ends_the_poller_as_it_would_without_lines() -> None:
    async with setting(after(3)) as found:
        found.follow(1)

        def broken(_task_id: int, _attempt: int, _verdict: Verdict) -> None:
            raise RuntimeError("a defect")

        found.verdicts.verdict = broken  # type: ignore[method-assign,assignment]
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(WAIT_SECONDS):
                await found.poller.run()
        assert raised.group_contains(RuntimeError, match="a defect")


@on_uvloop
async def test_the_unified_api_asks_over_lines_too() -> None:
    async def answer(exchange: Exchange) -> None:
        remote_id = exchange.path.rpartition("=")[2]
        asked.append(remote_id)
        document = {"id": remote_id, "status": "running", "progress": 10}
        if asked.count(remote_id) == 3:
            document |= {
                "status": "succeeded",
                "results": [{"url": f"https://f.example.com/{remote_id}.mp4"}],
            }
        await exchange.answer(body=json.dumps(document).encode())

    asked: list[str] = []
    async with http1_server(answer) as server:
        transport = HttpTransport(connections_max=CONNECTIONS)
        found = Setting(server, transport, 5.0)
        provider = GrsaiUnifiedProvider(
            ProviderConfig(
                host=server.url,
                api_key="key",
                transport=transport,
                timeout_seconds=5.0,
            )
        )
        context = context_of(schedule=LadderSchedule(0.01, 0.01), committer=found.verdicts)
        found.poller = Poller(provider, context, Attempts(), health=ProviderHealth())
        found.follow(5)
        await found.until(lambda: len(found.verdicts.kept) == 5)
        assert len(asked) == 15
        await transport.close()
