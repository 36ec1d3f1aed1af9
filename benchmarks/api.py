"""The HTTP API: a batch of 10,000 items, how many reads one core serves, and 500 listeners of one batch.

`rushes serve --no-worker` runs in a process of its own on one core, the load comes from another one. A
shared machine takes time from both, so requests are given per second and per second of the server's
processor, which is what one core serves when it has nothing else to do.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httptools
import psutil

from benchmarks._installation import fresh_database, median, postgresql_server
from benchmarks.report import write_section
from rushes.library import Rushes
from rushes.service import create_key
from rushes.settings import Settings

ITEMS: Final = 10_000
ROUNDS: Final = 5
SECONDS: Final = 6.0
CONNECTIONS: Final = 16
LISTENERS: Final = 500
EVENTS: Final = 100
POST_SECONDS_MAX: Final = 1.5
GETS_PER_SECOND_MIN: Final = 1500.0
STREAM_SECONDS_MAX: Final = 60.0

KEY_LIMIT_PER_MIN: Final = 10_000_000
"""Never reached, but counted, as every key's is."""


def run(
    *,
    items: int = ITEMS,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    listeners: int = LISTENERS,
    dialects: tuple[str, ...] = ("sqlite", "postgresql"),
) -> dict[str, Any]:
    """Print the table and write the section `api`; returns it."""
    data: dict[str, Any] = {"items": items, "listeners": listeners}
    with postgresql_server() as uri, _own_core():
        for dialect in dialects:
            with fresh_database(dialect, server_uri=uri) as database:
                url = database.url.render_as_string(hide_password=False)
                key = asyncio.run(_account(url, credits=items * 10 * (rounds + 2) + 100_000))
                with _serving(url, key) as server:
                    found = {
                        **_posts(server, items, rounds),
                        **asyncio.run(_gets(server, seconds)),
                        **asyncio.run(_listeners(server, listeners)),
                    }
            data[dialect] = found
            _print(dialect, found, items, listeners)
    write_section("api", data)
    return data


def _print(dialect: str, found: dict[str, float], items: int, listeners: int) -> None:
    post, gets, per_core = found["post_seconds"], found["gets_per_s"], found["gets_per_cpu_s"]
    verdict = "met" if post <= POST_SECONDS_MAX else "MISSED"
    print(
        f"  {dialect:10} POST of {items:,} items: {post:.2f} s, server CPU {found['post_cpu_seconds']:.2f} s;"
        f" at most {POST_SECONDS_MAX} s: {verdict}"
    )
    verdict = "met" if per_core >= GETS_PER_SECOND_MIN else "MISSED"
    print(
        f"  {dialect:10} GET of a batch: {gets:,.0f}/s with {found['gets_cpu']:.0%} of a core,"
        f" {per_core:,.0f} per second of it, p99 {found['gets_p99_ms']:.1f} ms;"
        f" at least {GETS_PER_SECOND_MIN:,.0f}: {verdict}"
    )
    print(
        f"  {dialect:10} {listeners} listeners, {found['events_each']} events each: last one complete"
        f" {found['last_listener_seconds']:.2f} s after the commit was answered, server CPU"
        f" {found['stream_cpu_seconds']:.2f} s; complete: {found['listeners_complete']} of {listeners}",
        flush=True,
    )


# --- the server -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A running `rushes serve`."""

    port: int
    key: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Of the server's process, since its start."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def ask(self, method: str, path: str, document: object = None) -> dict[str, Any]:
        """An answer that is not a refusal."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if document is None else json.dumps(document).encode(),
            headers={"x-api-key": self.key, "content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


async def _account(url: str, *, credits: int) -> str:
    settings = Settings.load({"RUSHES_DATABASE_URL": url}, env_file=None)
    async with Rushes(settings) as rushes:
        await rushes.grant(credits)
        made = await create_key(rushes, rate_limit_per_min=KEY_LIMIT_PER_MIN)
    return str(made["key"])


@contextlib.contextmanager
def _serving(url: str, key: str) -> Iterator[Server]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUSHES_")}
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "rushes", "serve", "--no-worker", "--port", "0", "--json"),
                *("--log-level", "warning"),
            ],
            stdout=subprocess.PIPE,
            cwd=folder,
            env={
                **environment,
                "RUSHES_DATABASE_URL": url,
                "RUSHES_CLIENTS_PER_ADDRESS_MAX": "4000",  # all clients are on this machine
                "RUSHES_STREAMS_PER_ACCOUNT_MAX": "2000",
            },
        )
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["url"]
            measured = psutil.Process(process.pid)
            cores = sorted(os.sched_getaffinity(os.getppid()))
            if len(cores) > 1:
                measured.cpu_affinity(cores[:1])
            yield Server(int(address.rsplit(":", 1)[1]), key, measured)
        finally:
            process.terminate()
            process.communicate(timeout=20)


@contextlib.contextmanager
def _own_core() -> Iterator[None]:
    """The load leaves the first core to the server."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, set(sorted(before)[1:]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- a large batch --------------------------------------------------------------------------------------


