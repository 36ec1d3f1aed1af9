"""Whatever is sent, the answer is a refusal with its reason: never a crash, and nothing is written."""

import contextlib
import json
import socket
import time
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest

from rushes.api.edge import bodies, protocol, server
from tests.api.harness import (
    PROBLEM_FIELDS,
    RunningService,
    Tenant,
    assert_problem,
    code_of,
    eventually,
    running_service,
)

JSON = {"content-type": "application/json"}


def item(**fields: Any) -> dict[str, Any]:
    """A body with one item."""
    return {"items": [{"prompt": "a", **fields}]}


WRONG_BODIES: list[tuple[object, int, str | None]] = [
    ({}, 422, "items"),
    ({"items": []}, 422, "items"),
    ({"items": "a"}, 422, "items"),
    ({"items": [1]}, 422, "items[0]"),
    ({"items": [None]}, 422, "items[0]"),
    ({"items": [[]]}, 422, "items[0]"),
    ({"items": [{}]}, 422, "items[0].prompt"),
    (item(prompt=""), 422, "items[0].prompt"),
    (item(prompt="  \n "), 422, "items[0].prompt"),
    (item(prompt=7), 422, "items[0].prompt"),
    (item(prompt="x" * 4001), 422, "items[0].prompt"),
    (item(prompt="nul\0"), 422, "items[0].prompt"),
    (item(prompt="half \ud83d"), 422, "items[0].prompt"),
    (item(custom_id="nul\0"), 422, "items[0].custom_id"),
    (item(custom_id="x" * 129), 422, "items[0].custom_id"),
    (item(custom_id="half \ud83d"), 422, "items[0].custom_id"),
    (item(model="gpt-2"), 422, "items[0].model"),
    (item(model="\ud83d"), 422, "items[0].model"),
    (item(duration=10**40), 422, "items[0].duration"),
    (item(duration="10"), 422, "items[0].duration"),
    (item(duration=True), 422, "items[0].duration"),
    (item(aspect_ratio="4:3"), 422, "items[0].aspect_ratio"),
    (item(reference_url="file:///etc/passwd"), 422, "items[0].reference_url"),
    (item(reference_url="https://user:pass@example.com/"), 422, "items[0].reference_url"),
    (item(reference_urls=["https://example.com/"] * 4, model="veo-pro"), 422, "items[0].reference_urls"),
    (item(metadata=[]), 422, "items[0].metadata"),
    (item(metadata={"a": "x" * 5000}), 422, "items[0].metadata"),
    (item(metadata={"a": "\ud83d"}), 422, "items[0].metadata"),
    (item(promt="a"), 422, "items[0].promt"),
    ({**item(), "colour": "red"}, 422, "colour"),
    ({**item(), "no\nline": 1}, 422, None),
    ({**item(), "request_id": ""}, 422, "request_id"),
    ({**item(), "request_id": "x" * 129}, 422, "request_id"),
    ({**item(), "request_id": "nul\0"}, 422, "request_id"),
    ({**item(), "request_id": "half \ud83d"}, 422, "request_id"),
    ({**item(), "request_id": 7}, 422, "request_id"),
    ({**item(), "retries": -1}, 422, "retries"),
    ({**item(), "retries": 6}, 422, "retries"),
    ({**item(), "retries": 1.5}, 422, "retries"),
    ({**item(), "retries": True}, 422, "retries"),
    ({**item(), "retries": {}}, 422, "retries.max"),
    ({**item(), "retries": {"max": 6}}, 422, "retries.max"),
    ({**item(), "retries": {"max": 1, "reason": []}}, 422, "retries.reason"),
    ({**item(), "retries": {"max": 1, "reasons": []}}, 422, "retries.reasons"),
    ({**item(), "retries": {"max": 1, "reasons": ["timeout", "cancelled"]}}, 422, "retries.reasons[1]"),
    ({**item(), "retries": {"max": 1, "credits_max": -1}}, 422, "retries.credits_max"),
    ({**item(), "retries": {"max": 1, "credits_max": 10**40}}, 422, "retries.credits_max"),
    ({**item(), "retries": {"max": 0, "credits_max": 1}}, 422, "retries.credits_max"),
    ({**item(), "retries": {"max": 1, "stop_loss": 3}}, 422, "retries.stop_loss"),
    ({**item(), "retries": {"max": 1, "stop_loss": {"after": 3}}}, 422, "retries.stop_loss.pass_rate_min"),
    (
        {**item(), "retries": {"max": 1, "stop_loss": {"pass_rate_min": 1.1, "after": 3}}},
        422,
        "retries.stop_loss.pass_rate_min",
    ),
    (
        {**item(), "retries": {"max": 1, "stop_loss": {"pass_rate_min": 0.5}}},
        422,
        "retries.stop_loss.after",
    ),
    ({**item(), "retries": {"max": 1, "last_model": "gpt-2"}}, 422, "retries.last_model"),
    ({**item(duration=10), "retries": {"max": 1, "last_model": "veo-pro"}}, 422, "retries.last_model"),
    ({**item(), "webhook_url": 7}, 422, "webhook_url"),
    ({**item(), "webhook_url": "ftp://example.com/"}, 422, "webhook_url"),
    ({**item(), "webhook_url": "https://exa mple.com/"}, 422, "webhook_url"),
    ({**item(), "template": "x"}, 422, "template"),
    ({**item(), "variables": {}, "max_outputs": 1}, 422, "variables"),
    ({"template": "{a"}, 422, "template"),
    ({"template": "{a}"}, 422, "variables"),
    ({"template": "{a}", "variables": {"a": []}}, 422, "variables.a"),
    ({"template": "{a}", "variables": {"a": ["\ud83d"]}}, 422, "template"),
    ({"template": "{a}", "variables": [1]}, 422, "variables"),
    ({"template": "x", "max_outputs": 10**30}, 422, "max_outputs"),
    (
        {"items": [{"prompt": "a", "custom_id": "c"}, {"prompt": "b", "custom_id": "c"}]},
        422,
        "items[1].custom_id",
    ),
    ([], 422, None),
    ("text", 422, None),
    (None, 422, None),
]


