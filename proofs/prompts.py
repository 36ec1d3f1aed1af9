"""`prompts`: a file of prompts through `rushes run`, against a provider with every fault on."""

import argparse

from proofs.result import ProofResult
from proofs.stage import Pace, stage

TASKS = 946
RUN_SECONDS_MAX = 900.0

STORM = ("slow_seconds=1",)
"""The preset `stormy` as it is, but for slow answers that take one second."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The model of all prompts."""
    parser.add_argument("--model", default="sora-2", help="the model of all prompts (default: %(default)s)")


def run(options: argparse.Namespace) -> ProofResult:
    """Run the file once, without a callback URL, and compare."""
    with stage(
        "prompts",
        options,
        database_url=None,
        pace=Pace(lease=3.0, in_flight_max=1000),
        preset="stormy",
        weather=STORM,
        models=(options.model,),
        # without a public base URL every submit says "-1": polling alone completes everything
        environment={"RUSHES_BASE_URL": ""},
    ) as on:
        file = on.site.folder / "prompts.txt"
        file.write_text("\n".join(on.work.prompts) + "\n", encoding="utf-8")
        on.work.granted = on.work.credits
        arguments = ("run", file.name, "--model", options.model, "--grant", str(on.work.credits))
        on.site.start(*arguments).wait(RUN_SECONDS_MAX)
        counted = on.compare(lossless=True, callbacks=False)
        on.result.headline = f"{counted.tasks} prompts in a storm of faults"
        return on.result