def _posts(server: Server, items: int, rounds: int) -> dict[str, float]:
    document = {
        "items": [
            {
                "prompt": f"a paper boat on a quiet lake, morning light, take {n}",
                "aspect_ratio": "9:16",
                "duration": 10,
                "custom_id": f"boat-{n}",
                "metadata": {"take": n},
            }
            for n in range(items)
        ]
    }
    taken, cpu = [], []
    for _ in range(rounds):
        before, started = server.cpu_seconds(), time.perf_counter()
        assert server.ask("POST", "/v1/batches", document)["total_count"] == items
        taken.append(time.perf_counter() - started)
        cpu.append(server.cpu_seconds() - before)
    return {"post_seconds": median(taken), "post_cpu_seconds": median(cpu)}


# --- reads ----------------------------------------------------------------------------------------------


class _Getting(asyncio.Protocol):
    """Asks again as soon as it is answered; any status but 200 ends the benchmark."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self.latencies: list[float] = []
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first time."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._ask()

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """A whole answer."""
        if self._parser.get_status_code() != 200:
            raise AssertionError(f"HTTP {self._parser.get_status_code()}")
        self.answers += 1
        self.latencies.append(time.perf_counter() - self._asked)
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self.transport.write(self._request)


async def _gets(server: Server, seconds: float) -> dict[str, float]:
    batch_id = server.ask("POST", "/v1/batches", {"items": [{"prompt": "a"}]})["batch_id"]
    request = _request("GET", f"/v1/batches/{batch_id}", server.key)
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Getting(request), "127.0.0.1", server.port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(min(1.0, seconds))  # warm up
    for client in clients:
        client.latencies.clear()
    before, cpu = sum(client.answers for client in clients), server.cpu_seconds()
    started = loop.time()
    await asyncio.sleep(seconds)
    answers = sum(client.answers for client in clients) - before
    elapsed, cpu = loop.time() - started, server.cpu_seconds() - cpu
    for client in clients:
        client.transport.abort()
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return {
        "gets_per_s": answers / elapsed,
        "gets_cpu": cpu / elapsed,
        "gets_per_cpu_s": answers / max(cpu, 0.001),
        "gets_p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def _request(method: str, path: str, key: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n\r\n".encode()


# --- listeners ------------------------------------------------------------------------------------------


async def _listen(server: Server, request: bytes, ready: "asyncio.Semaphore") -> tuple[list[int], float]:
    """The numbers of all events to the stream's end, and when the last one came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    numbers: list[int] = []
    last = 0.0
    try:
        writer.write(request)
        status = await reader.readline()
        if b" 200 " not in status:
            raise AssertionError(status)
        await reader.readuntil(b"\r\n\r\n")
        ready.release()
        while line := await reader.readline():
            if line.startswith(b"id: "):
                numbers.append(int(line[4:]))
                last = time.perf_counter()
            elif line == b"0\r\n":
                break
    finally:
        writer.close()
    return numbers, last


async def _listeners(server: Server, count: int) -> dict[str, float]:
    """Events of a batch whose items all end in one commit: the most that can come at once."""
    document = {"items": [{"prompt": f"p{n}"} for n in range(EVENTS)]}
    batch_id = server.ask("POST", "/v1/batches", document)["batch_id"]
    request = _request("GET", f"/v1/batches/{batch_id}/events", server.key)
    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_listen(server, request, ready)) for _ in range(count)]
    async with asyncio.timeout(STREAM_SECONDS_MAX):
        for _ in range(count):
            await ready.acquire()
        cpu = server.cpu_seconds()
        await asyncio.to_thread(server.ask, "POST", f"/v1/batches/{batch_id}/cancel")
        committed = time.perf_counter()
        found = await asyncio.gather(*tasks)
    expected = list(range(1, EVENTS + 2))
    return {
        "events_each": len(expected),
        "listeners_complete": sum(numbers == expected for numbers, _ in found),
        "last_listener_seconds": max(last for _, last in found) - committed,
        "stream_cpu_seconds": server.cpu_seconds() - cpu,
    }
