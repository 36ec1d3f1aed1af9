"""The in-process transport: answers and failures as a network would give them, on any clock."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rushes.providers.http.transport import Response, Transport, TransportError
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from tests.simulator.simulator_client import RESULT, SORA, core_submit, sora_body

HEADERS = {"Authorization": "Bearer sk-1", "Content-Type": "application/json"}


class VirtualClock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def on_virtual_time(
    knobs: SimulatorKnobs, act: Callable[[Transport, SimulatorCore, VirtualClock], Awaitable[Any]]
) -> Any:
    async def run() -> Any:
        clock = VirtualClock()
        core = SimulatorCore(knobs, started_at=0.0)
        return await act(SimulatorTransport(core, clock=clock, sleep=clock.sleep), core, clock)

    return asyncio.run(run())


async def post(transport: Transport, path: str, body: object, timeout_seconds: float = 30.0) -> Response:
    return await transport.request(
        "POST",
        f"https://grsai.test{path}",
        headers=HEADERS,
        body=json.dumps(body).encode(),
        timeout_seconds=timeout_seconds,
    )


def test_a_task_runs_to_its_end_in_virtual_time() -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> int:
        submitted = await post(transport, SORA, sora_body())
        task_id = json.loads(submitted.body)["data"]["id"]
        polls = 0
        while True:
            polls += 1
            answer = await post(transport, RESULT, {"id": task_id})
            data = json.loads(answer.body)["data"]
            if data["status"] == "succeeded":
                break
            await clock.sleep(5)
        file = await transport.request(
            "GET", data["results"][0]["url"], headers={}, body=None, timeout_seconds=9
        )
        assert (file.status, file.headers["content-type"]) == (200, "video/mp4")
        assert int(file.headers["content-length"]) == len(file.body)
        assert core.report(clock()).deliveries == 1
        return polls

    polls = on_virtual_time(SimulatorKnobs(time_scale=1, sora_render_sigma=0), act)
    assert polls == 19  # 90 seconds, every 5


def test_the_key_reaches_the_core_whatever_the_header_s_case() -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> int:
        return (await post(transport, SORA, sora_body())).status

    assert on_virtual_time(SimulatorKnobs(api_key="sk-1"), act) == 200
    assert on_virtual_time(SimulatorKnobs(api_key="sk-2"), act) == 401


@pytest.mark.parametrize(
    ("knob", "may_have_been_received", "accepted"),
    [
        ("submit_refused", False, 0),
        ("submit_reset_before", True, 0),
        ("submit_reset_after", True, 0),
        ("submit_cut_body", True, 1),
        ("submit_accepted_then_reset", True, 1),
    ],
)
def test_failures_say_what_a_client_can_know(knob: str, may_have_been_received: bool, accepted: int) -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> None:
        with pytest.raises(TransportError) as caught:
            await post(transport, SORA, sora_body())
        assert caught.value.may_have_been_received is may_have_been_received
        assert core.report(0.0).accepted == accepted

    on_virtual_time(SimulatorKnobs().replaced({knob: 1}), act)


def test_a_slow_answer_takes_its_time_and_a_slower_one_times_out() -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> None:
        assert (await post(transport, SORA, sora_body(), timeout_seconds=9)).status == 200
        assert clock() == 5.0
        with pytest.raises(TransportError) as caught:
            await post(transport, SORA, sora_body(), timeout_seconds=3)
        assert caught.value.may_have_been_received
        assert clock() == 8.0
        assert core.report(clock()).accepted == 2

    on_virtual_time(SimulatorKnobs(submit_slow=1, slow_seconds=5), act)


def test_a_refused_outage_certainly_received_nothing_and_a_hanging_one_times_out() -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> bool:
        with pytest.raises(TransportError) as caught:
            await post(transport, SORA, sora_body())
        await clock.sleep(100)
        assert (await post(transport, SORA, sora_body())).status == 200
        return caught.value.may_have_been_received

    for kind, may_have_been_received in (("refused", False), ("reset", True), ("hang", True)):
        knobs = SimulatorKnobs(outage_start_seconds=0, outage_seconds=60, outage_kind=kind)
        assert on_virtual_time(knobs, act) is may_have_been_received


def test_an_oversize_body_is_an_error_and_not_two_gigabytes_in_memory() -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> None:
        task_id = core_submit(core, 0.0, "a")
        with pytest.raises(TransportError, match="above"):
            await transport.request(
                "GET", f"http://x/files/{task_id}.mp4", headers={}, body=None, timeout_seconds=9
            )

    on_virtual_time(SimulatorKnobs(render_seconds=0, file_oversize=1), act)


def test_a_closed_transport_sends_nothing() -> None:
    async def act(transport: Transport, core: SimulatorCore, clock: VirtualClock) -> None:
        await transport.close()
        with pytest.raises(TransportError) as caught:
            await post(transport, SORA, sora_body())
        assert not caught.value.may_have_been_received
        assert core.report(0.0).requests == 0

    on_virtual_time(SimulatorKnobs(), act)


def test_it_works_on_a_plain_loop_with_the_real_clock() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        core = SimulatorCore(SimulatorKnobs(submit_slow=1, slow_seconds=0.05))
        transport: Transport = SimulatorTransport(core, clock=loop.time)
        start = loop.time()
        await asyncio.gather(*(post(transport, SORA, sora_body(f"p{n}")) for n in range(50)))
        assert core.report(loop.time()).accepted == 50
        return loop.time() - start

    assert 0.04 < asyncio.run(run()) < 2.0


def test_a_request_cancelled_in_flight_was_received() -> None:
    async def run() -> int:
        core = SimulatorCore(SimulatorKnobs(submit_slow=1, slow_seconds=30))
        transport = SimulatorTransport(core, clock=asyncio.get_running_loop().time)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(transport, SORA, sora_body()), 0.02)
        return core.report(0.0).accepted

    assert asyncio.run(run()) == 1
