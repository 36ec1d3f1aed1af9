"""The HTTP server itself, its thread and process, and the control endpoints."""

import gc
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import trustme

from rushes.domain.errors import InputError
from rushes.simulator import SimulatorKnobs, running_simulator
from rushes.simulator.serving.connection import Connection
from tests.providers.local_http import alive
from tests.simulator.simulator_client import (
    GENERATE,
    RESULT,
    SORA,
    Answer,
    call,
    poll,
    sora_body,
    submit_sora,
)


def sora(base_url: str) -> Answer:
    return call(base_url, "POST", SORA, sora_body())


# --- the server itself


def exchange(base_url: str, data: bytes, *, until: bytes = b"") -> bytes:
    """Send raw bytes on one connection and read until it closes or `until` has come."""
    address = urlsplit(base_url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(data)
        while not (until and received.count(until)):
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return received


def test_pipelined_requests_are_answered_in_order_even_when_the_first_is_slow() -> None:
    with running_simulator(SimulatorKnobs(poll_slow=1, slow_seconds=0.3)) as simulator:
        body = json.dumps({"id": submit_sora(simulator.base_url)}).encode()
        slow = b"POST /v1/draw/result HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        received = exchange(
            simulator.base_url,
            slow + b"GET /_sim/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
    first, second = received.index(b'"progress"'), received.index(b'{"ok":true}')
    assert first < second
    assert received.endswith(b'{"ok":true}')


def test_one_connection_carries_many_requests() -> None:
    with running_simulator() as simulator:
        address = urlsplit(simulator.base_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
        connection.connect()
        socket_before = connection.sock
        for number in range(5):
            connection.request("POST", SORA, json.dumps(sora_body(f"p{number}")))
            assert json.loads(connection.getresponse().read())["code"] == 0
        assert connection.sock is socket_before
        connection.close()


def test_a_connection_that_ended_leaves_nothing_for_the_collector_of_circles() -> None:
    before = alive(Connection)
    gc.disable()
    try:
        with running_simulator() as simulator:
            for _ in range(10):
                exchange(
                    simulator.base_url, b"GET /_sim/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                )
            assert alive(Connection) <= before + 1, "the last one may still be ending"
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"rubbish\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n" + b"a" * 17_000_000, b"413"),
        (b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"404"),
        (b"POST /v1/draw/result HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}", b"400"),
    ],
)
def test_bad_requests_are_answered_and_the_server_lives_on(request_bytes: bytes, status: bytes) -> None:
    with running_simulator() as simulator:
        try:
            assert exchange(simulator.base_url, request_bytes).startswith(b"HTTP/1.1 " + status)
        except ConnectionError:
            assert status == b"413"  # the answer may be lost: the server closes while the body still comes
        assert call(simulator.base_url, "GET", "/_sim/health").json == {"ok": True}


def test_body_that_is_not_json_is_refused_not_crashed_on() -> None:
    deep = b'{"a":' + b"[" * 100_000
    with running_simulator() as simulator:
        for body in (b"", b"{", b"[]", b"null", b'{"id":5}', b'{"id":"\xff"}', b"[" * 100_000, deep):
            assert call(simulator.base_url, "POST", RESULT, body).status == 400
            assert call(simulator.base_url, "POST", SORA, body).json["code"] == -1
            assert call(simulator.base_url, "POST", GENERATE, body).json["status"] == "failed"
        assert simulator.report().accepted == 0


def test_a_port_in_use_is_a_clear_error() -> None:
    with running_simulator() as simulator:
        port = urlsplit(simulator.base_url).port
        with (
            pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}"),
            running_simulator(SimulatorKnobs(), port=port),
        ):
            pass


def test_a_server_started_again_gives_new_ids_and_the_same_fates() -> None:
    knobs = SimulatorKnobs(seed=5, output_moderation=0.3, error=0.3)
    ids: list[str] = []
    fates: list[list[tuple[str, str, float]]] = []
    for _ in range(2):
        with running_simulator(knobs) as simulator:
            ids += [submit_sora(simulator.base_url, f"prompt {number}") for number in range(20)]
            tasks = simulator.report().tasks or ()
        fates.append(
            [
                (task.prompt, task.fate, round((task.finished_at or 0) - task.submitted_at, 3))
                for task in tasks
            ]
        )
    assert len(set(ids)) == 40
    assert fates[0] == fates[1]
    assert len({fate for _, fate, _ in fates[0]}) == 3


