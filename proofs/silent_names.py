"""`silent-names`: accounts whose name servers say nothing and whose receivers hang delay no poll of a provider.

In a mount namespace with a `resolv.conf` of its own, the system's name server is a socket that never answers.
Polls go to a provider by name over fresh connections, alone and beside the accounts' webhooks, in one event loop
as in `rushes serve`. Needs root, for the namespace and port 53.
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvloop

from proofs.result import ProofResult
from rushes.domain.errors import RushesError
from rushes.files.guard.client import GuardedHttp
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import TransportError

TASKS = 200
"""Polls in each phase."""

ACCOUNTS = 8
DELIVERIES_PER_ACCOUNT = 8
POLL_SECONDS = 0.05
TIMEOUT_SECONDS = 10.0
P99_SECONDS_MORE_MAX = 0.25
"""How much later the 99th of a hundred polls may be answered beside the accounts."""

NAME_SERVER = "127.0.0.53"
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18


def add_options(parser: argparse.ArgumentParser) -> None:
    """Nothing more."""


def run(options: argparse.Namespace) -> ProofResult:
    """Measure in a process of its own, for its namespace."""
    result = ProofResult("silent-names")
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "proofs.silent_names", str(options.tasks)],
        capture_output=True,
        text=True,
        timeout=120 + options.tasks * 5,
        check=False,
    )
    result.seconds = time.monotonic() - started
    if done.returncode:
        result.differ([(done.stderr.strip().splitlines() or ["it ended without a word"])[-1]])
        return result
    measured = json.loads(done.stdout)
    for name, phase in measured["phases"].items():
        result.fact(f"{name}: p50 / p99 / longest, ms", phase["shown"])
        if phase["failed"]:
            result.differ([f"{name}: {phase['failed']} polls failed, such as: {phase['why']}"])
    more = measured["phases"]["beside them"]["p99"] - measured["phases"]["alone"]["p99"]
    if more > P99_SECONDS_MORE_MAX:
        result.differ([f"the p99 of polls is {more * 1000:.0f} ms more beside the accounts"])
    result.fact("webhooks that failed meanwhile", measured["webhooks_failed"])
    result.fact("questions to the silent name server", measured["questions"])
    if not measured["questions"]:
        result.differ(["the silent name server was never asked"])
    loop_lookup = measured["event_loops_own_lookup_seconds"]
    result.fact("the same look-up by the event loop's threads, s", loop_lookup)
    result.headline = (
        f"{options.tasks} polls beside {ACCOUNTS} accounts with silent names and hanging receivers"
    )
    return result


# --- in the namespace -----------------------------------------------------------------------------------


def own_resolv_conf(folder: Path) -> None:
    """Bind a file over `/etc/resolv.conf`, for this process only. Raises `OSError`."""
    own = folder / "resolv.conf"
    own.write_text(f"nameserver {NAME_SERVER}\noptions timeout:5 attempts:2\n")
    libc = ctypes.CDLL(None, use_errno=True)
    target = os.path.realpath("/etc/resolv.conf").encode()
    for failed in (
        lambda: libc.unshare(CLONE_NEWNS),
        lambda: libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
        lambda: libc.mount(str(own).encode(), target, None, MS_BIND, None),
    ):
        if failed():
            raise OSError(ctypes.get_errno(), "a mount namespace needs root")


def silent_name_server() -> list[int]:
    """Listens and says nothing; the list's only number counts what it was asked."""
    asked = [0]
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((NAME_SERVER, 53))

    def swallow() -> None:
        while True:
            server.recv(4096)
            asked[0] += 1

    threading.Thread(target=swallow, daemon=True).start()
    return asked


async def polled(url: str, count: int) -> dict[str, Any]:
    """Polls at an even pace, each over a fresh connection and by name."""
    transport, took, failed, why = HttpTransport(), list[float](), 0, ""

    async def poll() -> None:
        nonlocal failed, why
        started = time.monotonic()
        try:
            await transport.request(
                "GET", url, headers={}, body=None, timeout_seconds=TIMEOUT_SECONDS, fresh=True
            )
        except TransportError as error:
            failed, why = failed + 1, error.reason
        took.append(time.monotonic() - started)

    polls = []
    for _ in range(count):
        polls.append(asyncio.create_task(poll()))
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.gather(*polls)
    await transport.close()
    took.sort()
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
    shown = " / ".join(f"{seconds * 1000:.1f}" for seconds in (p50, p99, took[-1]))
    return {"p99": p99, "shown": shown, "failed": failed, "why": why}


async def measured(count: int, asked: list[int]) -> dict[str, Any]:
    """Both phases, and what one look-up by the event loop's own threads takes beside eight silent ones."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()

    provider = await asyncio.start_server(answer, "127.0.0.1", 0)
    receiver = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://localhost:{provider.sockets[0].getsockname()[1]}/"
    alone = await polled(url, count)
    http, webhooks_failed = GuardedHttp(allow_private=True), 0

    async def deliver(account: int, number: int) -> None:
        nonlocal webhooks_failed
        hanging = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/"
        turn = 0
        while True:
            turn += 1
            silent = f"http://hook-{account}-{number}-{turn}.example.com/"
            try:
                await http.post(
                    hanging if number % 2 else silent,
                    headers={},
                    body=b"{}",
                    timeout_seconds=5,
                    asker=f"account {account}",
                )
            except RushesError:
                webhooks_failed += 1

    deliveries = [
        asyncio.create_task(deliver(account, number))
        for account in range(ACCOUNTS)
        for number in range(DELIVERIES_PER_ACCOUNT)
    ]
    await asyncio.sleep(1)
    beside = await polled(url, count)
    for task in deliveries:
        task.cancel()
    await asyncio.gather(*deliveries, return_exceptions=True)
    loop = asyncio.get_running_loop()
    silent = [asyncio.ensure_future(loop.getaddrinfo(f"old-{n}.example.com", 443)) for n in range(ACCOUNTS)]
    await asyncio.sleep(0.1)
    started = time.monotonic()
    with contextlib.suppress(OSError):
        await loop.getaddrinfo("localhost", 443)
    own_lookup = time.monotonic() - started
    await asyncio.gather(*silent, return_exceptions=True)
    provider.close()
    receiver.close()
    return {
        "phases": {"alone": alone, "beside them": beside},
        "webhooks_failed": webhooks_failed,
        "questions": asked[0],
        "event_loops_own_lookup_seconds": own_lookup,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rushes-proof-names-") as name:
        try:
            own_resolv_conf(Path(name))
            asked = silent_name_server()
        except OSError as refused:
            sys.exit(f"no namespace with a silent name server: {refused}")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            json.dump(runner.run(measured(int(sys.argv[1]), asked)), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # look-ups may still be under way
