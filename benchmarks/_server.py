"""The service that the benchmarks poll, in a process of its own, and a generator that finds its ceiling.

    with running_server(running_answers=4) as server:
        server.base_url, server.stats()

A raw asyncio protocol that speaks just enough HTTP/1.1 and just enough of Grsai's generation 1. It answers
`running` to the first `running_answers` polls of a task and `succeeded` from then on.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

ALWAYS_RUNNING = 1_000_000_000
"""`running_answers` of a server whose tasks never end."""

LIMIT_WINDOW_SECONDS = 1.0

_RUNNING = (
    b'{"code":0,"msg":"success","data":{"id":"%b","results":[],"progress":%d,"status":"running",'
    b'"failure_reason":"","error":""}}'
)
_SUCCEEDED = (
    b'{"code":0,"msg":"success","data":{"id":"%b","results":[{"url":"https://file.example.com/video/%b.mp4",'
    b'"removeWatermark":false,"pid":"s_%b"}],"progress":100,"status":"succeeded","failure_reason":"",'
    b'"error":""}}'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class RateWatch:
    """Tells whether more than `per_second` requests ever came within one second."""

    def __init__(self, per_second: float) -> None:
        self.violations = 0
        self._times: deque[float] = deque(maxlen=max(1, int(per_second)))

    def saw(self, now: float) -> None:
        """A request came."""
        times = self._times
        if len(times) == times.maxlen and now - times[0] < LIMIT_WINDOW_SECONDS:
            self.violations += 1
        times.append(now)


class Book:
    """What the server remembers."""

    def __init__(
        self, running_answers: int, polls_per_second: float | None, latency_seconds: float = 0.0
    ) -> None:
        self.running_answers = running_answers
        self.latency_seconds = latency_seconds
        self.polls: dict[bytes, int] = {}
        self.requests = 0
        self.submits = 0
        self.watch = RateWatch(polls_per_second) if polls_per_second else None

    def stats(self) -> dict[str, Any]:
        """JSON values; `cpu_seconds` is the process's since it began."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "requests": self.requests,
            "submits": self.submits,
            "tasks": len(self.polls),
            "finished": sum(1 for polls in self.polls.values() if polls > self.running_answers),
            "limit_violations": self.watch.violations if self.watch else 0,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
        }


class Answering(asyncio.Protocol):
    """One connection. Requests are answered in order; a request may come in parts."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        if self._rest:
            data = self._rest + data
        answers = []
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            length = _content_length(data, end)
            total = end + 4 + length
            if len(data) < total:
                break
            answers.append(self._answer(data, data[end + 4 : total]))
            data = data[total:]
        self._rest = data
        if answers and self._book.latency_seconds:
            asyncio.get_running_loop().call_later(self._book.latency_seconds, self.send, b"".join(answers))
        elif answers:
            self.send(b"".join(answers))

    def send(self, answers: bytes) -> None:
        """Answers to everything that came in one read."""
        if self._transport is not None:
            self._transport.write(answers)

    def _answer(self, head: bytes, body: bytes) -> bytes:
        book = self._book
        if head.startswith(b"POST /v1/draw/result"):
            book.requests += 1
            if book.watch is not None:
                book.watch.saw(time.monotonic())
            remote_id = body[7:-2]  # {"id":"…"}
            polls = book.polls.get(remote_id, 0) + 1
            book.polls[remote_id] = polls
            if polls > book.running_answers:
                content = _SUCCEEDED % (remote_id, remote_id, remote_id)
            else:
                content = _RUNNING % (remote_id, min(99, polls * 19))
        elif head.startswith(b"GET /stats"):
            content = json.dumps(book.stats()).encode()
        elif head.startswith(b"POST /v1/video/"):
            book.submits += 1
            content = b'{"code":0,"msg":"success","data":{"id":"sub-%d"}}' % book.submits
        else:
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        return _HEAD % len(content) + content


class AnsweringOverTls(Answering):
    """The same over TLS, in memory: a third of what asyncio's own TLS layer costs per request."""

    def __init__(self, book: Book, context: ssl.SSLContext) -> None:
        super().__init__(book)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers go through the encryption."""
        self._socket: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Decrypt, answer, encrypt."""
        self._incoming.write(data)
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while True:
                plain = self._tls.read(65536)
                if not plain:
                    break
                super().data_received(plain)
                if not self._incoming.pending and not self._tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._socket.abort()
            return
        if self._outgoing.pending:
            self._socket.write(self._outgoing.read())

    def send(self, answers: bytes) -> None:
        """Encrypt; it is sent with all that this read has caused."""
        self._tls.write(answers)