@pytest.mark.parametrize("route", ["/v1/batches", "/v1/quotes"])
def test_a_wrong_body_is_refused_with_the_fields_path(idle_tenant: Tenant, route: str) -> None:
    for body, status, field in WRONG_BODIES:
        answer = idle_tenant.request("POST", route, content=json.dumps(body), headers=JSON)
        assert answer.status_code == status, (body, answer.text)
        problem = assert_problem(answer)
        assert problem.get("field") == field, (body, problem)
    assert idle_tenant.get("/v1/batches")["data"] == []


RAW_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "INVALID_JSON"),
    (b"{", 400, "INVALID_JSON"),
    (b"\xff\xfe{}", 400, "INVALID_JSON"),
    (b'{"items": [{"prompt": "a\x00"}]}', 400, "INVALID_JSON"),
    (b'{"items": NaN}', 400, "INVALID_JSON"),
    (b'{"items": 1e999}', 422, "INVALID_INPUT"),
    (b'{"items": [], "items": []}', 400, "INVALID_JSON"),
    (b'{"n": ' + b"9" * 5000 + b"}", 400, "INVALID_JSON"),
    (b"[" * 100_000, 400, "INVALID_JSON"),
    (b'{"items": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "INVALID_JSON"),
    (b'{"items":[{"prompt":"a","metadata":{"a":' + b"[" * 60 + b"]" * 60 + b"}}]}", 422, "INVALID_INPUT"),
    (
        b'{"items":[{"prompt":"a","metadata":' + b'{"a":' * 700 + b"1" + b"}" * 700 + b"}]}",
        422,
        "INVALID_INPUT",
    ),
]


def test_what_is_no_sound_json_is_refused(idle_tenant: Tenant) -> None:
    for body, status, code in RAW_BODIES:
        answer = idle_tenant.request("POST", "/v1/batches", content=body, headers=JSON)
        assert (answer.status_code, answer.json()["error"]) == (status, code), body[:80]


def test_another_content_type_is_refused(idle_tenant: Tenant) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "", "☃"):
        answer = idle_tenant.request(
            "POST", "/v1/batches", content=b"{}", headers=[(b"content-type", kind.encode())]
        )
        assert (answer.status_code, answer.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), kind


