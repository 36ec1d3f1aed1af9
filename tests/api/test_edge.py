"""What a hostile client can take of the server, over raw sockets: bytes, time, places, order."""

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from rushes.api.edge import protocol
from rushes.domain.brake import SLOW_SECONDS
from tests.api.harness import SECRETS, RunningService, Tenant, eventually, running_service

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
SENT_BYTES_MAX = 12 * 2**20
"""What a client can push out before it sees that it was cut: the system's own buffers, mostly."""


@contextlib.contextmanager
def connected(service: RunningService, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A raw connection from one of this machine's own addresses."""
    address = urlsplit(service.base_url)
    with socket.create_connection(
        (address.hostname, address.port), timeout=15, source_address=(source, 0)
    ) as connection:
        yield connection


def heard(connection: socket.socket) -> bytes:
    """All that comes until the server closes or, once it has begun to answer, is silent for a moment."""
    received = b""
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            received += data
            connection.settimeout(1.5)
    return received


def answered(service: RunningService, *sent: bytes, source: str = "127.0.0.1") -> list[int]:
    """The statuses of all answers to these bytes, until the server closes or is silent for a moment."""
    with connected(service, source) as connection:
        for data in sent:
            connection.sendall(data)
        received = heard(connection)
    return [int(status) for status in STATUS.findall(received)]


def pushed(service: RunningService, beginning: bytes, more: bytes, *, bytes_max: int = 60 * 2**20) -> int:
    """How many bytes go out before the server cuts the connection; `bytes_max` if it never does."""
    sent = 0
    with connected(service) as connection:
        connection.settimeout(8)
        try:
            connection.sendall(beginning)
            while sent < bytes_max:
                connection.sendall(more)
                sent += len(more)
        except OSError:
            return sent
    return sent


HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"POST /v1/batches HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
FLOODS = {
    "headers": (HEAD, b"x: " + b"y" * 4000 + b"\r\n"),
    "one header": (HEAD + b"x: ", b"y" * 65536),
    "url": (b"GET /", b"a" * 65536),
    "chunk extension": (CHUNKED + b"1;", b"e" * 65536),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000),
    "one trailer": (CHUNKED + b"0\r\na: ", b"b" * 65536),
    "body after its answer": (
        b"POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n",
        b" " * 65536,
    ),
    "empty lines": (b"", b"\r\n" * 32768),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_what_never_ends_is_cut(idle_service: RunningService, flood: str) -> None:
    assert pushed(idle_service, *FLOODS[flood]) < SENT_BYTES_MAX


def test_trailers_of_a_body_that_is_read_are_bounded_and_are_no_headers(
    idle_service: RunningService,
) -> None:
    tenant = idle_service.tenant()
    head = (
        f"POST /v1/batches HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()
    body = b'{"items":[{"prompt":"a"}]}'
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    assert answered(idle_service, head + chunk + b"0\r\nx-request-id: a\r\n\r\n") == [201]
    assert answered(idle_service, head + chunk + b"0\r\n" + b"a: b\r\n" * 40_000) in ([413], [431])
    extended = b"".join(b"1;%s\r\n%c\r\n" % (b"e" * 2000, byte) for byte in body * 4)
    assert answered(idle_service, head + extended) == [413]
    assert len(tenant.get("/v1/batches")["data"]) == 1


def test_a_body_in_small_chunks_is_taken(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    body = b'{"items":[{"prompt":"%s"}]}' % (b"a" * 3000)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    answer = tenant.request(
        "POST", "/v1/batches", content=chunks(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 201


def test_the_rest_of_an_answered_request_has_a_few_seconds(
    idle_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "ANSWERED_SECONDS_MAX", 0.5)
    with connected(idle_service) as connection:
        connection.sendall(b"POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n ")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 10:
                connection.sendall(b" ")
                time.sleep(0.1)
        assert time.monotonic() - started < 8


def test_a_connection_is_used_again_after_the_rest_of_an_answered_request(
    idle_service: RunningService,
) -> None:
    sent = b"POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n12"
    with connected(idle_service) as connection:
        connection.sendall(sent)
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 401 ")
        connection.sendall(b"345" + HEAD + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("ending", [b"", b"\0\1\r\n\r\n", CHUNKED + b"zz\r\n"])
def test_answers_keep_their_order(idle_service: RunningService, ending: bytes) -> None:
    get = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n"
    asked = b"".join(get % path for path in (b"/healthz", b"/none", b"/readyz", b"/none"))
    statuses = answered(idle_service, asked + ending)
    assert statuses == [200, 404, 503, 404] + ([400] if ending else [])


def test_pipelined_requests_are_bounded(idle_service: RunningService) -> None:
    statuses = answered(idle_service, (HEAD + b"\r\n") * 1500)
    assert set(statuses[:-1]) == {200}
    assert statuses[-1] == 429
    assert len(statuses) <= protocol.PIPELINED_MAX + 2


def test_one_address_cannot_take_all_places(new_database_url: Callable[[str], str]) -> None:
    limits = {"RUSHES_CLIENTS_MAX": "20", "RUSHES_CLIENTS_PER_ADDRESS_MAX": "8"}
    with (
        running_service(new_database_url("sqlite"), environment=limits, with_worker=False) as service,
        contextlib.ExitStack() as stack,
    ):
        held = [stack.enter_context(connected(service)) for _ in range(8)]
        eventually(lambda: answered(service, HEAD + b"\r\n"), lambda statuses: statuses == [503])
        assert answered(service, HEAD + b"\r\n", source="127.0.0.2") == [200]
        held[0].close()
        eventually(lambda: answered(service, HEAD + b"\r\n"), lambda statuses: statuses == [200])


def test_idle_connections_give_way_to_new_ones(new_database_url: Callable[[str], str]) -> None:
    limits = {"RUSHES_CLIENTS_MAX": "10"}
    with (
        running_service(new_database_url("sqlite"), environment=limits, with_worker=False) as service,
        contextlib.ExitStack() as stack,
    ):
        for number in range(30):
            stack.enter_context(connected(service, f"127.0.0.{2 + number % 3}")).sendall(HEAD)
        assert answered(service, HEAD + b"\r\n") == [200]


def test_slow_bodies_of_one_address_are_bounded(new_database_url: Callable[[str], str]) -> None:
    limits = {"RUSHES_BODIES_PER_ADDRESS_MAX": "3"}
    with (
        running_service(new_database_url("sqlite"), environment=limits, with_worker=False) as service,
        contextlib.ExitStack() as stack,
    ):
        tenant = service.tenant()
        slow = (
            f"POST /v1/batches HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
            "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n"
        ).encode()
        for _ in range(3):
            connection = stack.enter_context(connected(service))
            connection.sendall(slow)
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        assert answered(service, slow) == [503]
        assert answered(service, HEAD + b"\r\n") == [200]
        assert answered(service, slow, source="127.0.0.2")[0] == 100


def test_only_a_trusted_proxy_speaks_for_others(new_database_url: Callable[[str], str]) -> None:
    """Wrong secrets are counted for who sent them, not for whom a client says that it is."""
    path = b"POST /internal/batch-worker HTTP/1.1\r\nhost: x\r\n"
    tick = path + b"x-worker-secret: %s\r\nx-forwarded-for: %s\r\n\r\n"
    for proxies, is_slow in (("", True), ("127.0.0.0/8", False)):
        environment = {"RUSHES_TRUSTED_PROXIES": proxies}
        with running_service(
            new_database_url("sqlite"), environment=environment, with_worker=False
        ) as service:
            took = []
            for number in range(6):
                started = time.monotonic()
                assert answered(service, tick % (b"no", f"192.0.2.{number}".encode()))[0] == 401
                took.append(time.monotonic() - started)
            assert (took[-1] > min(took) + SLOW_SECONDS * 0.8) == is_slow, took
            right = answered(service, tick % (SECRETS["RUSHES_WORKER_SECRET"].encode(), b"192.0.2.1"))
            assert right == [200], "taken, whatever was sent before"


def test_a_few_accounts_cannot_hold_all_streams(new_database_url: Callable[[str], str]) -> None:
    limits = {"RUSHES_STREAMS_MAX": "10", "RUSHES_STREAMS_PER_ACCOUNT_MAX": "9"}
    with (
        running_service(new_database_url("sqlite"), environment=limits, with_worker=False) as service,
        contextlib.ExitStack() as stack,
    ):
        greedy, modest = service.tenant(), service.tenant()

        kept = []  # a dropped iterator hangs up

        def opened(tenant: Tenant) -> int:
            path = f"/v1/batches/{tenant.batch()['batch_id']}/events"
            answer = stack.enter_context(tenant.http.stream("GET", path))
            if answer.status_code == 200:
                kept.append(answer.iter_raw())
                next(kept[-1])
            return answer.status_code

        assert [opened(greedy) for _ in range(9)] == [200] * 8 + [503]
        assert opened(modest) == 200


# --- other protocols ------------------------------------------------------------------------------------

UPGRADE = b"connection: upgrade\r\nupgrade: %s\r\n"
HIDDEN = b"GET /none HTTP/1.1\r\nhost: x\r\n\r\n"


def answered_in_turn(service: RunningService, *sent: bytes) -> list[int]:
    """As `answered`, each part on its own: the server reads them one by one."""
    with connected(service) as connection:
        for data in sent:
            connection.sendall(data)
            time.sleep(0.3)
        received = heard(connection)
    return [int(status) for status in STATUS.findall(received)]


@pytest.mark.parametrize("protocol_name", [b"websocket", b"h2c", b"any"])
@pytest.mark.parametrize("answers", [answered, answered_in_turn])
def test_a_body_after_a_request_for_another_protocol_is_no_request(
    idle_service: RunningService, answers: Callable[..., list[int]], protocol_name: bytes
) -> None:
    head = b"POST /healthz HTTP/1.1\r\nhost: x\r\n" + UPGRADE % protocol_name
    length = b"content-length: %d\r\n\r\n" % len(HIDDEN)
    chunked, chunk = b"transfer-encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n" % (len(HIDDEN), HIDDEN)
    assert answers(idle_service, head + length, HIDDEN, HEAD + b"\r\n") == [405, 200]
    assert answers(idle_service, head + chunked, chunk, b"0\r\n\r\n", HEAD + b"\r\n") == [405, 200]
    assert answers(idle_service, HEAD + UPGRADE % protocol_name + b"\r\n", HEAD + b"\r\n") == [200, 200]


def test_who_offers_another_protocol_is_served_in_this_one(idle_service: RunningService) -> None:
    """Java's client does so with its first request, also when that has a body."""
    tenant = idle_service.tenant()
    body = b'{"items":[{"prompt":"%s"}]}' % (b"a" * 3000)
    head = (
        f"POST /v1/batches HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAA\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    sent = head + body
    assert answered(idle_service, sent) == [201]
    for place in (10, len(head) - 1, len(head), len(head) + 1, len(sent) - 1):
        assert answered_in_turn(idle_service, sent[:place], sent[place:]) == [201], place
    assert answered(idle_service, head + b" " * len(body)) == [400], "it is read as any other"
    assert {batch["total_count"] for batch in tenant.get("/v1/batches")["data"]} == {1}


def test_two_names_of_the_host_are_refused(idle_service: RunningService) -> None:
    assert answered(idle_service, HEAD + b"host: y\r\n\r\n") == [400]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"GET http://a:b@x:99999999/", 400),
        (b"GET x:443", 400),
        (b"CONNECT x:443", 405),
        (b"CONNECT /healthz", 405),
    ],
)
def test_a_target_that_is_none_is_refused_and_nothing_more_is_read(
    idle_service: RunningService, capfd: pytest.CaptureFixture[str], target: bytes, status: int
) -> None:
    sent = b"%s HTTP/1.1\r\nhost: x\r\n\r\n" % target
    assert answered(idle_service, sent + HIDDEN) == [status]
    assert answered_in_turn(idle_service, sent, HIDDEN) == [status]
    assert answered(idle_service, HEAD + b"\r\n" + sent + HIDDEN) == [200, status]
    assert answered_in_turn(idle_service, HEAD + b"\r\n", sent) == [200, status]
    assert "Traceback" not in capfd.readouterr().err
