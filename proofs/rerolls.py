"""`rerolls`: batches with retry policies against a provider that refuses three videos of five by chance."""

import argparse
import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from proofs.postgresql import running_postgresql
from proofs.result import ProofResult
from proofs.stage import Pace, Stage, stage
from rushes import Rushes
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.settings import Settings
from rushes.simulator import TaskReport

TASKS = 500
"""Items of each batch."""

PASS_RATE = Fraction(2, 5)
WEATHER = (f"output_moderation={float(1 - PASS_RATE)}", "latency_max_seconds=0.05")
MODELS = ("sora-2", "veo-flash")
"""The models that take turns; their prices differ."""

CONFIDENCE_SIGMAS = 3.29
"""What is measured may be so many standard errors from the law: 99.9 % of runs are within."""

GRANTED_PER_ITEM = 200
"""More credits than an item's tries can hold at once: no re-roll is refused for want of credits."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many workers on PostgreSQL, and where."""
    parser.add_argument("--workers", type=int, default=3, help="on PostgreSQL (default: %(default)s)")
    parser.add_argument(
        "--only", choices=("sqlite", "postgresql"), default=None, help="one database instead of both"
    )


def run(options: argparse.Namespace) -> ProofResult:
    """One worker on SQLite, then several on PostgreSQL."""
    result = ProofResult("rerolls")
    if options.only != "postgresql":
        _prove(result, options, "sqlite", None, workers=1)
    if options.only != "sqlite":
        with running_postgresql() as server:
            _prove(result, options, "postgresql", server.new_database(), workers=options.workers)
    result.headline = f"{options.tasks} items under each of {len(policies(options.tasks))} policies"
    return result


