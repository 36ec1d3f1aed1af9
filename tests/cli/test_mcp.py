"""`rushes mcp` as a real process, spoken to by the official SDK's own client."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client

from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

SECONDS_MAX = 60.0


@pytest.fixture
def granted(new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]) -> Shell:
    """A folder of its own with 100 credits, a simulator behind it."""
    shell = shell_at(new_simulator())
    assert shell.call("credits", "grant", "100").code == 0
    return shell


def connected(shell: Shell, *arguments: str, **environment: str) -> Client:
    """The SDK's client of a `rushes mcp` process."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "rushes", "mcp", *arguments],
        env={"PATH": os.environ["PATH"], **shell.environment, **environment},
        cwd=shell.folder,
    )
    return Client(server, read_timeout_seconds=SECONDS_MAX)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The tool's answer."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer
    document: dict[str, Any] = answer.structured_content or json.loads(answer.content[0].text)  # type: ignore[union-attr]
    return document


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """The words with which the tool refuses."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, answer
    return str(answer.content[0].text)  # type: ignore[union-attr]


def test_it_looks_and_quotes_but_cannot_buy_unless_it_is_allowed_to(granted: Shell) -> None:
    async def talk() -> None:
        async with connected(granted) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"models", "quote", "balance", "list_batches", "status"}
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
            found = await call(client, "models")
            assert "sora-2" in [model["name"] for model in found["models"]]
            quote = await call(client, "quote", items=["a boat", {"prompt": "a kite"}], model="sora-2")
            assert (quote["credits"], quote["total"], quote["allowance_left"]) == (20, 2, 0)
            assert (await call(client, "balance"))["available"] == 100
            assert (await call(client, "list_batches"))["batches"] == []
            assert "no-such-model" in await refusal(client, "quote", items=["a"], model="no-such-model")

    asyncio.run(talk())


def test_it_buys_once_within_its_allowance_and_downloads(granted: Shell) -> None:
    async def talk() -> None:
        async with connected(granted, "--credits-max", "30", "--out", "videos") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"create", "download"} <= names
            items = ["a paper boat", "a kite"]
            one, two = await asyncio.gather(
                call(client, "create", items=items, model="sora-2"),
                call(client, "create", items=items, model="sora-2"),
            )
            assert one["batch_id"] == two["batch_id"]
            assert {one["allowance_left"], two["allowance_left"]} == {10}
            said = await refusal(client, "create", items=["x", "y"], model="sora-2")
            assert "costs 20 credits, and 10 are left" in said
            for _ in range(200):
                status = await call(client, "status", batch_id=one["batch_id"])
                if status["files"]["stored"] == 2:
                    break
                await asyncio.sleep(0.25)
            assert [item["status"] for item in status["items"]] == ["succeeded"] * 2
            manifest = await call(client, "download", batch_id=one["batch_id"])
            assert manifest["downloaded"] == 2

    asyncio.run(talk())
    assert len(list((granted.folder / "videos").glob("*.mp4"))) == 2
    assert granted.call("credits", "balance", "--json").document["available"] == 80


def test_another_accounts_batch_is_not_there(granted: Shell) -> None:
    other = granted.call("credits", "grant", "50", "--account", "other")
    assert other.code == 0
    batch_id = granted.ask(lambda rushes: rushes.create_batch(["a"], account="other"))["batch_id"]

    async def talk() -> None:
        async with connected(granted) as client:
            assert "there is no batch" in await refusal(client, "status", batch_id=batch_id)
            assert (await call(client, "list_batches"))["batches"] == []

    asyncio.run(talk())


def test_buying_without_a_provider_key_is_refused_at_the_start(granted: Shell) -> None:
    said = granted.run("mcp", "--credits-max", "10", GRSAI_API_KEY="").one_line_error()
    assert "no provider can be used" in said
