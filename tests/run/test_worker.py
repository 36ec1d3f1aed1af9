"""The main job, end to end: real HTTP, both databases."""

import asyncio
from collections.abc import Mapping

import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import NotAuthorised
from rushes.domain.task import CANCELLED, SUBMIT_OUTCOME_UNKNOWN, TIMEOUT
from rushes.library import Rushes
from rushes.run.tick import tick
from rushes.run.upkeep import Upkeep
from rushes.simulator import SimulatorKnobs, running_simulator
from rushes.store import workers
from tests.harness import (
    FAMILIES,
    FAST,
    assert_money_adds_up,
    items,
    knobs,
    run_a_while,
    run_for,
    rushes_on,
)

STORM = knobs(
    output_moderation=0.1,
    input_moderation=0.05,
    error=0.05,
    succeeded_without_url=0.03,
    submit_server_error=0.03,
    submit_reset_after=0.03,
    submit_accepted_then_error=0.03,
    submit_accepted_then_reset=0.03,
    submit_throttled=0.05,
    poll_server_error=0.1,
    poll_html=0.05,
    poll_cut_json=0.05,
    poll_reset_after=0.05,
    poll_unknown_status=0.05,
    poll_backwards=0.05,
)


def test_every_model_family_completes_by_polling_alone(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(40))
                batch = await run_for(rushes, batch["batch_id"])
                done = await rushes.items(batch["batch_id"])
            report = simulator.report()
        assert batch["status"] == "succeeded"
        assert_money_adds_up(batch)
        assert {item["model"] for item in done} == set(FAMILIES)
        assert all(item["video_url"].startswith("http") for item in done)
        assert all(item["progress"] == 100 and item["attempt"] == 1 for item in done)
        assert report.submits == report.accepted == report.deliveries == 40
        assert not report.callbacks, "without a base URL nothing is called back"

    asyncio.run(scenario())


def test_a_storm_of_faults_loses_nothing_and_buys_nothing_twice(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(STORM) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(120))
                batch = await run_for(rushes, batch["batch_id"], seconds_max=60)
                done = await rushes.items(batch["batch_id"])
                report_of_audit = await rushes.audit()
            report = simulator.report()
        assert_money_adds_up(batch)
        assert report_of_audit.ok, report_of_audit.violations
        succeeded = {item["remote_task_id"] for item in done if item["status"] == "succeeded"}
        assert report.tasks is not None
        delivered = {task.id for task in report.tasks if task.final_answer == "succeeded"}
        assert succeeded == delivered
        # every prompt is its own task: the provider took none of them twice
        assert max(report.accepted_by_submission().values()) == 1
        unknown = [item for item in done if item["error"] == SUBMIT_OUTCOME_UNKNOWN]
        assert report.accepted_unanswered <= len(unknown)
        assert unknown, "the storm has ambiguous submits"

    asyncio.run(scenario())


def test_an_unknown_submit_is_refunded_after_its_grace_and_never_repeated(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(submit_accepted_then_error=1.0)) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(5, ["sora-2"]))
                batch = await run_for(rushes, batch["batch_id"])
                done = await rushes.items(batch["batch_id"])
            report = simulator.report()
        assert report.accepted == 5
        assert [item["error"] for item in done] == [SUBMIT_OUTCOME_UNKNOWN] * 5
        assert batch["credits_refunded"] == batch["credits_reserved"]

    asyncio.run(scenario())


