"""A task is polled at the host that it was sent to, whatever the provider's host has become since."""

import asyncio
import gc

import pytest

from rushes.domain.task import TIMEOUT
from rushes.provider_wiring import build_providers, provider_at
from rushes.providers.http.client import HttpTransport
from rushes.settings import Settings
from rushes.simulator import running_simulator
from rushes.wiring import build_worker_process
from tests.harness import QUICK, items, knobs, run_for, rushes_on

MODELS = ("sora-2", "minimax-h3")


async def send(database_url: str, host: str, count: int) -> str:
    """Submit a batch to that host and stop while it renders."""
    async with rushes_on(database_url, host) as rushes:
        batch_id: str = (await rushes.create_batch(items(count, MODELS)))["batch_id"]
        stop = asyncio.Event()
        running = asyncio.create_task(rushes.run(batch_id, stop=stop))
        async with asyncio.timeout(30):
            while any(item["remote_task_id"] is None for item in await rushes.items(batch_id)):
                await asyncio.sleep(0.05)
        stop.set()
        await running
        return batch_id


def test_what_was_sent_to_the_host_of_before_is_polled_there(database_url: str) -> None:
    async def scenario() -> None:
        with (
            running_simulator(knobs(render_seconds=3.0, seed=8)) as before,
            running_simulator(knobs()) as now,
        ):
            old = await send(database_url, before.base_url, 6)
            assert before.report().deliveries == 0, "it still renders"
            async with rushes_on(database_url, now.base_url) as rushes:
                new = (await rushes.create_batch(items(4, MODELS)))["batch_id"]
                assert (await run_for(rushes, old))["status"] == "succeeded"
                assert (await run_for(rushes, new))["status"] == "succeeded"
                assert all(item["video_url"].startswith(before.base_url) for item in await rushes.items(old))
            assert (before.report().submits, before.report().deliveries) == (6, 6)
            assert (now.report().submits, now.report().deliveries) == (4, 4)
            assert now.report().polls_of_unknown_tasks == 0

    asyncio.run(scenario())


def test_a_host_of_before_that_is_silent_ends_its_tasks_by_their_deadline_and_holds_up_no_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.run.lane.poll.LAST_POLL_GRACE_SECONDS", 0.5)

    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=30.0, seed=8)) as before:
            old = await send(database_url, before.base_url, 12)
        overrides = (
            '{"sora-2": {"hard_deadline_seconds": 4, "soft_deadline_seconds": 1,'
            ' "render_time_p50_seconds": 1}, "minimax-h3": {"hard_deadline_seconds": 4,'
            ' "soft_deadline_seconds": 1, "render_time_p50_seconds": 1}}'
        )
        with running_simulator(knobs()) as now:
            async with rushes_on(database_url, now.base_url, {"RUSHES_MODELS": overrides}) as rushes:
                new = (await rushes.create_batch(items(4, MODELS)))["batch_id"]
                assert (await run_for(rushes, new))["status"] == "succeeded"
                batch = await run_for(rushes, old)
                assert {item["error"] for item in await rushes.items(old)} == {TIMEOUT}
                assert batch["credits_refunded"] == batch["credits_reserved"]
                assert (await rushes.audit()).ok
            assert now.report().polls_of_unknown_tasks == 0

    asyncio.run(scenario())


def test_an_outage_of_the_host_of_now_holds_up_nothing_at_the_host_of_before(database_url: str) -> None:
    """What tries the host of now must be asked there: another host's answer says nothing of it."""

    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=4.0, seed=8)) as before:
            old = await send(database_url, before.base_url, 12)
            with running_simulator(knobs(render_seconds=30.0, seed=9)) as now:
                await send(database_url, now.base_url, 12)
            async with rushes_on(
                database_url, now.base_url, {"RUSHES_POLL_INTERVAL_MAX_SECONDS": "1"}
            ) as rushes:
                assert (await run_for(rushes, old, seconds_max=30.0))["status"] == "succeeded"

    asyncio.run(scenario())


def open_transports() -> int:
    """Transports of this process that nobody has closed."""
    return sum(isinstance(each, HttpTransport) and not each._closed for each in gc.get_objects())


def test_passes_close_what_they_opened_to_the_host_of_before(database_url: str) -> None:
    async def scenario() -> None:
        with (
            running_simulator(knobs(render_seconds=120.0, seed=8)) as before,
            running_simulator(knobs()) as now,
        ):
            await send(database_url, before.base_url, 2)
            async with rushes_on(database_url, now.base_url) as rushes:
                providers = build_providers(rushes.settings)
                opened = open_transports()
                for _ in range(3):
                    process = build_worker_process(rushes.settings, rushes.database, providers)
                    asked = before.report().polls
                    await process.tick(budget_seconds=4)
                    assert before.report().polls > asked
                    assert open_transports() == opened
                    await process.tick(budget_seconds=4)  # once more with connections of its own
                await providers.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "host", ["http://198.51.100.7", "ftp://example.com", "https://user@example.com", "x"]
)
def test_a_host_that_no_setting_may_have_gets_no_key(host: str) -> None:
    assert provider_at(Settings.load(QUICK, env_file=None), "grsai", host) is None