WRONG_QUERIES = [
    ("/v1/batches", {"limit": "0"}),
    ("/v1/batches", {"limit": "-1"}),
    ("/v1/batches", {"limit": "101"}),
    ("/v1/batches", {"limit": "9" * 400}),
    ("/v1/batches", {"limit": "ten"}),
    ("/v1/batches", {"limit": "1.5"}),
    ("/v1/credits/ledger", {"offset": "-1"}),
    ("/v1/credits/ledger", {"offset": str(2**63)}),
    ("/v1/credits/ledger", {"type": "theft"}),
    ("/v1/credits/ledger", {"from": "yesterday"}),
    ("/v1/credits/ledger", {"from": "x" * 5000}),
    ("/v1/credits/ledger", {"to": "9999-99-99"}),
    ("/v1/credits/ledger", {"from": "2026-01-01T25:00:00Z"}),
    ("/v1/webhooks/deliveries", {"status": "lost"}),
    ("/v1/videos", {"order": "random"}),
]


def test_a_wrong_parameter_is_named(idle_tenant: Tenant) -> None:
    for path, parameters in WRONG_QUERIES:
        answer = idle_tenant.request("GET", path, params=parameters)
        assert answer.status_code == 422, (path, parameters, answer.text)
        assert answer.json()["field"] == next(iter(parameters))


def test_an_id_that_can_be_none_is_not_found(idle_tenant: Tenant) -> None:
    routes = ["", "/items", "/events", "/export"]
    for name in ("nul\0", "../../etc/passwd", "%00", "x" * 3000, "bat_'--", "💥", "bat_0-0", " "):
        paths = [f"/v1/batches/{quote(name, safe='')}{route}" for route in routes]
        for path in (
            *paths,
            f"/v1/videos/{quote(name, safe='')}",
            f"/v1/videos/{quote(name, safe='')}/content",
        ):
            answer = idle_tenant.request("GET", path)
            assert answer.status_code == 404, (path, answer.text)


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/videos", "/v1/webhooks/deliveries"])
def test_a_broken_cursor_is_not_found(idle_tenant: Tenant, path: str) -> None:
    for cursor in ("nul\0", "x" * 3000, "-1", "bat_none", "💥", "' OR 1=1"):
        assert idle_tenant.request("GET", path, params={"after": cursor}).status_code == 404


def test_a_broken_event_number_is_refused(idle_tenant: Tenant) -> None:
    batch_id = idle_tenant.batch()["batch_id"]
    for number in ("-1", "1.5", "x", "9" * 40, "٣"):
        answer = idle_tenant.request(
            "GET", f"/v1/batches/{batch_id}/events", headers=[(b"last-event-id", number.encode())]
        )
        assert (answer.status_code, answer.json()["field"]) == (422, "Last-Event-ID")