def test_the_policy_resubmit_makes_one_new_attempt(database_url: str) -> None:
    async def scenario() -> None:
        environment = {"RUSHES_UNCONFIRMED_POLICY": "resubmit"}
        with running_simulator(knobs(submit_accepted_then_error=1.0)) as simulator:
            async with rushes_on(database_url, simulator.base_url, environment) as rushes:
                batch = await rushes.create_batch(items(1, ["sora-2"]))
                stop = asyncio.Event()
                first = asyncio.create_task(rushes.run(batch["batch_id"], stop=stop))
                while simulator.report().accepted == 0:
                    await asyncio.sleep(0.02)
                simulator.use(FAST)
                stop.set()
                await first
                batch = await run_for(rushes, batch["batch_id"])
                done = await rushes.items(batch["batch_id"])
        assert batch["status"] == "succeeded"
        assert done[0]["attempt"] == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("weather", "expected"),
    [
        (knobs(stuck=1.0), "answered polls that never end"),
        (knobs(poll_unknown_status=0.7, stuck=1.0), "mostly bad answers"),
    ],
)
def test_past_its_hard_deadline_a_task_fails_as_timeout_and_is_refunded(
    database_url: str, weather: SimulatorKnobs, expected: str
) -> None:
    async def scenario() -> None:
        models = (
            '{"sora-2": {"hard_deadline_seconds": 1.5, "soft_deadline_seconds": 1,'
            ' "render_time_p50_seconds": 0.5}}'
        )
        with running_simulator(weather) as simulator:
            async with rushes_on(database_url, simulator.base_url, {"RUSHES_MODELS": models}) as rushes:
                batch = await rushes.create_batch(items(3, ["sora-2"]))
                batch = await run_for(rushes, batch["batch_id"])
                done = await rushes.items(batch["batch_id"])
        assert [item["error"] for item in done] == [TIMEOUT] * 3, expected
        assert {item["failure_type"] for item in done} == {"timeout"}
        assert batch["credits_refunded"] == batch["credits_reserved"]

    asyncio.run(scenario())


def test_an_outage_of_the_provider_fails_no_task(database_url: str) -> None:
    async def scenario() -> None:
        calm = knobs(render_seconds=1.5)
        with running_simulator(calm) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(20, ["sora-2"]))
                running = asyncio.create_task(run_for(rushes, batch["batch_id"], seconds_max=60))
                while simulator.report().accepted < 20:
                    await asyncio.sleep(0.02)
                now = simulator.report(tasks=False).uptime_seconds
                simulator.use(knobs(render_seconds=1.5, outage_start_seconds=now, outage_seconds=2.0))
                batch = await running
            faults = simulator.report().faults
        assert batch["status"] == "succeeded"
        assert faults, "the outage was met"

    asyncio.run(scenario())


def test_a_wrong_key_ends_no_task_and_is_told(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(api_key="another-key")) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(300, ["sora-2"]))
                with pytest.raises(NotAuthorised, match="401"):
                    await run_for(rushes, batch["batch_id"])
                batch = await rushes.batch(batch["batch_id"])
                assert (batch["pending_count"], batch["failed_count"]) == (300, 0)
                simulator.use(knobs(api_key="test-key"))
                batch = await run_for(rushes, batch["batch_id"])
        assert batch["status"] == "succeeded"

    asyncio.run(scenario())


@pytest.mark.parametrize("weather", [knobs(balance_submits=20), knobs(key_disabled=True)])
def test_a_provider_that_refuses_everything_keeps_the_rest_pending(
    database_url: str, weather: SimulatorKnobs
) -> None:
    async def scenario() -> None:
        troubles: dict[str, str] = {}

        def hear(_batch: object, now: Mapping[str, str]) -> None:
            troubles.update(now)

        with running_simulator(weather) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(300, ["sora-2"]))
                stop = asyncio.Event()
                asyncio.get_running_loop().call_later(2.0, stop.set)
                batch = await rushes.run(batch["batch_id"], stop=stop, on_progress=hear)
                assert batch["failed_count"] <= 5, "a few equal refusals, then it pauses"
                assert batch["pending_count"] >= 275
                assert "grsai" in troubles
                simulator.use(FAST)
                batch = await run_for(rushes, batch["batch_id"])
        assert batch["succeeded_count"] >= 295

    asyncio.run(scenario())