def _content_length(data: bytes, end: int) -> int:
    at = data.find(b"ontent-", 0, end)
    while at >= 0:
        if data[at + 7 : at + 14].lower() == b"length:":
            return int(data[at + 14 : data.find(b"\r\n", at)])
        at = data.find(b"ontent-", at + 1, end)
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
    book = Book(arguments.running_answers, arguments.polls_per_second, arguments.latency_seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Answering(book) if context is None else AnsweringOverTls(book, context),
        "127.0.0.1",
        arguments.port,
        backlog=1024,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # ends with the process that started this one
    os._exit(0)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where it serves; `certificate_pem` is the authority to trust, None over plain HTTP."""

    base_url: str
    certificate_pem: bytes | None
    pid: int

    def stats(self) -> dict[str, Any]:
        """What it saw so far."""
        context = None
        if self.certificate_pem is not None:
            context = ssl.create_default_context(cadata=self.certificate_pem.decode())
        with urllib.request.urlopen(f"{self.base_url}/stats", timeout=30, context=context) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextlib.contextmanager
def running_server(
    *,
    running_answers: int = 4,
    tls: bool = False,
    polls_per_second: float | None = None,
    latency_seconds: float = 0.0,
) -> Iterator[RunningServer]:
    """A server in a process of its own, on a free port of 127.0.0.1.

    `polls_per_second` is the limit that it watches; `latency_seconds` pass before each answer, not over TLS.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks._server", "--running-answers", str(running_answers)]
        if polls_per_second:
            command += ["--polls-per-second", str(polls_per_second)]
        authority_pem = None
        if latency_seconds:
            command += ["--latency-seconds", str(latency_seconds)]
        if tls:
            import trustme

            authority = trustme.CA()
            authority_pem = authority.cert_pem.bytes()
            path = Path(folder) / "server.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
            command += ["--certificate", str(path)]
        root = Path(__file__).resolve().parent.parent
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            scheme = "https" if tls else "http"
            yield RunningServer(f"{scheme}://127.0.0.1:{port}", authority_pem, process.pid)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=10)
            assert process.stdout is not None
            process.stdout.close()


# --- its ceiling --------------------------------------------------------------------------------------


class _Asking(asyncio.Protocol):
    """Sends one request after the other on one connection and counts the answers."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self._request = request
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first one."""
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._request)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """An answer always comes in one piece: it is a few hundred bytes."""
        self.answers += 1
        assert self._transport is not None
        self._transport.write(self._request)


async def ceiling_per_s(server: RunningServer, *, seconds: float, connections: int = 64) -> float:
    """Polls per second that the server answers to a client which does nothing but send and count."""
    loop = asyncio.get_running_loop()
    context = None
    if server.certificate_pem is not None:
        context = ssl.create_default_context(cadata=server.certificate_pem.decode())
    port = int(server.base_url.rsplit(":", 1)[1])
    asking = []
    for number in range(connections):
        body = b'{"id":"ceiling-%07d"}' % number
        head = (
            b"POST /v1/draw/result HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer key\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        _, protocol = await loop.create_connection(
            lambda request=head + body: _Asking(request),
            "127.0.0.1",
            port,
            ssl=context,
        )
        asking.append(protocol)
    before, started = sum(each.answers for each in asking), loop.time()
    await asyncio.sleep(seconds)
    answers, elapsed = sum(each.answers for each in asking) - before, loop.time() - started
    for each in asking:
        assert each._transport is not None
        each._transport.abort()
    return answers / elapsed


def main() -> None:
    """Serve until stdin closes; the port is the first line of stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--running-answers", type=int, default=4)
    parser.add_argument("--polls-per-second", type=float)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--certificate")
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
