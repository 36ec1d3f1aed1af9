"""What is wrong with an account, a key or a model's name: named for what it is, and no credit is lost."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rushes.domain.errors import NotAuthorised
from rushes.online import check_providers
from rushes.settings import Settings
from rushes.simulator import SimulatorThread, running_simulator
from tests.harness import items, knobs, run_a_while, run_for, rushes_on

REFUSED = {
    "seedance-2.0-mini": "a key works in its own region only",
    "wan-3.0": "a key, its models and the host are of one region",
    "minimax-h3-max": "a key of api.minimax.io does not work at api.minimaxi.com",
    "grok-imagine-video": "Incorrect API key",
}
EMPTY = {
    "seedance-2.0-mini": "AccountOverdueError",
    "wan-3.0": "Arrearage",
    "minimax-h3-max": "insufficient balance (1008)",
    "grok-imagine-video": "used all available credits",
}
NOBODY = """
[models.mine]
like = "seedance-2.0"
api_model = "ep-20261129-nobody"

[models.gone]
like = "wan-3.0"
api_model = "wan9-video"

[models.other]
like = "grok-imagine-video"
api_model = "grok-9"
"""
NO_MODEL = {
    "mine": "this account has no such model or endpoint",
    "gone": "this region has no such model",
    "other": "this team has no such model",
}


def environ_of(simulator: SimulatorThread) -> dict[str, str]:
    base = simulator.base_url
    keys = ("ARK_API_KEY", "DASHSCOPE_API_KEY", "MINIMAX_API_KEY", "XAI_API_KEY")
    hosts = {"ARK_HOST": f"{base}/api/v3", "DASHSCOPE_HOST": f"{base}/api/v1", "MINIMAX_HOST": base}
    return {**dict.fromkeys(keys, "a-key"), **hosts, "XAI_HOST": f"{base}/xai"}


@pytest.mark.parametrize("model", REFUSED)
def test_a_key_of_another_region_holds_the_tasks_and_says_why(
    new_database_url: Callable[[str], str], model: str
) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(api_key="another-key")) as simulator:
            url = new_database_url("sqlite")
            async with rushes_on(url, simulator.base_url, environ_of(simulator)) as rushes:
                batch_id = (await rushes.create_batch(items(3, (model,))))["batch_id"]
                with pytest.raises(NotAuthorised) as refused:
                    await run_for(rushes, batch_id)
                assert REFUSED[model] in str(refused.value)
                batch = await rushes.batch(batch_id)
                assert (batch["pending_count"], batch["failed_count"]) == (3, 0)
                assert (await rushes.balance())["reserved"] == batch["credits_reserved"] > 0
                assert (await rushes.audit()).ok
            assert simulator.report().accepted == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("model", EMPTY)
def test_an_empty_account_holds_the_tasks_and_says_why(
    new_database_url: Callable[[str], str], model: str
) -> None:
    async def scenario() -> None:
        with running_simulator(knobs(balance_submits=0)) as simulator:
            url = new_database_url("sqlite")
            async with rushes_on(url, simulator.base_url, environ_of(simulator)) as rushes:
                batch_id = (await rushes.create_batch(items(2, (model,))))["batch_id"]
                while not simulator.report().submits:
                    await run_a_while(rushes, batch_id, seconds=0.5)
                batch = await rushes.batch(batch_id)
                assert (batch["pending_count"], batch["failed_count"]) == (2, 0)
                told = [item["last_submit"] for item in await rushes.items(batch_id)]
                assert EMPTY[model] in str(told)
                assert (await rushes.balance())["reserved"] == batch["credits_reserved"] > 0
                assert (await rushes.audit()).ok

    asyncio.run(scenario())


@pytest.mark.parametrize("model", NO_MODEL)
def test_a_model_that_the_account_does_not_have_refuses_the_item_and_gives_its_credits_back(
    new_database_url: Callable[[str], str], tmp_path: Path, model: str
) -> None:
    config = tmp_path / "rushes.toml"
    config.write_text(NOBODY)

    async def scenario() -> None:
        with running_simulator(knobs()) as simulator:
            url = new_database_url("sqlite")
            environ = {**environ_of(simulator), "RUSHES_CONFIG": str(config)}
            async with rushes_on(url, simulator.base_url, environ) as rushes:
                batch_id = (await rushes.create_batch(items(2, (model,))))["batch_id"]
                batch = await run_for(rushes, batch_id)
                assert batch["status"] == "failed"
                assert batch["credits_refunded"] == batch["credits_reserved"] > 0
                for item in await rushes.items(batch_id):
                    assert item["failure_type"] == "param_error"
                    assert NO_MODEL[model] in item["error"]
                assert (await rushes.audit()).ok

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["a-key", "another-key"])
def test_the_check_with_the_network_knows_a_right_key_from_a_wrong_one(key: str) -> None:
    with running_simulator(knobs(api_key=key)) as simulator:
        settings = Settings.load(environ_of(simulator), env_file=None)
        found = {check.provider: check.ok for check in asyncio.run(check_providers(settings))}
    expected = key == "a-key"
    assert found == dict.fromkeys(("ark-cn", "dashscope-cn", "minimax", "xai"), expected)