def test_a_worker_that_is_stopped_hands_over_everything(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=1.5)) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(60))
                for _ in range(4):
                    batch = await run_a_while(rushes, batch["batch_id"], seconds=0.3)
                batch = await run_for(rushes, batch["batch_id"])
            report = simulator.report()
        assert batch["status"] == "succeeded"
        assert report.accepted == 60

    asyncio.run(scenario())


def test_a_worker_declared_dead_starts_anew_and_takes_its_tasks_back(database_url: str) -> None:
    def declare_all_dead(connection: Connection) -> None:
        connection.execute(text("UPDATE workers SET lease_expires_at_ms = 0"))

    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=2.0)) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(30))
                running = asyncio.create_task(run_for(rushes, batch["batch_id"]))
                await asyncio.sleep(0.6)
                await rushes.database.transact(declare_all_dead)
                batch = await running
            report = simulator.report()
        assert batch["status"] == "succeeded"
        assert report.accepted == 30

    asyncio.run(scenario())


def test_two_workers_share_a_batch_without_buying_twice(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with (
                rushes_on(database_url, simulator.base_url) as one,
                rushes_on(database_url, simulator.base_url) as other,
            ):
                batch = await one.create_batch(items(150))
                await asyncio.gather(run_for(one, batch["batch_id"]), run_for(other, batch["batch_id"]))
                batch = await one.batch(batch["batch_id"])
            report = simulator.report()
        assert batch["status"] == "succeeded"
        assert report.accepted == report.deliveries == 150

    asyncio.run(scenario())


def test_cancelling_refunds_what_is_pending_and_lets_the_rest_run(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=1.0)) as simulator:
            environment = {"RUSHES_IN_FLIGHT_TASKS_MAX": "10"}
            async with rushes_on(database_url, simulator.base_url, environment) as rushes:
                batch = await rushes.create_batch(items(100, ["sora-2"]))
                while batch["pending_count"] == 100:  # none is sent yet, on a busy machine
                    batch = await run_a_while(rushes, batch["batch_id"], seconds=0.5)
                cancelled = await rushes.cancel(batch["batch_id"])
                batch = await run_for(rushes, batch["batch_id"])
                done = await rushes.items(batch["batch_id"])
        assert batch["status"] == "cancelled"
        assert_money_adds_up(batch)
        assert cancelled["credits_refunded"] == batch["credits_refunded"]
        assert 1 <= batch["succeeded_count"] <= 50
        assert {item["error"] for item in done if item["status"] == "failed"} == {CANCELLED}

    asyncio.run(scenario())


def test_a_small_batch_is_not_starved_by_a_large_one(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=0.2)) as simulator:
            environment = {"RUSHES_SUBMITS_PER_SECOND": "40"}
            async with rushes_on(database_url, simulator.base_url, environment) as rushes:
                await rushes.grant(1000, account="small")
                large = await rushes.create_batch(items(1000, ["sora-2"]))
                small = await rushes.create_batch(items(3, ["sora-2"]), account="small")
                small = await run_for(rushes, small["batch_id"], seconds_max=10)
                large = await rushes.batch(large["batch_id"])
        assert small["status"] == "succeeded"
        assert large["pending_count"] > 500, "the large one was nowhere near done"

    asyncio.run(scenario())


def test_the_providers_limits_are_held(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(render_seconds=1.0, submits_per_second_max=20)) as simulator:
            environment = {"RUSHES_SUBMITS_PER_SECOND": "20", "RUSHES_IN_FLIGHT_TASKS_MAX": "15"}
            async with rushes_on(database_url, simulator.base_url, environment) as rushes:
                most = 0

                def watch(batch: Mapping[str, int], _troubles: object) -> None:
                    nonlocal most
                    most = max(most, batch["processing_count"])

                batch = await rushes.create_batch(items(60, ["sora-2"]))
                batch = await rushes.run(batch["batch_id"], on_progress=watch)
            report = simulator.report()
        assert batch["status"] == "succeeded"
        assert most <= 15
        assert report.submits == 60, "no submit was refused for coming too fast"

    asyncio.run(scenario())


