"""Callbacks: each kind arrives at a real receiver, and says what it should."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rushes.simulator import (
    CallbackKind,
    SimulatorCore,
    SimulatorKnobs,
    SimulatorThread,
    running_simulator,
)
from tests.simulator.simulator_client import (
    SORA,
    VEO,
    call,
    core_call,
    poll_until_final,
    sora_body,
    submit_sora,
    veo_body,
)

QUICK = SimulatorKnobs(
    render_seconds=0.3, sora_render_sigma=0, callback_delay_seconds=0.05, callback_progress=False
)


class Receiver:
    """What came, as (path, body, monotonic time)."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any, float]] = []
        self.url = ""

    def bodies(self) -> list[Any]:
        return [body for _, body, _ in self.received]

    def wait_for(self, count: int, *, settle_seconds: float = 0.3) -> list[Any]:
        """The bodies once `count` came; a moment longer, so that one too many is seen."""
        deadline = time.monotonic() + 10
        while len(self.received) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(settle_seconds)
        return self.bodies()


@contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/json"
            receiver.received.append((self.path, json.loads(body), time.monotonic()))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/callbacks/token"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def one_task(**knobs: object) -> Iterator[tuple[Receiver, SimulatorThread, str]]:
    with receiving() as receiver, running_simulator(QUICK.replaced(knobs)) as simulator:
        yield receiver, simulator, submit_sora(simulator.base_url, webHook=receiver.url)


def test_the_final_callback_is_the_result_object_without_envelope() -> None:
    with one_task() as (receiver, simulator, task_id):
        bodies = receiver.wait_for(1)
        assert bodies == [poll_until_final(simulator.base_url, task_id)]
        assert (bodies[0]["id"], bodies[0]["status"]) == (task_id, "succeeded")
        assert receiver.received[0][0] == "/callbacks/token"
        assert simulator.report().callbacks == {"final": 1, "posts_answered_2xx": 1}


def test_progress_comes_half_way_unless_it_is_shut() -> None:
    with receiving() as receiver, running_simulator(QUICK.replaced({"callback_progress": True})) as simulator:
        submit_sora(simulator.base_url, "a", webHook=receiver.url)
        submit_sora(simulator.base_url, "b", webHook=receiver.url, shutProgress=True)
        bodies = receiver.wait_for(3)
    assert [(body["status"], body["progress"]) for body in bodies] == [
        ("running", 50),
        ("succeeded", 100),
        ("succeeded", 100),
    ]


def test_no_callback_without_a_url_or_when_they_are_off() -> None:
    with one_task(callbacks=False) as (receiver, simulator, task_id):
        submit_sora(simulator.base_url, "b")  # webHook "-1"
        poll_until_final(simulator.base_url, task_id)
        assert receiver.wait_for(0) == []


def test_a_lost_callback_never_comes() -> None:
    with one_task(callback_lost=1) as (receiver, simulator, task_id):
        assert poll_until_final(simulator.base_url, task_id)["status"] == "succeeded"
        assert receiver.wait_for(0) == []


def test_a_duplicate_callback_comes_twice_alike() -> None:
    with one_task(callback_duplicate=1) as (receiver, simulator, _):
        first, second = receiver.wait_for(2)
        assert first == second
        assert simulator.report().callbacks["duplicate"] == 1


def test_a_late_callback_comes_late() -> None:
    start = time.monotonic()
    with one_task(callback_late=1, callback_late_seconds=0.5) as (receiver, _, _task_id):
        receiver.wait_for(1)
        assert receiver.received[0][2] - start >= 0.3 + 0.05 + 0.5 - 0.02


def test_an_out_of_order_callback_says_running_after_the_end() -> None:
    with one_task(callback_out_of_order=1) as (receiver, _, _task_id):
        assert [body["status"] for body in receiver.wait_for(2)] == ["succeeded", "running"]


def test_forged_callbacks_come_before_the_end_and_lie() -> None:
    with receiving() as receiver, running_simulator(QUICK.replaced({"callback_forged": 1})) as simulator:
        ids = {submit_sora(simulator.base_url, f"p{n}", webHook=receiver.url) for n in range(12)}
        bodies = receiver.wait_for(24)
        report = simulator.report()
    forged = [body for body in bodies if body["status"] == "failed" or body["id"] not in ids]
    honest = [body for body in bodies if body["status"] == "succeeded" and body["id"] in ids]
    assert (len(forged), len(honest)) == (12, 12)
    assert {body["id"] in ids for body in forged} == {True, False}
    assert report.callbacks["forged_result"] + report.callbacks["forged_id"] == 12


