"""`providers`: the same prompts at every provider in one run, each with every fault on, and the bills."""

import argparse
import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator

from proofs.books import OurTask
from proofs.equalities import own_id
from proofs.postgresql import running_postgresql
from proofs.result import ProofResult
from proofs.stage import FINISH_SECONDS_MAX, Pace, Stage, stage
from rushes import Rushes
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.providers.families.runway import API_VERSION
from rushes.settings import Settings
from rushes.simulator import TaskReport

TASKS = 100
"""Items of each provider's batch."""

STORM = ("slow_seconds=1",)
"""The preset `stormy` as it is, but for slow answers that take one second."""

BILLED = "runway"
"""The provider that tells what each task cost."""

PICTURE = "https://pictures.example/first.png"

ASKED_MAX = 100
"""How often the simulator is asked for one task of its bill, faults and all."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many workers share the work, and on which database."""
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: %(default)s)")
    parser.add_argument(
        "--postgresql", action="store_true", help="on a PostgreSQL of its own instead of SQLite"
    )


def run(options: argparse.Namespace) -> ProofResult:
    """One batch for each provider, all at once; compare, provider by provider, and reconcile a bill."""
    if not options.postgresql:
        return _prove(options, None)
    with running_postgresql() as server:
        return _prove(options, server.new_database())


def _prove(options: argparse.Namespace, database_url: str | None) -> ProofResult:
    with stage(
        "providers",
        options,
        database_url=database_url,
        pace=Pace(lease=3.0, in_flight_max=1000),
        preset="stormy",
        weather=STORM,
    ) as on:
        models = models_by_provider()
        asyncio.run(_accept(on, models))
        on.finish(on.start_workers(options.workers))
        on.compare(lossless=True)
        _tell_each(on, models, options.tasks)
        on.result.differ(_charges(on, models))
        on.result.differ(_reconcile(on))
        on.result.headline = (
            f"{options.tasks} prompts at each of {len(models)} providers in a storm of faults"
        )
        return on.result


def models_by_provider() -> dict[str, list[str]]:
    """All of the catalogue's models that take new tasks."""
    found: dict[str, list[str]] = {}
    now = time.time()
    for model in DEFAULT_CATALOGUE:
        if model.takes_new_tasks(now):
            found.setdefault(model.provider, []).append(model.name)
    return found