def test_passes_that_overlap_take_turns_at_a_limited_provider(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            environment = {"RUSHES_SUBMITS_PER_SECOND": "40", "RUSHES_POLLS_PER_SECOND": "40"}
            async with rushes_on(database_url, simulator.base_url, environment) as rushes:
                await rushes.create_batch(items(60))
                first = asyncio.create_task(tick(rushes.worker(), tasks_max=10))
                async with asyncio.timeout(10):
                    while not simulator.report().submits:
                        await asyncio.sleep(0.01)
                reports = await asyncio.gather(
                    first, *(tick(rushes.worker(), tasks_max=10) for _ in range(2))
                )
                # each had its turn, although others lived when it started
                assert all(report.dispatch["submitted"] >= 10 for report in reports), reports
                assert simulator.report().submits == sum(each.dispatch["submitted"] for each in reports)
                assert (await rushes.audit()).ok

    asyncio.run(scenario())


async def endless(_upkeep: Upkeep) -> None:
    """What a database does that needs seconds for each transaction."""
    await asyncio.Event().wait()


def test_a_pass_polls_although_cleaning_up_takes_all_of_its_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                await rushes.create_batch(items(5))
                assert (await tick(rushes.worker())).dispatch["submitted"] == 5
                async with asyncio.timeout(20):
                    while simulator.report().tasks_running:
                        await asyncio.sleep(0.05)
                monkeypatch.setattr(Upkeep, "clean_up", endless)
                report = await tick(rushes.worker(), budget_seconds=4)
        assert report.poll["succeeded"] == 5

    asyncio.run(scenario())


def test_a_pass_gives_its_tasks_back_before_it_shares_what_it_has_learned(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow database there is no time for both, and the next pass would wait for the lease's end."""

    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                await rushes.create_batch(items(5))
                monkeypatch.setattr(Upkeep, "share_learned", endless)
                worker = rushes.worker()
                report = await tick(worker, budget_seconds=4)
                assert (report.ok, report.dispatch["submitted"]) == (False, 5)
                is_free = await rushes.database.read(workers.any_dead, "another", now_ms=1)
        assert is_free, "its tasks are there for whoever comes next"

    asyncio.run(scenario())


def test_ticks_alone_complete_a_batch(database_url: str) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                batch = await rushes.create_batch(items(50))
                reports = []
                for _ in range(20):
                    reports.append(await tick(rushes.worker()))
                    batch = await rushes.batch(batch["batch_id"])
                    if batch["completed_at"]:
                        break
                    await asyncio.sleep(0.2)
            report = simulator.report()
        assert batch["status"] == "succeeded"
        assert report.accepted == 50
        assert sum(tick.dispatch["submitted"] for tick in reports) == 50
        assert sum(tick.poll["succeeded"] for tick in reports) == 50
        assert sum(tick.settle["settled_batches"] for tick in reports) == 1

    asyncio.run(scenario())


def test_an_item_that_failed_can_be_tried_again(database_url: str) -> None:
    async def scenario(rushes: Rushes, simulator: object) -> None:
        batch = await rushes.create_batch(items(4, ["sora-2"]))
        batch = await run_for(rushes, batch["batch_id"])
        assert batch["status"] == "failed"
        simulator.use(FAST)  # type: ignore[attr-defined]
        batch = await rushes.retry(batch["batch_id"], [1, 2])
        assert (batch["status"], batch["pending_count"], batch["failed_count"]) == ("processing", 2, 2)
        batch = await run_for(rushes, batch["batch_id"])
        assert (batch["status"], batch["succeeded_count"], batch["total_count"]) == ("partial", 2, 4)
        assert_money_adds_up(batch)
        assert batch["credits_reserved"] == 60, "four items, and two again"

    async def main() -> None:
        with running_simulator(knobs(error=1.0)) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                await scenario(rushes, simulator)

    asyncio.run(main())