def test_a_forged_success_names_a_file_that_is_not_there() -> None:
    knobs = {"callback_forged": 1.0, "output_moderation": 1.0}
    with receiving() as receiver, running_simulator(QUICK.replaced(knobs)) as simulator:
        submit_sora(simulator.base_url, "p", webHook=receiver.url)
        lies = [body for body in receiver.wait_for(2) if body["status"] == "succeeded"]
        assert len(lies) == 1
        path = lies[0]["results"][0]["url"].removeprefix(simulator.base_url)
        assert call(simulator.base_url, "GET", path).status == 404


def test_veo_s_callback_has_veo_s_shape() -> None:
    with receiving() as receiver, running_simulator(QUICK) as simulator:
        call(simulator.base_url, "POST", VEO, veo_body(webHook=receiver.url))
        (body,) = receiver.wait_for(1)
    assert body["url"].endswith(".mp4")
    assert "results" not in body


def test_a_task_whose_acceptance_was_lost_still_calls_back() -> None:
    with receiving() as receiver, running_simulator(QUICK.replaced({"submit_accepted_then_error": 1})) as sim:
        answer = call(sim.base_url, "POST", SORA, sora_body(webHook=receiver.url))
        assert answer.status == 500
        (body,) = receiver.wait_for(1)
        report = sim.report()
    assert report.tasks is not None
    assert body["id"] == report.tasks[0].id
    assert (report.accepted, report.accepted_unanswered) == (1, 1)


def test_a_receiver_that_refuses_or_is_down_is_counted_and_not_asked_again() -> None:
    with receiving(status=503) as receiver, running_simulator(QUICK) as simulator:
        submit_sora(simulator.base_url, "a", webHook=receiver.url)
        submit_sora(simulator.base_url, "b", webHook="http://127.0.0.1:9/closed")
        assert len(receiver.wait_for(1)) == 1
        assert simulator.report().callbacks == {
            "final": 2,
            "posts_answered_5xx": 1,
            "posts_unanswered": 1,
        }


def test_many_callbacks_all_arrive() -> None:
    with receiving() as receiver, running_simulator(QUICK) as simulator:
        ids = {submit_sora(simulator.base_url, f"p{n}", webHook=receiver.url) for n in range(200)}
        assert {body["id"] for body in receiver.wait_for(200)} == ids


def test_the_core_gives_each_callback_once_in_order_of_time() -> None:
    core = SimulatorCore(SimulatorKnobs(render_seconds=10, callback_duplicate=0.5, callback_forged=0.5))
    for number in range(50):
        core_call(core, 0.0, "POST", SORA, sora_body(f"p{number}", webHook="http://receiver.test/"))
    given = []
    while (due_at := core.next_callback_at()) is not None:
        assert core.due_callbacks(due_at - 1e-6) == []
        given += core.due_callbacks(due_at)
    assert [callback.due_at for callback in given] == sorted(callback.due_at for callback in given)
    kinds = [callback.kind for callback in given]
    assert (kinds.count(CallbackKind.PROGRESS), kinds.count(CallbackKind.FINAL)) == (50, 50)
    assert 10 < kinds.count(CallbackKind.DUPLICATE) < 40


def test_outcomes_that_a_callback_cannot_say_send_none() -> None:
    for outcome in ("business_code", "forgotten", "stuck"):
        core = SimulatorCore(QUICK.replaced({outcome: 1}))
        core_call(core, 0.0, "POST", SORA, sora_body(webHook="http://receiver.test/"))
        assert core.due_callbacks(1e6) == []


def test_fal_is_called_back_at_its_webhook_with_the_result_or_the_error() -> None:
    path = "/fal-ai/veo3.1/fast"
    for outcome, status in ((None, "OK"), ("output_moderation", "ERROR"), ("business_code", "ERROR")):
        knobs = QUICK if outcome is None else QUICK.replaced({outcome: 1})
        core = SimulatorCore(knobs.replaced({"callback_progress": True}))
        target = f"{path}?fal_webhook=http%3A%2F%2Freceiver.test%2Ft"
        made = core_call(core, 0.0, "POST", target, {"prompt": "a fox"})
        (called,) = core.due_callbacks(1e6)
        body = json.loads(called.body)
        assert called.url == "http://receiver.test/t"
        assert (body["request_id"], body["status"]) == (made["request_id"], status)
        if outcome is None:
            assert body["payload"]["video"]["url"].endswith(f"/files/{made['request_id']}.mp4")
        else:
            assert body["error"].startswith("Invalid status code: ")
            assert body["payload"]["detail"]
    core = SimulatorCore(QUICK.replaced({"stuck": 1}))
    core_call(core, 0.0, "POST", f"{path}?fal_webhook=http://receiver.test/", {"prompt": "a fox"})
    assert core.due_callbacks(1e6) == []