async def _accept(on: Stage, models: dict[str, list[str]]) -> None:
    """The same prompts for each provider, whose models take turns."""
    async with Rushes(Settings.load(on.site.environment, env_file=None)) as rushes:
        for provider, names in models.items():
            items = [
                _item(prompt, names[index % len(names)], with_picture=index // len(names) % 2 == 1)
                for index, prompt in enumerate(on.work.prompts)
            ]
            credits = sum(_credits_of(item) for item in items)
            on.work.granted += credits
            await rushes.create_batch(items, request_id=provider, grant=credits)


def _item(prompt: str, model: str, *, with_picture: bool) -> dict[str, str]:
    """Half of the items start with a picture, at models that take the URL of one."""
    first_frame = DEFAULT_CATALOGUE.get(model).media.get("first_frame")
    if with_picture and first_frame is not None and "url" in first_frame.ways:
        return {"prompt": prompt, "model": model, "first_frame": PICTURE}
    return {"prompt": prompt, "model": model}


def _credits_of(item: dict[str, str]) -> int:
    options = {name: value for name, value in item.items() if name == "first_frame"}
    return DEFAULT_CATALOGUE.get(item["model"]).price_of(options)


def _tell_each(on: Stage, models: dict[str, list[str]], count: int) -> None:
    """A line for each provider: its own share of what `compare` has found equal in the whole."""
    ours: dict[str, list[OurTask]] = {}
    for task in on.peek.books().tasks:
        ours.setdefault(task.provider, []).append(task)
    delivered: Counter[str] = Counter()
    for remote in on.service.report().tasks or ():
        delivered[remote.wire] += remote.final_answer == "succeeded"
    for provider in models:
        tasks = ours.get(provider, [])
        succeeded = [task for task in tasks if task.status == "succeeded"]
        settled = sum(task.credits for task in succeeded)
        on.result.fact(
            f"{provider}: succeeded / delivered, credits settled",
            f"{len(succeeded)} / {delivered[provider]}, {settled:,}",
        )
        if len(tasks) != count:
            on.result.differ([f"{len(tasks)} tasks at {provider}, not {count}"])
        if len(succeeded) != delivered[provider]:
            on.result.differ(
                [f"{provider}: {len(succeeded)} succeeded, the provider delivered {delivered[provider]}"]
            )


# --- the bill -----------------------------------------------------------------------------------------------


def _charges(on: Stage, models: dict[str, list[str]]) -> Iterator[str]:
    """What each provider's verdicts said that they charged, and what our books have of it."""
    ours = {(task.provider, task.remote_task_id): task for task in on.peek.books().tasks}
    remote = [task for task in on.service.report().tasks or () if task.charged is not None]
    for provider in models:
        charged = [
            (mine, task)
            for task in remote
            if task.wire == provider and (mine := ours.get((provider, own_id(task.id)))) is not None
        ]
        if not charged:
            continue
        wrong = [task.id for mine, task in charged if mine.provider_cost != task.charged]
        total = sum(task.charged or 0 for _, task in charged)
        on.result.fact(
            f"{provider}: costs reported / kept alike", f"{len(charged)} / {len(charged) - len(wrong)}"
        )
        on.result.fact(f"{provider}: charged, in its unit", f"{total:,.2f}")
        if wrong:
            yield f"{provider}: {len(wrong)} costs differ, such as those of {wrong[:3]}"


def _reconcile(on: Stage) -> Iterator[str]:
    """Ask the simulator what each task cost, write the bill, and hold it against our books."""
    remote = [task for task in on.service.report().tasks or () if task.wire == BILLED]
    bill = {task.id: _cost_of(on.service.url, task) for task in remote}
    ours = {task.remote_task_id: task for task in on.peek.books().tasks if task.provider == BILLED}
    file = on.site.folder / "bill.csv"
    file.write_text("remote_task_id,credits\n" + "".join(f"{name},{cost}\n" for name, cost in bill.items()))
    told = on.site.document("audit", "reconcile", file.name, "--provider", BILLED)
    on.result.fact(f"{BILLED}: credits billed", sum(bill.values()))
    charged = {name for name, cost in bill.items() if cost}
    expected = {
        "billed_not_delivered": {
            name for name in charged if (task := ours.get(name)) and task.status == "failed"
        },
        "billed_unknown": {name for name in charged if name not in ours},
        "delivered_not_billed": set(),
        "billed_twice": set(),
        "billed_otherwise": set(),
    }
    for what, names in expected.items():
        found = {line["remote_task_id"] for line in told[what]}
        on.result.fact(f"{BILLED}: {what}", len(found))
        if found != names:
            yield f"{what}: {sorted(found ^ names)[:5]} differ"
    delivered = sum(task.status == "succeeded" for task in ours.values())
    if told["matched"] != delivered:
        yield f"{told['matched']} lines of the bill match, {delivered} videos were delivered"


def _cost_of(url: str, task: TaskReport) -> int:
    """What the simulator says that a task cost, once it says it: its answers are as stormy as ever."""
    request = urllib.request.Request(
        f"{url}/v1/tasks/{own_id(task.id)}",
        headers={"x-runway-version": API_VERSION, "authorization": "Bearer any"},
    )
    for _ in range(ASKED_MAX):
        try:
            with urllib.request.urlopen(request, timeout=FINISH_SECONDS_MAX) as answer:
                return int(json.loads(answer.read())["cost"]["credits"])
        except urllib.error.HTTPError as refused:
            if refused.code == 404:
                return 0  # forgotten, and not charged
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            continue
    raise RuntimeError(f"the simulator does not say what {task.id} cost")
