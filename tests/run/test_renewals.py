"""Tokens that end while tasks fly: no request is refused, and files come with a token too."""

import asyncio
import os
from pathlib import Path

from rushes.simulator import SimulatorThread, running_simulator
from rushes.simulator.families.vertex import VertexWire
from tests.harness import assert_money_adds_up, items, knobs, run_for, rushes_on

COUNT = int(os.environ.get("RUSHES_TEST_ITEMS", "20"))
TOKEN_SECONDS = int(os.environ.get("RUSHES_TEST_TOKEN_SECONDS", "1"))


def test_no_poll_fails_while_tokens_are_renewed(database_url: str, tmp_path: Path) -> None:
    weather = knobs(token_seconds=TOKEN_SECONDS, render_seconds=4.0 * TOKEN_SECONDS)

    async def scenario(simulator: SimulatorThread) -> None:
        environment = dict(VertexWire().exports(simulator.base_url, ""))
        async with rushes_on(database_url, simulator.base_url, environment) as rushes:
            models = ("vertex-veo3.1-fast", "vertex-veo3.1-lite")
            batch_id = (await rushes.create_batch(items(COUNT, models)))["batch_id"]
            batch = await run_for(rushes, batch_id, seconds_max=60.0 + 40.0 * TOKEN_SECONDS)
            assert (batch["status"], batch["succeeded_count"]) == ("succeeded", COUNT)
            assert_money_adds_up(batch)
            found = await rushes.download(batch_id, tmp_path)
            assert len(found["files"]) == COUNT
        report = simulator.report()
        assert report.faults.get("unauthorised", 0) == 0
        assert report.polls > COUNT
        assert report.tokens >= 4

    with running_simulator(weather) as simulator:
        asyncio.run(scenario(simulator))