def test_a_body_over_the_limit_is_refused_before_it_is_read(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    address = urlsplit(tenant.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/batches HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {10**12}\r\n\r\n{{".encode()
        )
        answer = until_closed(connection).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "BODY_TOO_LARGE" in answer


def test_a_streamed_body_over_the_limit_is_cut_off(idle_tenant: Tenant) -> None:
    def endless() -> Any:
        for _ in range(40):
            yield b" " * 1_000_000

    answer = idle_tenant.request("POST", "/v1/videos", content=endless(), headers=JSON)
    assert (answer.status_code, code_of(answer.json())) == (413, "BODY_TOO_LARGE")


def test_an_unknown_path_and_a_wrong_method_are_problems_too(idle_tenant: Tenant) -> None:
    for path in (
        "/none",
        "/v1",
        "/v1/",
        "/v2/batches",
        "/v1/batches/",
        "/v1//batches",
        "/v1/batches/bat_1/none",
    ):
        assert idle_tenant.request("GET", path).json()["error"] == "NOT_FOUND"
    answer = idle_tenant.request("PUT", "/v1/batches")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert idle_tenant.request("DELETE", "/v1/videos/video_1").status_code == 404


def until_closed(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def raw_answer(service: RunningService, request: bytes) -> bytes:
    """What the server says to these bytes, until it hangs up."""
    address = urlsplit(service.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return until_closed(connection)


def test_what_is_no_http_is_refused(idle_service: RunningService) -> None:
    for request in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100):
        assert b"400" in raw_answer(idle_service, request).splitlines()[0]


def test_a_refusal_before_any_route_has_its_request_id_too(idle_service: RunningService) -> None:
    framings = (
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"content-length: -2\r\n\r\n{}",
        b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    )
    ids = set()
    for framing in framings:
        head, _, body = raw_answer(
            idle_service, b"POST /v1/batches HTTP/1.1\r\nhost: x\r\n" + framing
        ).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), framing
        problem = json.loads(body)
        assert problem.keys() >= PROBLEM_FIELDS
        assert f"x-request-id: {problem['request_id']}".encode() in head
        ids.add(problem["request_id"])
    assert len(ids) == len(framings)


def test_a_compressed_body_is_refused(idle_tenant: Tenant) -> None:
    for encoding in ("gzip", "br", "x"):
        answer = idle_tenant.request(
            "POST", "/v1/batches", content=b"\x1f\x8b", headers={**JSON, "content-encoding": encoding}
        )
        assert (answer.status_code, answer.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_client_that_sends_its_head_too_slowly_is_dropped(
    idle_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS_MAX", 0.4)
    address = urlsplit(idle_service.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ")
        started = time.monotonic()
        assert until_closed(connection) == b""
        assert time.monotonic() - started < 8


def test_a_client_that_sends_its_body_too_slowly_is_told_so(
    idle_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.4)
    tenant = idle_service.tenant()
    address = urlsplit(tenant.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"POST /v1/batches HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
            "content-type: application/json\r\ncontent-length: 100\r\n\r\n{".encode()
        )
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"BODY_TOO_SLOW" in answer
    assert tenant.get("/v1/batches")["data"] == []


def test_a_client_that_never_reads_its_export_holds_nobody_up(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    batch_id = tenant.batch(*("x" * 3000 for _ in range(3000)))["batch_id"]
    address = urlsplit(tenant.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            f"GET /v1/batches/{batch_id}/export HTTP/1.1\r\nhost: x\r\n"
            f"x-api-key: {tenant.key}\r\n\r\n".encode()
        )
        assert connection.recv(1000)
        for _ in range(5):
            assert tenant.get(f"/v1/batches/{batch_id}")["total_count"] == 3000


def test_a_client_that_never_reads_is_dropped_in_the_end(
    idle_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS_MAX", 1.0)  # more than a busy machine makes a reader wait
    tenant = idle_service.tenant()
    batch_id = tenant.batch(*("x" * 3900 for _ in range(4000)))["batch_id"]
    request = (
        f"GET /v1/batches/{batch_id}/export HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
        "connection: close\r\n\r\n"
    ).encode()
    address = urlsplit(tenant.base_url)

    def whole_after(seconds: float) -> bool:
        """Whether the export arrives to its end for who begins to read after so long."""
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(request)
            time.sleep(seconds)
            try:
                return until_closed(connection).endswith(b"0\r\n\r\n")
            except ConnectionError:
                return False

    assert whole_after(0)
    assert not whole_after(4.0)


def test_one_client_too_many_is_told_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "allowed_connections", lambda _wanted: 5)
    with running_service(database_url, with_worker=False) as service, contextlib.ExitStack() as stack:
        address = urlsplit(service.base_url)
        tenant = service.tenant()
        slow_body = (
            f"POST /v1/batches HTTP/1.1\r\nhost: x\r\nx-api-key: {tenant.key}\r\n"
            "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n"
        ).encode()
        for _ in range(5):
            busy = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
            busy.sendall(slow_body)
            assert busy.recv(100).startswith(b"HTTP/1.1 100 ")
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            refused = until_closed(connection)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"TOO_MANY_CONNECTIONS" in refused
        stack.close()
        eventually(
            lambda: raw_answer(service, b"GET /healthz HTTP/1.0\r\n\r\n")[:12], lambda a: a == b"HTTP/1.1 200"
        )


def test_endless_headers_are_refused(idle_service: RunningService) -> None:
    endless = b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"".join(
        b"x-%d: %s\r\n" % (n, b"y" * 1000) for n in range(300)
    )
    address = urlsplit(idle_service.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        received = b""
        try:
            connection.sendall(endless)
            received = connection.recv(65536)
        except ConnectionError:
            return  # it hung up while we were still talking
    assert b"431" in received.splitlines()[0]


def test_a_header_cannot_put_anything_into_the_answer(idle_service: RunningService) -> None:
    tenant = idle_service.tenant()
    for given in ("a\tb", "x" * 65, "a;b", '"quoted"', "é"):
        answer = tenant.request("GET", "/v1/batches", headers=[(b"x-request-id", given.encode())])
        assert answer.headers["x-request-id"].startswith("req_")
    sound = tenant.request("GET", "/v1/batches", headers={"x-request-id": "trace-1.2_3"})
    assert sound.headers["x-request-id"] == "trace-1.2_3"
    injected = raw_answer(
        idle_service,
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: a\r\n evil: 1\r\nconnection: close\r\n\r\n",
    )
    assert b"evil" not in injected.lower()


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        ("/v1/batches?limit=0", "limit", 'must be a whole number from 1 to 100, not "0"'),
        ("/v1/batches?limit=1e3", "limit", 'must be a whole number from 1 to 100, not "1e3"'),
        (
            f"/v1/batches?limit={'9' * 5000}",
            "limit",
            f'must be a whole number from 1 to 100, not "{"9" * 60}…"',
        ),
        ("/v1/events?after=-1", "after", 'must be a whole number from 0 to 9007199254740991, not "-1"'),
        (
            "/v1/batches?status=succeded",
            "status",
            "must be one of pending, processing, running, succeeded, partial, failed, cancelled,"
            ' not "succeded"; did you mean "succeeded"?',
        ),
        ("/v1/batches?order=up", "order", 'must be one of asc, desc, not "up"'),
        ("/v1/batches?model=", "model", "must not be empty"),
        (f"/v1/batches?request_id={'x' * 129}", "request_id", "must have at most 128 characters, not 129"),
        ("/v1/batches?request_id=a%00b", "request_id", 'must be printable text, not "a\\u0000b"'),
        (f"/v1/batches?created_after={'1' * 41}", "created_after", "must have at most 40 characters, not 41"),
    ],
)
def test_a_parameter_is_refused_in_the_words_of_all_refusals(
    idle_tenant: Tenant, path: str, field: str, message: str
) -> None:
    refused = idle_tenant.request("GET", path)
    problem = refused.json()
    assert refused.status_code == 422
    assert (problem["field"], problem["message"]) == (field, f"{field}: {message}")
    assert problem["errors"] == [{"field": field, "message": message}]


@pytest.mark.parametrize("moment", ["0001-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/usage?to=",
        "/v1/usage?from=",
        "/v1/batches?created_after=",
        "/v1/batches?created_before=",
        "/v1/credits/ledger?from=",
        "/v1/credits/ledger?to=",
    ],
)
def test_a_time_at_the_ends_of_the_calendar_is_no_crash(idle_tenant: Tenant, path: str, moment: str) -> None:
    assert idle_tenant.request("GET", path + moment).status_code in (200, 422)


@pytest.mark.parametrize(
    "name", ["x-api-key", "authorization", "idempotency-key", "x-request-id", "content-type", "Last-Event-ID"]
)
def test_a_header_with_two_values_is_refused_and_one_that_is_repeated_is_not(
    idle_tenant: Tenant, name: str
) -> None:
    right = {"x-api-key": idle_tenant.key, "authorization": f"Bearer {idle_tenant.key}"}.get(
        name, "application/json" if name == "content-type" else "7"
    )
    before = len(idle_tenant.get("/v1/batches")["data"])
    own = [("x-api-key", idle_tenant.key)] * (name != "x-api-key")
    body = json.dumps({"items": [{"prompt": "a"}]}).encode()
    given = [*own, *([] if name == "content-type" else JSON.items()), (name, right)]
    with httpx2.Client(base_url=idle_tenant.base_url, trust_env=False) as client:
        refused = client.post("/v1/batches", content=body, headers=[*given, (name, "other")])
        assert refused.status_code == 400
        message = f"the header {name.lower()} is there twice, with different values"
        assert assert_problem(refused)["message"] == message
        assert len(idle_tenant.get("/v1/batches")["data"]) == before
        taken = client.post("/v1/batches", content=body, headers=[*given, (name, right)])
        assert taken.status_code == 201, taken.text
