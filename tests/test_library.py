"""`from rushes import …` gives what the command line gives."""

import asyncio
from pathlib import Path

import pytest

import rushes
from rushes import InsufficientCredits, Rushes, Settings
from rushes.providers.simulator import running_simulator
from tests.engine.harness import FAST, QUICK


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(rushes, name) is not None for name in rushes.__all__)


def test_a_few_lines_of_python_make_videos(tmp_path: Path) -> None:
    async def scenario(host: str) -> None:
        environment = {**QUICK, "RUSHES_DATA_DIR": str(tmp_path / "new"), "GRSAI_HOST": host}
        async with Rushes(Settings.load(environment, env_file=None)) as library:
            with pytest.raises(InsufficientCredits) as refusal:
                await library.create_batch(["a paper boat", "一只纸船"])
            assert refusal.value.missing == 20
            assert await library.list_batches() == []
            await library.grant(20)
            batch = await library.create_batch(["a paper boat", "一只纸船"], duration=10)
            batch = await library.run(batch["batch_id"])
            items = await library.items(batch["batch_id"])
            balance = await library.balance()
        assert batch["status"] == "succeeded"
        assert [item["prompt"] for item in items] == ["a paper boat", "一只纸船"]
        assert (balance["available"], balance["reserved"]) == (0, 0)

    with running_simulator(FAST) as simulator:
        asyncio.run(scenario(simulator.base_url))


def test_a_repeated_request_id_makes_one_batch(tmp_path: Path) -> None:
    async def scenario() -> None:
        environment = {"RUSHES_DATA_DIR": str(tmp_path)}
        async with Rushes(Settings.load(environment, env_file=None)) as library:
            await library.grant(100)
            one = await library.create_batch(["a"], request_id="order-1")
            two = await library.create_batch(["a"], request_id="order-1")
            assert one["batch_id"] == two["batch_id"]
            with pytest.raises(rushes.RushesError, match="another body"):
                await library.create_batch(["b"], request_id="order-1")
            assert (await library.balance())["available"] == 90

    asyncio.run(scenario())
