"""`from rushes import …` gives what the command line gives."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import rushes
from rushes import InsufficientCredits, Rushes, Settings
from rushes.domain.errors import InputError
from rushes.simulator import running_simulator
from tests.harness import FAST, QUICK


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


@pytest.mark.parametrize(
    "gone", [{"sora-2": {"disabled": True}}, {"sora-2": {"sunset_at": "2020-01-01"}}, {}]
)
def test_a_repeat_finds_its_batch_though_its_model_takes_no_new_tasks(
    database_url: str, gone: dict[str, Any]
) -> None:
    alias = {} if gone else {"mine": {"alias_of": ["sora-2"]}}

    def opened(models: dict[str, Any]) -> Rushes:
        environment = {"RUSHES_DATABASE_URL": database_url, "RUSHES_MODELS": json.dumps(models)}
        return Rushes(Settings.load(environment, env_file=None))

    async def scenario() -> None:
        wanted: dict[str, Any] = {"model": next(iter(alias), "sora-2"), "request_id": "order-1", "grant": 10}
        async with opened(alias) as library:
            one = await library.create_batch(["a"], **wanted)
        async with opened(gone) as library:
            two = await library.create_batch(["a"], **wanted)
            of_now = {name: two[name] for name in ("eta_seconds", "eta_reason")}  # the model is held now
            assert two == {**one, **of_now, "idempotent_replay": True}
            for change in (
                {"request_id": "order-2"},
                {"request_id": None},
                {"account": "new"},
                {"retries": 1},
            ):
                with pytest.raises(InputError):
                    await library.create_batch(["a"], **{**wanted, **change})
            assert (await library.balance())["total"] == 10

    asyncio.run(scenario())


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