def test_the_ids_of_a_server_can_be_fixed() -> None:
    ids = set()
    for _ in range(2):
        with running_simulator(SimulatorKnobs(), id_salt="mine") as simulator:
            ids.add(submit_sora(simulator.base_url))
    assert len(ids) == 1


def read_to_the_end(connection: socket.socket) -> None:
    connection.settimeout(5)
    while connection.recv(65536):
        pass


def test_tls_serves_and_resets() -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    with running_simulator(SimulatorKnobs(), ssl_context=server_context) as simulator:
        assert simulator.base_url.startswith("https://127.0.0.1:")
        port = urlsplit(simulator.base_url).port
        for knobs, expected in ((SimulatorKnobs(), 200), (SimulatorKnobs(submit_reset_after=1), None)):
            simulator.use(knobs)
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=client_context)
            connection.request("POST", SORA, json.dumps(sora_body()))
            if expected is None:
                # read below TLS: Python's ssl reports a reset as an end of file
                with (
                    socket.socket(fileno=os.dup(connection.sock.fileno())) as plain,
                    pytest.raises(ConnectionResetError),
                ):
                    read_to_the_end(plain)
            else:
                assert connection.getresponse().status == expected
            connection.close()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_run_simulator_serves_until_a_signal_and_gives_the_report(stop: signal.Signals) -> None:
    program = (
        "from rushes.simulator import SimulatorKnobs, run_simulator\n"
        "report = run_simulator(SimulatorKnobs(), port=0, ready=lambda url: print(url, flush=True))\n"
        "print(report.accepted)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        submit_sora(process.stdout.readline().strip())
        process.send_signal(stop)
        assert process.stdout.read() == "1\n"
        assert process.wait(10) == 0


# --- control endpoints


def test_control_report_is_the_report_as_json() -> None:
    with running_simulator(SimulatorKnobs(render_seconds=0)) as simulator:
        task_id = submit_sora(simulator.base_url, "twice")
        submit_sora(simulator.base_url, "twice")
        poll(simulator.base_url, task_id)
        report = call(simulator.base_url, "GET", "/_sim/report").json
        short = call(simulator.base_url, "GET", "/_sim/report?tasks=false").json
    assert (report["submits"], report["deliveries"], report["tasks_unseen"]) == (2, 1, 1)
    twice = {"model": "sora-2", "prompt": "twice", "submits": 2, "accepted": 2, "refusals": []}
    assert report["prompts"] == [twice]
    assert [task["ordinal"] for task in report["tasks"]] == [1, 2]
    assert {task["final_answer"] for task in report["tasks"]} == {"succeeded", None}
    assert short["tasks"] is None
    assert short["prompts"] is None
    assert short["accepted"] == 2


def test_knobs_change_while_running_and_bad_ones_are_refused() -> None:
    with running_simulator(SimulatorKnobs(api_key="sk-canary")) as simulator:
        base_url = simulator.base_url
        changed = call(base_url, "POST", "/_sim/knobs", {"submit_server_error": 1, "api_key": ""})
        assert (changed.status, changed.json["submit_server_error"]) == (200, 1.0)
        assert sora(base_url).status >= 500
        bad_bodies: list[object] = [{"sed": 1}, {"error": 2}, {"error": "x"}, [], "x", b"{"]
        for bad in bad_bodies:
            answer = call(base_url, "POST", "/_sim/knobs", bad)
            assert answer.status == 400
            assert answer.json["message"]
        plain = call(base_url, "POST", "/_sim/knobs", {}, headers={"content-type": "text/plain"})
        assert plain.status == 415
        assert call(base_url, "GET", "/_sim/knobs").json["submit_server_error"] == 1.0
        call(base_url, "POST", "/_sim/knobs", {"api_key": "sk-canary"})
        assert b"sk-canary" not in call(base_url, "GET", "/_sim/knobs").body
        assert call(base_url, "GET", "/_sim/nothing").status == 404
