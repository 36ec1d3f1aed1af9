"""What services report that they charged, in their own units, and what it comes to in money."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rushes.simulator import running_simulator
from tests.harness import knobs, run_for, rushes_on

CASES = {
    "tokens at the price of their resolution": (
        {"model": "seedance-2.0", "resolution": "1080p", "duration": 5},
        {"CNY": "12.393"},  # 5 s of 48,600 tokens at 51 yuan a million
    ),
    "tokens at the usual price": ({"model": "seedance-2.0-mini", "duration": 4}, {"CNY": "1.9872"}),
    "seconds at the price of their resolution": (
        {"model": "wan-3.0", "resolution": "1080p", "duration": 10},
        {"USD": "1.65025"},
    ),
    "seconds and no picture that costs": (
        {"model": "minimax-h3-official", "resolution": "2k", "duration": 6},
        {"USD": "0.78"},
    ),
    "pictures that may cost leave it at what was expected": (
        {"model": "minimax-h3-max", "duration": 5, "first_frame": "https://i.example/1.png"},
        {"USD": "0.4"},
    ),
    "money": ({"model": "grok-imagine-video-1.5", "resolution": "1080p", "duration": 3}, {"USD": "0.75"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_reported_cost_is_kept_and_converted(new_database_url: Callable[[str], str], case: str) -> None:
    item, expected = CASES[case]

    async def scenario() -> dict[str, Any]:
        with running_simulator(knobs()) as simulator:
            base = simulator.base_url
            environ = {
                **dict.fromkeys(("ARK_API_KEY", "DASHSCOPE_API_KEY", "MINIMAX_API_KEY", "XAI_API_KEY"), "k"),
                "ARK_HOST": f"{base}/api/v3",
                "DASHSCOPE_HOST": f"{base}/api/v1",
                "MINIMAX_HOST": base,
                "XAI_HOST": f"{base}/xai",
                "RUSHES_CREDIT_VALUE": "0.01 USD",
            }
            async with rushes_on(new_database_url("sqlite"), base, environ) as rushes:
                batch_id = (await rushes.create_batch([{"prompt": "a boat", **item}]))["batch_id"]
                assert (await run_for(rushes, batch_id))["status"] == "succeeded"
                return await rushes.batch_margin(batch_id)

    margin = asyncio.run(scenario())
    assert margin["provider_cost"] == expected
    assert margin["cost_unknown_count"] == 0
