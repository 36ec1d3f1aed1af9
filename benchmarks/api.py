"""The HTTP API: a batch of 10,000 items made, cancelled and retried, reads, and 500 listeners of one batch.

`rushes serve --no-worker` runs in a process of its own on one core, the load comes from another one. A
shared machine takes time from both, so requests are given per second and per second of the server's
processor, which is what one core serves when it has nothing else to do. Reads alternate with a constant
answer on the same route (`_constant_api`), of another process on the same core.
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
from pathlib import Path
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
POST_SECONDS_MAX: Final = 1.0
CANCEL_SECONDS_MAX: Final = 1.0
SHARE_OF_CONSTANT_MIN: Final = 0.5
RETRIES: Final = 100
STREAM_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS_MAX: Final = 60.0

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
    with postgresql_server() as uri, own_core():
        for dialect in dialects:
            with fresh_database(dialect, server_uri=uri) as database:
                url = database.url.render_as_string(hide_password=False)
                key = asyncio.run(account(url, credits=items * 10 * (rounds + 2) + 100_000))
                with serving(url, key) as server, serving(url, key, _CONSTANT) as constant:
                    found = {
                        **_posts(server, items, rounds),
                        **_reads(server, constant, seconds, rounds),
                        **asyncio.run(_listeners(server, listeners)),
                    }
            data[dialect] = found
            _print(dialect, found, items, listeners)
    write_section("api", data)
    return data


def _print(dialect: str, found: dict[str, float], items: int, listeners: int) -> None:
    for what, name, most in (
        (f"POST of {items:,} items", "post", POST_SECONDS_MAX),
        (f"cancel of {items:,} items", "cancel", CANCEL_SECONDS_MAX),
        ("retry of an item among them", "retry", None),
    ):
        seconds, cpu = found[f"{name}_seconds"], found[f"{name}_cpu_seconds"]
        aim = "" if most is None else f"; at most {most} s: {'met' if seconds <= most else 'MISSED'}"
        print(f"  {dialect:10} {what}: {seconds:.3f} s, server CPU {cpu:.3f} s{aim}")
    share = found["gets_to_constant"]
    verdict = "met" if share >= SHARE_OF_CONSTANT_MIN else "MISSED"
    print(
        f"  {dialect:10} GET of a batch: {found['gets_per_s']:,.0f}/s,"
        f" {found['gets_per_cpu_s']:,.0f} per second of a core, p99 {found['gets_p99_ms']:.1f} ms;"
        f" to a constant answer ({found['constant_per_s']:,.0f}/s) {share:.2f} ×,"
        f" by processor time {found['gets_to_constant_cpu']:.2f} ×;"
        f" at least {SHARE_OF_CONSTANT_MIN} ×: {verdict}"
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

    @contextlib.contextmanager
    def timed(self, found: list[tuple[float, float]]) -> Iterator[None]:
        """Append the seconds that pass, and those that the server computes."""
        cpu, started = self.cpu_seconds(), time.perf_counter()
        yield
        found.append((time.perf_counter() - started, self.cpu_seconds() - cpu))

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


async def account(url: str, *, credits: int) -> str:
    """Grant an account its credits; returns a key of it."""
    settings = Settings.load({"RUSHES_DATABASE_URL": url}, env_file=None)
    async with Rushes(settings) as rushes:
        await rushes.grant(credits)
        made = await create_key(rushes, rate_limit_per_min=KEY_LIMIT_PER_MIN)
    return str(made["key"])


_SERVICE: Final = ("-m", "rushes")
_CONSTANT: Final = ("-m", "benchmarks._constant_api")
_FOLDER: Final = Path(__file__).parent.parent


@contextlib.contextmanager
def serving(url: str, key: str, program: tuple[str, ...] = _SERVICE, **more: str) -> Iterator[Server]:
    """A service of this database in a process of its own, on the first core, with `more` settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUSHES_")}
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, *program, "serve", "--no-worker", "--port", "0", "--json"),
                *("--log-level", "warning"),
            ],
            stdout=subprocess.PIPE,
            cwd=folder,
            env={
                **environment,
                "PYTHONPATH": str(_FOLDER),
                "RUSHES_DATABASE_URL": url,
                "RUSHES_CLIENTS_PER_ADDRESS_MAX": "4000",  # all clients are on this machine
                "RUSHES_STREAMS_PER_ACCOUNT_MAX": "2000",
                **more,
            },
        )
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["url"]
            yield Server(int(address.rsplit(":", 1)[1]), key, on_first_core(process.pid))
        finally:
            process.terminate()
            process.communicate(timeout=60)


def on_first_core(pid: int) -> psutil.Process:
    """The process, which from now on runs there alone, where there are several."""
    measured = psutil.Process(pid)
    cores = sorted(os.sched_getaffinity(os.getppid()))
    if len(cores) > 1:
        measured.cpu_affinity(cores[:1])
    return measured


@contextlib.contextmanager
def own_core() -> Iterator[None]:
    """The load leaves the first core to the server."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, set(sorted(before)[1:]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- a large batch --------------------------------------------------------------------------------------


def batch_of(items: int) -> dict[str, Any]:
    """The body of a request for so many items, each with its own prompt, id and metadata."""
    return {
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


def _posts(server: Server, items: int, rounds: int) -> dict[str, float]:
    document = batch_of(items)
    taken: dict[str, list[tuple[float, float]]] = {"post": [], "cancel": [], "retry": []}
    for _ in range(rounds):
        with server.timed(taken["post"]):
            made = server.ask("POST", "/v1/batches", document)
        assert made["total_count"] == items
        batch = f"/v1/batches/{made['batch_id']}"
        for index in range(0, items, -(-items // RETRIES)):
            server.ask("POST", f"{batch}/items/{index}/cancel")
            with server.timed(taken["retry"]):
                server.ask("POST", f"{batch}/items/{index}/retry")
        with server.timed(taken["cancel"]):
            cancelled = server.ask("POST", f"{batch}/cancel")
        assert cancelled["credits_refunded"] == made["required_credits"]
    return {
        f"{name}_{unit}": median([each[at] for each in found])
        for name, found in taken.items()
        for at, unit in enumerate(("seconds", "cpu_seconds"))
    }


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


def _reads(server: Server, constant: Server, seconds: float, rounds: int) -> dict[str, float]:
    """In turns, as a machine's speed changes while others work on it."""
    batch_id = server.ask("POST", "/v1/batches", {"items": [{"prompt": "a"}]})["batch_id"]
    path = f"/v1/batches/{batch_id}"
    assert server.ask("GET", path).keys() == constant.ask("GET", path).keys(), "answers of one shape"
    found: list[dict[str, float]] = []
    for _ in range(rounds):
        read = asyncio.run(_gets(server, path, seconds / rounds))
        other = asyncio.run(_gets(constant, path, seconds / rounds))
        found.append(
            {
                **read,
                "constant_per_s": other["gets_per_s"],
                "gets_to_constant": read["gets_per_s"] / other["gets_per_s"],
                "gets_to_constant_cpu": read["gets_per_cpu_s"] / other["gets_per_cpu_s"],
            }
        )
    return {name: median([each[name] for each in found]) for name in found[0]}


async def _gets(server: Server, path: str, seconds: float) -> dict[str, float]:
    request = _request("GET", path, server.key)
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
    ends = loop.time() + ANSWER_SECONDS_MAX
    while not any(client.latencies for client in clients) and loop.time() < ends:  # noqa: ASYNC110  # of 16
        await asyncio.sleep(seconds)  # a short run on a busy machine: until there is an answer
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
