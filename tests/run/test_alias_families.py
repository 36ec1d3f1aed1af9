"""An alias over four families: one is down, one has no money, one refuses prompts, one is well."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

from rushes.simulator import running_simulator
from tests.harness import items, knobs, run_for, rushes_on

ALIAS = """
[aliases.film]
models = ["seedance-2.0-mini", "wan-3.0", "minimax-h3-max", "grok-imagine-video-1.5-lite"]
prices = "own"

[models."seedance-2.0-mini"]
price = { per_video = 60 }
[models."wan-3.0"]
price = { per_video = 50 }
[models."minimax-h3-max"]
price = { per_video = 40 }
[models."grok-imagine-video-1.5-lite"]
price = { per_video = 30 }
"""
ITEMS = 12


def test_every_item_ends_at_its_price_with_the_reasons_recorded(database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "rushes.toml"
    config.write_text(ALIAS)

    async def scenario() -> None:
        with contextlib.ExitStack() as stack:
            empty = stack.enter_context(running_simulator(knobs(balance_submits=0)))
            strict = stack.enter_context(running_simulator(knobs(submit_rejected=0.5)))
            well = stack.enter_context(running_simulator(knobs()))
            environ = {
                "RUSHES_CONFIG": str(config),
                **dict.fromkeys(("ARK_API_KEY", "DASHSCOPE_API_KEY", "MINIMAX_API_KEY"), "a-key"),
                "XAI_API_KEY": "a-key",
                "ARK_HOST": "http://127.0.0.1:9/api/v3",  # nobody listens there
                "DASHSCOPE_HOST": f"{empty.base_url}/api/v1",
                "MINIMAX_HOST": strict.base_url,
                "XAI_HOST": f"{well.base_url}/xai",
            }
            async with rushes_on(database_url, well.base_url, environ) as rushes:
                made = items(ITEMS, ("film",)) + items(2, ("grok-imagine-video-1.5-lite",))
                batch_id = (await rushes.create_batch(made))["batch_id"]
                batch = await run_for(rushes, batch_id)
                found = (await rushes.items(batch_id))[:ITEMS]
                assert {item["model"] for item in found} == {"minimax-h3-max"}, "the first that takes them"
                ended = Counter((item["status"], item["failure_type"]) for item in found)
                assert set(ended) == {("succeeded", None), ("failed", "input_moderation")}
                refused = [item for item in found if item["status"] == "failed"]
                assert all("sensitive content (1026)" in item["error"] for item in refused)
                assert {item["credits"] for item in found} == {60}, "the price at which they were accepted"
                succeeded = ITEMS - len(refused)
                assert batch["credits_settled"] == 60 * succeeded + 2 * 30
                assert batch["credits_refunded"] == 60 * len(refused)
                assert (await rushes.audit()).ok
            assert (empty.report().accepted, strict.report().deliveries) == (0, succeeded)
            assert well.report().deliveries == 2

    asyncio.run(scenario())
