"""`desync`: a gateway that writes answers twice and to the wrong questions: nobody gets another's video.

Several accounts have batches at each provider. Whose video and whose id each task ended with is judged by the
provider's own report: the prompt, the model and the URL that belong to each remote id.
"""

import argparse
import asyncio

from proofs.providers import models_by_provider
from proofs.result import ProofResult
from proofs.stage import FINISH_SECONDS_MAX, Pace, Stage, stage
from rushes import Rushes
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.settings import Settings

TASKS = 2000
"""Items of each provider, shared by the accounts."""

ACCOUNTS = 4

SUBMIT_SECONDS = 20.0
"""How long submits take: an acceptance is mixed up with one of two seconds ago and more."""

SUBMITS_PER_SECOND_MIN = 10.0
SUBMITS_PER_SECOND_MAX = 30.0
"""At each provider. Where submits time out or a lease runs out, for too much is under way, the owner of an id may
never have heard it, and nothing tells that another task was given it: that is not what is tried here."""

REQUEST_SECONDS_MAX = 30.0
LEASE_SECONDS = 30.0

NOT_FOUND_GRACE_SECONDS = 5.0
"""One task of fifty is forgotten by its provider, and takes a place until this is over."""

TASKS_PER_SECOND = 8.0
"""At each provider, on a slow and busy machine: what a run may take beside `FINISH_SECONDS_MAX`."""

FAULTS = ("submit_doubled", "submit_swapped", "poll_doubled", "poll_swapped")
"""The simulator's faults that must have struck for this to prove anything."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many workers share the work."""
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: %(default)s)")


def run(options: argparse.Namespace) -> ProofResult:
    """A batch for each account at each provider, all at once; compare task by task."""
    pace = Pace(lease=LEASE_SECONDS, render=0.5, in_flight_max=1000)
    rate = min(max(SUBMITS_PER_SECOND_MIN, options.tasks / SUBMIT_SECONDS), SUBMITS_PER_SECOND_MAX)
    environment = {
        "RUSHES_REQUEST_TIMEOUT_SECONDS": f"{REQUEST_SECONDS_MAX:g}",
        "RUSHES_SUBMITS_PER_SECOND": f"{rate:g}",
        "RUSHES_NOT_FOUND_GRACE_SECONDS": str(NOT_FOUND_GRACE_SECONDS),
    }
    with stage(
        "desync", options, database_url=None, pace=pace, preset="desync", weather=(), environment=environment
    ) as on:
        accounts = Settings.load(on.site.environment, env_file=None).provider_accounts()
        models = {
            name: names
            for name, names in models_by_provider().items()
            if name in accounts and accounts[name].missing is None
        }
        asyncio.run(_accept(on, models))
        on.finish(
            on.start_workers(options.workers),
            seconds_max=FINISH_SECONDS_MAX + options.tasks / TASKS_PER_SECOND,
        )
        on.compare(lossless=True)
        _count_faults(on)
        on.result.headline = (
            f"{len(on.work.prompts):,} tasks of {ACCOUNTS} accounts at each of {len(models)} providers"
        )
        return on.result


async def _accept(on: Stage, models: dict[str, list[str]]) -> None:
    """Every account has its share of the prompts at each provider, whose models take turns."""
    async with Rushes(Settings.load(on.site.environment, env_file=None)) as rushes:
        for provider, names in models.items():
            for account in range(ACCOUNTS):
                items = [
                    {"prompt": f"{prompt} ({account})", "model": names[index % len(names)]}
                    for index, prompt in enumerate(on.work.prompts)
                    if index % ACCOUNTS == account
                ]
                if not items:
                    continue
                credits = sum(DEFAULT_CATALOGUE.get(item["model"]).typical_credits for item in items)
                on.work.granted += credits
                await rushes.create_batch(
                    items, account=f"account-{account}", request_id=f"{provider}-{account}", grant=credits
                )


def _count_faults(on: Stage) -> None:
    """Each fault has to have struck, and mixed-up answers to have been noticed as such."""
    report = on.service.report()
    for name in FAULTS:
        struck = report.faults.get(name, 0)
        on.result.fact(f"answers {name.replace('_', ', ')}", struck)
        if not struck:
            on.result.differ([f"no fault {name} struck"])