def policies(items: int) -> Mapping[str, Mapping[str, Any]]:
    """What the batches ask for. Cap and stop-loss are such that they bind."""
    return {
        "plain": {"max": 5},
        "cap": {"max": 5, "credits_max": 2 * items},
        "stop-loss": {"max": 5, "stop_loss": {"pass_rate_min": 0.5, "after": items}},
        "last model": {"max": 2, "last_model": "veo-pro"},
        "all": {
            "max": 3,
            "credits_max": 6 * items,
            "stop_loss": {"pass_rate_min": 0.45, "after": items * 5 // 4},
            "last_model": "veo-pro",
        },
    }


def _prove(
    result: ProofResult, options: argparse.Namespace, name: str, database_url: str | None, *, workers: int
) -> None:
    with stage(
        f"rerolls-{name}",
        options,
        database_url=database_url,
        pace=Pace(lease=5.0, in_flight_max=1000),
        weather=WEATHER,
        models=MODELS,
    ) as on:
        asked = policies(options.tasks)
        batch_ids = asyncio.run(_accept(on, asked))
        on.finish(on.start_workers(workers))
        on.compare(lossless=True)
        by_batch = _tasks_by_batch(on)
        for policy_name, policy in asked.items():
            kept = Kept.read(on, batch_ids[policy_name])
            kept.told = by_batch.pop(policy_name, [])
            found = list(_differences(kept, policy))
            if policy.keys() <= {"max", "last_model"}:
                found += _differences_from_the_law(on.result, policy_name, kept, policy["max"])
            on.result.differ(f"{policy_name}: {line}" for line in found)
            _tell(on.result, policy_name, kept, policy)
        result.facts += [(f"{name}: {what}", number) for what, number in on.result.facts]
        result.differ(f"{name}: {line}" for line in on.result.differences)
    result.seconds += on.result.seconds


async def _accept(on: Stage, asked: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Accept every batch; the ids by policy. A prompt names its batch and item, for the provider's report."""
    async with Rushes(Settings.load(on.site.environment, env_file=None)) as rushes:
        found = {}
        for name, policy in asked.items():
            credits = GRANTED_PER_ITEM * len(on.work.prompts)
            on.work.granted += credits
            items = [
                {"prompt": f"{name}/{index}: {item['prompt']}", "model": item["model"]}
                for index, item in enumerate(on.work.items())
            ]
            batch = await rushes.create_batch(items, retries=policy, grant=credits)
            found[name] = batch["batch_id"]
        return found


def _tasks_by_batch(on: Stage) -> dict[str, list[TaskReport]]:
    found: dict[str, list[TaskReport]] = {}
    for task in on.service.report().tasks or ():
        found.setdefault(task.prompt.partition("/")[0], []).append(task)
    return found


# --- what our database has kept ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Try:
    """A row of `video_tasks`."""

    task_id: int
    index: int
    number: int
    model: str
    prompt: str
    credits: int
    passed: bool
    failure_type: str | None
    completed_at_ms: int
    worker_id: str


@dataclass(slots=True)
class Commit:
    """The tries that one transaction ended, and the credits that it reserved for re-rolls, in one entry."""

    ended: list[Try] = field(default_factory=list)
    reserved: int = 0


@dataclass(slots=True)
class Kept:
    """All of one batch: its tries, its commits in the ledger's order, and what rushes tells of its re-rolls."""

    tries: list[Try]
    first_reserved: int
    commits: list[Commit]
    row: Any
    document: dict[str, Any]
    told: list[TaskReport] = field(default_factory=list)

    @classmethod
    def read(cls, on: Stage, public_id: str) -> "Kept":
        """From the database, and from `rushes batch rerolls`."""
        (row,) = on.peek.rows("SELECT * FROM batches WHERE public_id = :id", id=public_id)
        tries = [
            Try(*task)
            for task in on.peek.rows(
                "SELECT id, item_index, retry_number, model, prompt, credits, status = 'succeeded',"
                " failure_type, completed_at_ms, worker_id FROM video_tasks WHERE batch_id = :id ORDER BY id",
                id=row.id,
            )
        ]
        entries = on.peek.rows(
            "SELECT type, delta, task_id FROM ledger_entries WHERE batch_id = :id ORDER BY seq", id=row.id
        )
        first, *later = entries
        document = on.site.document("batch", "rerolls", public_id)
        return cls(tries, -first.delta, list(_commits(later, tries)), row, document)

    def items(self) -> dict[int, list[Try]]:
        """Each item's tries, oldest first."""
        found: dict[int, list[Try]] = {}
        for one in sorted(self.tries, key=lambda one: one.number):
            found.setdefault(one.index, []).append(one)
        return found


def _commits(entries: Sequence[Any], tries: Sequence[Try]) -> Iterator[Commit]:
    """The ledger's entries by transaction: a worker commits twice in one millisecond never.

    In a transaction the ends come before the new reservations.
    """
    by_id = {one.task_id: one for one in tries}
    commit, of = Commit(), None
    for entry in entries:
        if entry.type == "reserve":
            commit.reserved -= entry.delta
            continue
        one = by_id[entry.task_id]
        if commit.reserved or (one.completed_at_ms, one.worker_id) != of:
            if commit.ended:
                yield commit
            commit, of = Commit(), (one.completed_at_ms, one.worker_id)
        commit.ended.append(one)
    yield commit


# --- the comparison ---------------------------------------------------------------------------------------


def _differences(kept: Kept, policy: Mapping[str, Any]) -> Iterator[str]:
    yield from _replay(kept, policy)
    yield from _credits(kept)
    yield from _item_by_item(kept, policy)


def _replay(kept: Kept, policy: Mapping[str, Any]) -> Iterator[str]:
    """Decide again, from the ledger alone, what each commit had to re-roll; compare with what it reserved."""
    cap, stop_loss = policy.get("credits_max", math.inf), policy.get("stop_loss")
    last = DEFAULT_CATALOGUE.get(policy["last_model"]).typical_credits if "last_model" in policy else None
    used = peak = passed = ended = 0
    is_stopped = False
    for number, commit in enumerate(kept.commits, start=1):
        failed = sorted((one for one in commit.ended if not one.passed), key=lambda one: one.index)
        ended += len(commit.ended)
        passed += len(commit.ended) - len(failed)
        used -= sum(one.credits for one in failed if one.number)
        if failed and stop_loss is not None and ended >= stop_loss["after"]:
            is_stopped = is_stopped or passed < Fraction(str(stop_loss["pass_rate_min"])) * ended
        expected = []
        for one in failed:
            is_last = one.number + 1 == policy["max"]
            price = last if is_last and last is not None else one.credits
            if not is_stopped and one.number < policy["max"] and used + price <= cap:
                used += price
                expected.append(price)
        if sum(expected) != commit.reserved:
            yield f"commit {number} re-rolled for {commit.reserved} credits, the policy says {expected}"
        peak = max(peak, used)
    paid = sum(one.credits for one in kept.tries if one.number and one.passed)
    if used != paid or peak > cap:
        yield f"re-rolls used {used} credits (most at once {peak}, cap {cap}); those that passed cost {paid}"
    told = kept.document
    ours = (len(kept.tries) - len(kept.items()), used, ended, passed, is_stopped)
    stored = (
        told["rerolls_count"],
        told["credits_used"],
        told["tries_ended"],
        told["tries_passed"],
        told["stopped_at"] is not None,
    )
    if ours != stored:
        yield f"re-rolls, credits, tries ended, passed, stopped are {ours}; rushes tells {stored}"
    if is_stopped is (stop_loss is None):
        yield "the stop-loss was to bind, and did not" if stop_loss else "stopped without a stop-loss"


def _credits(kept: Kept) -> Iterator[str]:
    """The batch's row against the provider's own list of tasks, at the catalogue's prices."""
    # an API name may be several providers': the catalogue's first is the one that these batches ask for
    prices = [DEFAULT_CATALOGUE.get(task.model).typical_credits for task in kept.told]
    bought = sum(prices)
    delivered = sum(
        price for price, task in zip(prices, kept.told, strict=True) if task.final_answer == "succeeded"
    )
    row = kept.row
    if (row.credits_reserved, row.credits_settled, row.credits_refunded) != (
        bought,
        delivered,
        bought - delivered,
    ):
        yield (
            f"{row.credits_reserved} credits reserved and {row.credits_settled} settled; the provider took"
            f" tasks for {bought} and delivered for {delivered}"
        )
    first = sum(tries[0].credits for tries in kept.items().values())
    if kept.first_reserved != first:
        yield f"{kept.first_reserved} credits were reserved at the start; the first tries cost {first}"


def _item_by_item(kept: Kept, policy: Mapping[str, Any]) -> Iterator[str]:
    """Every try of an item is one task at the provider; all but the last were refused."""
    told = Counter((task.prompt, task.model, task.final_answer) for task in kept.told)
    for index, tries in kept.items().items():
        ours = Counter(
            (one.prompt, DEFAULT_CATALOGUE.get(one.model).api_model, one.failure_type or "succeeded")
            for one in tries
        )
        if any(told[key] != count for key, count in ours.items()):
            yield f"item {index}: {dict(ours)} is not what the provider says"
        told -= ours
        numbers = [one.number for one in tries]
        if numbers != list(range(len(tries))) or len(tries) > policy["max"] + 1:
            yield f"item {index} has the tries {numbers}"
        if any(one.passed for one in tries[:-1]):
            yield f"item {index} was tried again after it had passed"
        for one in tries:
            is_last = one.number == policy["max"] and "last_model" in policy
            if one.model != (policy["last_model"] if is_last else MODELS[index % len(MODELS)]):
                yield f"item {index}: try {one.number + 1} was of {one.model}"
    if told.total():
        yield f"{told.total()} tasks of the provider are no try of ours"


def _differences_from_the_law(result: ProofResult, name: str, kept: Kept, retries: int) -> Iterator[str]:
    """Without cap and stop-loss an item's tries follow the geometric law, cut off at `max` + 1."""
    p, items = float(PASS_RATE), len(kept.items())
    q, most = 1 - p, retries + 1
    chances = [p * q ** (n - 1) for n in range(1, most)] + [q ** (most - 1)]  # of exactly n tries
    mean = (1 - q**most) / p
    variance = sum(chance * n * n for n, chance in enumerate(chances, start=1)) - mean * mean
    tries, passed = len(kept.tries), sum(one.passed for one in kept.tries)
    for what, measured, law, sigma in (
        ("tries of an item", tries / items, mean, math.sqrt(variance / items)),
        ("pass rate of a try", passed / tries, p, math.sqrt(p * q / tries)),
        ("items that pass", passed / items, 1 - q**most, math.sqrt(q**most * (1 - q**most) / items)),
    ):
        bound = CONFIDENCE_SIGMAS * sigma
        result.fact(f"{name}: {what}", f"{measured:.3f}, by law {law:.3f} ± {bound:.3f}")
        if abs(measured - law) > bound:
            yield f"{what}: {measured:.4f}, by law {law:.4f} ± {bound:.4f}"


def _tell(result: ProofResult, name: str, kept: Kept, policy: Mapping[str, Any]) -> None:
    passed = sum(one.passed for one in kept.tries)
    result.fact(
        f"{name}: items / tries / passed", f"{len(kept.items()):,} / {len(kept.tries):,} / {passed:,}"
    )
    result.fact(
        f"{name}: credits of all tries / settled / refunded",
        f"{kept.row.credits_reserved:,} / {kept.row.credits_settled:,} / {kept.row.credits_refunded:,}",
    )
    cap = policy.get("credits_max")
    result.fact(
        f"{name}: credits of re-rolls that passed",
        f"{kept.document['credits_used']:,}" + (f" of at most {cap:,}" if cap else ""),
    )
