"""Requests that a proxy and a server could read in two ways, answers out of order, and streams for all."""

import re
import socket
import time

from proofs.attack_floods import Address
from proofs.result import ProofResult
from rushes.client import Client

HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
"""What the attacker wants to be taken for a request of its own."""

POST = b"POST /v1/batches HTTP/1.1\r\nhost: x\r\n"

AMBIGUOUS = {
    "length and chunked": POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked and length": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "signed length": POST + b"content-length: +0\r\n\r\n" + HIDDEN,
    "length with a comma": POST + b"content-length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "hexadecimal length": POST + b"content-length: 0x0\r\n\r\n" + HIDDEN,
    "space before the colon": POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded header": POST
    + b"x: y\r\n transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "unknown coding": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked twice": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunk size too long": POST + b"transfer-encoding: chunked\r\n\r\n" + b"F" * 17 + b"\r\n" + HIDDEN,
    "bare line feeds": b"POST /v1/batches HTTP/1.1\nhost: x\ntransfer-encoding: chunked\n\n0\n\n" + HIDDEN,
    "line feed in a chunk": POST + b"transfer-encoding: chunked\r\n\r\n0\n\n" + HIDDEN,
    "no end of a chunk": POST + b"transfer-encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n" + HIDDEN,
    "nul in a name": POST + b"x\0y: z\r\ncontent-length: 0\r\n\r\n" + HIDDEN,
    "two hosts": POST + b"host: y\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a target that is no URL": b"GET http://a:b@x:99999999/ HTTP/1.1\r\nhost: x\r\n\r\n" + HIDDEN,
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n" + HIDDEN,
}
"""Framings that RFC 9112 forbids: at most one answer, and the hidden request has none of its own."""

UPGRADES: dict[str, tuple[bytes, ...]] = {
    f"{name} for {protocol}": (
        POST + b"connection: upgrade\r\nupgrade: %s\r\n%s\r\n\r\n" % (protocol.encode(), framing),
        body,
    )
    for protocol in ("websocket", "h2c", "anything")
    for name, framing, body in (
        ("length", b"content-length: %d" % len(HIDDEN), HIDDEN),
        ("chunked", b"transfer-encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)),
    )
}
"""Requests that offer another protocol, and their bodies, which a parser may take for that protocol's bytes."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
WAIT_SECONDS = 10.0
UPGRADE_SECONDS = 2.0
"""How long a second answer is waited for on a connection that stays open."""

ONE_TOO_MANY_SECONDS = 0.05
"""How long an answer that nobody asked for is waited for."""

PART_SECONDS = 0.2
"""Between parts that are to be read one after another."""


def exchange(
    address: Address,
    *sent: bytes,
    seconds_max: float = WAIT_SECONDS,
    answers_max: int | None = None,
) -> bytes:
    """Everything that is answered to these bytes within that time; after so many answers only what is there at once.

    Several parts are read one after another.
    """
    received = b""
    until = time.monotonic() + seconds_max
    with socket.create_connection(address, timeout=seconds_max) as connection:
        try:
            for number, part in enumerate(sent):
                time.sleep(PART_SECONDS if number else 0)
                connection.sendall(part)
            while (left := until - time.monotonic()) > 0:
                connection.settimeout(left)
                data = connection.recv(65536)
                if not data:
                    break
                received += data
                if answers_max is not None and len(_STATUS.findall(received)) >= answers_max:
                    until = min(until, time.monotonic() + ONE_TOO_MANY_SECONDS)
        except OSError:
            pass
    return received


def smuggling_differences(result: ProofResult, port: int) -> list[str]:
    """Each forbidden framing is refused, and what it hides is not answered."""
    differences = []
    framings = UPGRADES | {name: (sent,) for name, sent in AMBIGUOUS.items()}
    for name, parts in framings.items():
        seconds_max = UPGRADE_SECONDS if name in UPGRADES else 7.0
        answer = exchange(("127.0.0.1", port), *parts, seconds_max=seconds_max)
        statuses = [int(status) for status in _STATUS.findall(answer)]
        if len(statuses) > 1 or 404 in statuses or not statuses:
            differences.append(f"{name}: answered {statuses}")
    result.fact("smuggling: framings, hidden requests answered", f"{len(framings)}, {len(differences)}")
    return differences


def order_differences(result: ProofResult, port: int) -> list[str]:
    """Answers come in the order of their requests, also when garbage follows them in one packet."""
    asked = ("/healthz", "/none", "/healthz", "/openapi.json", "/none")
    status_of = {"/healthz": 200, "/none": 404, "/openapi.json": 200}
    requests = b"".join(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode() for path in asked)
    endings = {
        "nothing": b"",
        "garbage": b"\0\1\2\r\n\r\n",
        "a bad chunk": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    }
    differences = []
    for name, ending in endings.items():
        for _ in range(10):
            wanted = [status_of[path] for path in asked] + ([400] if ending else [])
            answer = exchange(("127.0.0.1", port), requests + ending, answers_max=len(wanted))
            found = [int(status) for status in _STATUS.findall(answer)]
            if found != wanted:
                differences.append(f"five requests, then {name}: answered {found}")
    result.fact("answers in order: exchanges, out of order", f"30, {len(differences)}")
    return differences


STREAMS = 240
_held: list[socket.socket] = []


def hold_streams(port: int, batch_id: str, key: str, seconds: float) -> str:
    """One account opens streams from several addresses until it gets no more; says what it got."""
    request = f"GET /v1/batches/{batch_id}/events HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n".encode()
    taken = refused = 0
    for number in range(STREAMS):
        connection = socket.socket()
        connection.bind((f"127.0.0.{2 + number % 4}", 0))
        connection.settimeout(10.0)
        connection.connect(("127.0.0.1", port))
        connection.sendall(request)
        begun = connection.recv(65536)
        taken += begun.startswith(b"HTTP/1.1 200")
        refused += begun.startswith(b"HTTP/1.1 429")
        _held.append(connection)
    time.sleep(seconds / 2)
    return f"; {taken} streams taken, {refused} refused"


def stream_differences(port: int, url: str, other_key: str) -> list[str]:
    """While one account holds what it can, another gets its stream."""
    try:
        with Client(url, other_key) as client:
            batch_id = client.create_batch(["a"])["batch_id"]
        request = f"GET /v1/batches/{batch_id}/events HTTP/1.1\r\nhost: x\r\nx-api-key: {other_key}\r\n\r\n"
        answer = exchange(("127.0.0.1", port), request.encode(), seconds_max=1.0)
        return [] if answer.startswith(b"HTTP/1.1 200") else [f"another account's stream: {answer[:40]!r}"]
    finally:
        for connection in _held:
            connection.close()
        _held.clear()
