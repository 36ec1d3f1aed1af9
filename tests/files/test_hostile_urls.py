"""Hostile URLs: none leads to a connection to a private address, counted where connections are accepted."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from rushes.files.guard.client import GuardedHttp
from tests.files.hostile_urls import attempts, literal_urls, spellings


def test_of_all_hostile_urls_none_reaches_a_private_address() -> None:
    """In a network where every address of the internet is a listener of ours."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.files.hostile_urls"], capture_output=True, text=True, timeout=120
    )
    if "no network of our own" in done.stderr:
        pytest.skip(done.stderr.strip())
    counted = json.loads(done.stdout)
    assert counted["urls"] >= 500
    assert counted["private"] == []
    assert counted["private_connects"] == 0
    assert counted["public_connects"] > 200, "redirects were followed as far as they are harmless"
    assert counted["private_connects_without_guard"] == 8, "the listeners can count"


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A port at every address of this machine, and from where connections came."""
    came: list[str] = []
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100) as server:

        def accept() -> None:
            while True:
                try:
                    connection, (peer, *_) = server.accept()
                except OSError:
                    return
                came.append(peer)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_nothing_of_this_machine_is_connected_to() -> None:
    """The same in the network that there is, for this machine's own addresses."""
    own = {"127.0.0.1", "127.0.0.2", "::1", *(str(each[4][0]) for each in socket.getaddrinfo("localhost", 1))}

    async def resolve(host: str, _port: int) -> list[str]:
        return sorted(own) if host == "own.example" else ["::ffff:127.0.0.1"]

    async def scenario() -> None:
        with listening() as (port, came):
            hosts = [
                *spellings("127.0.0.1"),
                *spellings("0.0.0.0"),
                "own.example",
                "mapped.example",
                "[::]",
                "0",
            ]
            urls = [f"https://{host}:{port}/" for host in hosts if ":443" not in host]
            urls += [f"http://127.0.0.1:{port}/", f"https://localhost:{port}/"]
            urls += [url for url in literal_urls() if urlsplit(url.strip()).hostname == "127.0.0.1"]
            assert len(urls) >= 70
            http = GuardedHttp(allow_private=False, resolve=resolve)
            for url in urls:
                await attempts(http, url)
            await http.close()
            assert came == []
            unguarded = GuardedHttp(allow_private=True, resolve=resolve)
            for host in ("127.0.0.1", "[::1]", "own.example"):
                await attempts(unguarded, f"https://{host}:{port}/")
            await unguarded.close()
            assert len(came) >= 6, "the listener can count"

    asyncio.run(scenario())
