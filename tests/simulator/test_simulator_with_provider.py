"""The real providers against the simulator: what they conclude is what the simulator meant."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from rushes.domain.task import (
    Accepted,
    Failed,
    NoAnswer,
    NotSent,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families import ark, dashscope, fal, grsai, grsai_unified, kling, replicate, runway
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Transport
from rushes.simulator import (
    PRESETS,
    SimulatorCore,
    SimulatorKnobs,
    SimulatorReport,
    SimulatorServer,
    SimulatorTransport,
)

TASKS = 150
POLLS_MAX = 60
STORMY = PRESETS["stormy"].replaced({"render_seconds": 0.2, "slow_seconds": 0.02, "api_key": "sk-simulated"})


async def run_tasks(
    transport: Transport, host: str, build: Callable[[ProviderConfig], Provider], model: str
) -> Counter[str]:
    """Submit once each, poll each accepted task to its verdict; counts by kind of conclusion."""
    provider = build(ProviderConfig(host=host, api_key="sk-simulated", transport=transport))
    concluded: Counter[str] = Counter()

    async def run_one(number: int) -> None:
        outcome = await provider.submit(SubmitRequest(api_model=model, prompt=f"prompt {number}"))
        concluded[type(outcome).__name__] += 1
        if isinstance(outcome, Accepted):
            concluded[await verdict(provider, outcome.remote_task_id, concluded)] += 1

    await asyncio.gather(*(run_one(number) for number in range(TASKS)))
    await transport.close()
    return concluded


async def verdict(provider: Provider, remote_task_id: str, concluded: Counter[str]) -> str:
    for _ in range(POLLS_MAX):
        match await provider.poll_remote_task(remote_task_id):
            case Succeeded():
                return "delivered"
            case Failed():
                return "failed"
            case NoAnswer():
                concluded["no answer"] += 1
            case Processing():
                concluded["processing"] += 1
        await asyncio.sleep(0.05)
    return "no verdict"


def check(concluded: Counter[str], report: SimulatorReport) -> None:
    """The provider's count against the simulator's."""
    faults = report.faults
    assert concluded["Accepted"] == report.accepted - report.accepted_unanswered
    assert concluded["Rejected"] == report.submits_refused.get("prompt", 0)
    throttled = faults.get("submit_throttled", 0) + faults.get("submit_throttled_bare", 0)
    assert concluded["Throttled"] == throttled > 0
    assert concluded["delivered"] == report.deliveries > 0
    assert concluded["failed"] == report.failures_total > 0
    assert concluded["no verdict"] == 0
    assert concluded["no answer"] > 0
    assert (
        sum(concluded[kind.__name__] for kind in (Accepted, Rejected, Throttled, NotSent, Unknown)) == TASKS
    )


def at_path(build: Callable[[ProviderConfig], Provider], path: str) -> Callable[[ProviderConfig], Provider]:
    """The provider whose host is a base URL: the simulator's address, and where its API is there."""
    return lambda config: build(replace(config, host=config.host + path))


MODELS = [
    (grsai.build, "sora-2"),
    (grsai.build, "veo3.1-fast"),
    (grsai_unified.build, "minimax-h3"),
    (fal.build, "fal-ai/veo3.1/fast"),
    (runway.build, "gen4.5"),
    (kling.build, "kling-3.0-turbo"),
    (kling.build, "kling-v2-6"),
    (replicate.build, "bytedance/seedance-1-pro-fast"),
    (at_path(ark.build, "/api/v3"), "doubao-seedance-2-5-260628"),
    (at_path(dashscope.build, "/api/v1"), "happyhorse-1.1-t2v"),
]


@pytest.mark.parametrize(("build", "model"), MODELS)
def test_over_http_in_a_storm_provider_and_simulator_count_alike(
    build: Callable[[ProviderConfig], Provider], model: str
) -> None:
    async def run() -> tuple[Counter[str], SimulatorReport]:
        async with SimulatorServer(STORMY) as server:
            concluded = await run_tasks(HttpTransport(), server.base_url, build, model)
            return concluded, server.report()

    concluded, report = asyncio.run(run())
    check(concluded, report)
    # over sockets a refused connection is a reset, which a client cannot tell from a taken request
    assert concluded["Unknown"] == report.submits_unclear + report.faults.get("submit_refused", 0)


@pytest.mark.parametrize(("build", "model"), MODELS)
def test_in_process_in_a_storm_provider_and_simulator_count_alike(
    build: Callable[[ProviderConfig], Provider], model: str
) -> None:
    async def run() -> tuple[Counter[str], SimulatorReport]:
        clock = asyncio.get_running_loop().time
        core = SimulatorCore(STORMY)
        transport = SimulatorTransport(core, clock=clock)
        concluded = await run_tasks(transport, "https://simulator.test", build, model)
        return concluded, core.report(clock())

    concluded, report = asyncio.run(run())
    check(concluded, report)
    assert concluded["Unknown"] == report.submits_unclear
    assert concluded["NotSent"] == report.faults.get("submit_refused", 0)


@pytest.mark.parametrize(("build", "model"), MODELS)
def test_account_refusals_reach_the_provider_as_refusals(
    build: Callable[[ProviderConfig], Provider], model: str
) -> None:
    async def submit(knobs: SimulatorKnobs) -> SubmitOutcome:
        core = SimulatorCore(knobs)
        transport = SimulatorTransport(core, clock=asyncio.get_running_loop().time)
        config = ProviderConfig(host="https://simulator.test", api_key="sk-simulated", transport=transport)
        outcome = await build(config).submit(SubmitRequest(api_model=model, prompt="a"))
        assert core.report(0.0).accepted == 0
        return outcome

    wrong_key = asyncio.run(submit(SimulatorKnobs(api_key="sk-another-key")))
    assert isinstance(wrong_key, NotSent)
    assert wrong_key.pauses_provider
    for knobs in (SimulatorKnobs(balance_submits=0), SimulatorKnobs(key_disabled=True)):
        assert not isinstance(asyncio.run(submit(knobs)), Accepted | Unknown)


def test_fal_says_how_many_wait_before_a_request() -> None:
    async def scenario() -> None:
        now = [0.0]
        core = SimulatorCore(SimulatorKnobs(running_tasks_max=1, render_seconds=60.0))
        transport = SimulatorTransport(core, clock=lambda: now[0])
        provider = fal.build(ProviderConfig("https://fal.example", "", transport))
        ids = []
        for _ in range(3):
            taken = await provider.submit(SubmitRequest("fal-ai/veo3.1", "a fox"))
            assert isinstance(taken, Accepted)
            ids.append(taken.remote_task_id)

        async def said() -> list[int | str | None]:
            answers = [await provider.poll_remote_task(remote_task_id) for remote_task_id in ids]
            return [
                "renders"
                if isinstance(answer, Processing) and not answer.is_queued
                else answer.queue_position
                if isinstance(answer, Processing)
                else "done"
                for answer in answers
            ]

        assert await said() == ["renders", 0, 1]
        while (answers := await said())[0] != "done":
            now[0] += 1.0
        assert answers[1:] == ["renders", 0]

    asyncio.run(scenario())
