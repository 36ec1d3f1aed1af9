"""A gateway that is out of step: answers written twice, and answers that belong to another task."""

import asyncio
import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from rushes.domain.task import Accepted, NoAnswer, Processing
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families import (
    ark,
    dashscope,
    fal,
    google,
    grsai,
    grsai_unified,
    kling,
    openai_video,
    replicate,
    runway,
)
from rushes.simulator import SimulatorCore, SimulatorKnobs, running_simulator
from rushes.simulator.serving.transport import SimulatorTransport
from tests.simulator.simulator_client import submit_sora

PROVIDERS = pytest.mark.parametrize(
    ("build", "model", "path"),
    [
        (grsai.build, "sora-2", ""),
        (grsai.build, "veo3.1-fast", ""),
        (grsai_unified.build, "minimax-h3", ""),
        (fal.build, "fal-ai/veo3.1/fast", ""),
        (google.build, "veo-3.1-generate-preview", ""),
        (google.build, "gemini-omni-1.2-flash", ""),
        (runway.build, "gen4.5", ""),
        (openai_video.build, "sora-2", "/v1"),
        (kling.build, "kling-3.0-turbo", ""),
        (kling.build, "kling-v2-6", ""),
        (replicate.build, "google/veo-3.1-fast", ""),
        (ark.build, "doubao-seedance-2-0-fast-260128", "/api/v3"),
        (ark.build, "dreamina-seedance-2-0-fast-260128", "/intl/api/v3"),
        (dashscope.build, "wan3.0-video", "/api/v1"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
Build = Callable[[ProviderConfig], Provider]


def provider_of(core: SimulatorCore, build: Build, path: str, now: list[float]) -> Provider:
    transport = SimulatorTransport(core, clock=lambda: now[0])
    return build(ProviderConfig(host=f"http://simulator.invalid{path}", api_key="key", transport=transport))


async def accepted(provider: Provider, model: str, prompt: str) -> str:
    outcome = await provider.submit(SubmitRequest(model, prompt))
    assert isinstance(outcome, Accepted), outcome
    return outcome.remote_task_id


@PROVIDERS
@pytest.mark.parametrize("rendered", [False, True])
def test_a_swapped_poll_answer_names_another_task_at_every_wire(
    build: Build, model: str, path: str, rendered: bool
) -> None:
    core = SimulatorCore(SimulatorKnobs(poll_swapped=1.0, render_seconds=5.0), started_at=0.0)

    async def test() -> None:
        now = [0.0]
        provider = provider_of(core, build, path, now)
        first, second = [await accepted(provider, model, prompt) for prompt in ("one", "two")]
        now[0] = 1000.0 if rendered else 0.1
        assert not isinstance(await provider.poll_remote_task(first), NoAnswer)  # there is no other yet
        result = await provider.poll_remote_task(second)
        assert isinstance(result, NoAnswer)
        assert result.is_about_another_task
        assert core.report(now[0]).faults == {"poll_swapped": 1}

    asyncio.run(test())


@PROVIDERS
def test_a_swapped_submit_answer_names_an_earlier_task(build: Build, model: str, path: str) -> None:
    core = SimulatorCore(SimulatorKnobs(submit_swapped=1.0), started_at=0.0)

    async def test() -> None:
        now = [0.0]
        provider = provider_of(core, build, path, now)
        first = await accepted(provider, model, "one")
        assert await accepted(provider, model, "two") != first  # the first one's client may not have it yet
        now[0] = 10.0
        assert await accepted(provider, model, "three") == first
        report = core.report(now[0])
        assert (report.accepted, report.accepted_unanswered, report.submits_unclear) == (3, 1, 1)
        assert report.faults == {"submit_swapped": 1}

    asyncio.run(test())


def test_a_doubled_answer_is_written_twice_on_its_connection() -> None:
    with running_simulator(SimulatorKnobs(poll_doubled=1.0, render_seconds=1000.0)) as simulator:
        address = urlsplit(simulator.base_url)
        body = json.dumps({"id": submit_sora(simulator.base_url)}).encode()
        head = b"POST /v1/draw/result HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        received = b""
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(head + body)
            while received.count(b'"running"') < 2:
                received += connection.recv(65536)
        half = len(received) // 2
        assert received[:half] == received[half:]
        assert simulator.report().faults["poll_doubled"] == 1


def test_the_answers_of_one_task_are_never_swapped_with_its_own() -> None:
    core = SimulatorCore(SimulatorKnobs(poll_swapped=1.0, render_seconds=5.0), started_at=0.0)

    async def test() -> None:
        provider = provider_of(core, grsai.build, "", [0.0])
        only = await accepted(provider, "sora-2", "one")
        for _ in range(3):
            assert isinstance(await provider.poll_remote_task(only), Processing)

    asyncio.run(test())
