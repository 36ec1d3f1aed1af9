"""Limits of a model's own: of all workers together, and without harm to the other models."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import MODEL_LIMIT_MAX, ModelLimits
from rushes.domain.errors import InputError
from rushes.domain.task import Succeeded
from rushes.run.lane.fairness import claim_fairly
from rushes.simulator import running_simulator
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask
from tests.books import PROVIDER, Books
from tests.harness import items, knobs, run_for, rushes_on

TIGHT, FREE = "veo-pro", "sora-2"
MODELS = [FREE, TIGHT]


@pytest.fixture
def books(database: Database) -> Books:
    """Twenty waiting videos of each of two models, in two batches."""
    made = Books(database, now_ms=1_000_000)
    account_id = made.account("one")
    made.grant(account_id, 1_000)
    for model in MODELS:
        batch_id = made.accept(account_id, [1] * 20, name=model)
        made.sql("UPDATE video_tasks SET model = :model WHERE batch_id = :id", model=model, id=batch_id)
    return made


def claim(books: Books, limit: int, limits: ModelLimits, worker_id: str = "one") -> list[ClaimedTask]:
    wanted: dict[str, Any] = {
        "provider": PROVIDER,
        "worker_id": books.worker(worker_id),
        "limit": limit,
        "now_ms": books.now_ms,
        "models": MODELS,
        "limits_of": {TIGHT: limits},
    }
    return books.database.run(claim_fairly, **wanted)


def by_model(claimed: list[ClaimedTask]) -> dict[str, int]:
    return dict(Counter(task.model for task in claimed))


def test_no_more_of_a_model_are_in_flight_than_it_allows_whoever_claims(books: Books) -> None:
    limits = ModelLimits(in_flight_tasks_max=3)
    first = claim(books, 10, limits)
    assert by_model(first) == {TIGHT: 3, FREE: 7}
    assert by_model(claim(books, 10, limits, "two")) == {FREE: 10}
    done = next(task for task in first if task.model == TIGHT)
    books.name(first)
    books.finish([(done, Succeeded("https://files.example/1.mp4"))], worker_id="one")
    assert by_model(claim(books, 10, limits, "two")) == {TIGHT: 1, FREE: 3}


def test_no_more_of_a_model_are_submitted_in_a_minute_than_it_allows(books: Books) -> None:
    limits = ModelLimits(submits_per_minute=4)
    first = claim(books, 10, limits)
    assert by_model(first) == {TIGHT: 4, FREE: 6}
    books.name(first)
    books.finish([(task, Succeeded("https://files.example/1.mp4")) for task in first], worker_id="one")
    books.now_ms += 59_000
    assert by_model(claim(books, 5, limits, "two")) == {FREE: 5}, "those that have ended count, too"
    books.now_ms += 2_000
    assert by_model(claim(books, 5, limits, "two")) == {TIGHT: 4, FREE: 1}


def test_a_model_with_limits_does_not_wait_behind_one_without(books: Books) -> None:
    limits = ModelLimits(in_flight_tasks_max=1, submits_per_minute=100)
    assert by_model(claim(books, 1, limits)) == {TIGHT: 1}
    assert by_model(claim(books, 1, limits)) == {FREE: 1}


def test_a_limit_of_a_model_that_is_held_claims_none_of_it(books: Books) -> None:
    held = books.database.run(
        claim_fairly,
        provider=PROVIDER,
        worker_id=books.worker(),
        limit=5,
        now_ms=books.now_ms,
        models=[FREE],
        limits_of={TIGHT: ModelLimits(in_flight_tasks_max=3)},
    )
    assert by_model(held) == {FREE: 5}


def test_a_batch_over_a_model_s_limit_is_run_to_its_end(database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "rushes.toml"
    config.write_text(f"[models.{TIGHT}]\nlimits = {{ in_flight_tasks_max = 2 }}\n")

    async def scenario(host: str) -> None:
        async with rushes_on(database_url, host, {"RUSHES_CONFIG": str(config)}) as rushes:
            made = items(8, (TIGHT,)) + items(8, (FREE,))
            batch = await run_for(rushes, (await rushes.create_batch(made))["batch_id"])
            assert batch["succeeded_count"] == 16
            assert (await rushes.audit()).ok

    with running_simulator(knobs(render_seconds=0.4)) as simulator:
        asyncio.run(scenario(simulator.base_url))
        tasks = [task for task in simulator.report().tasks or () if task.model.startswith("veo")]
    assert len(tasks) == 8
    spans = [(task.submitted_at, task.submitted_at + 0.4) for task in tasks]
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) <= 2


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"in_flight": 3}, "limits.in_flight: is no limit of a model; use in_flight_tasks_max, submits"),
        (
            {"in_flight_tasks_max": 0},
            f"limits: in_flight_tasks_max must be a whole number from 1 to {MODEL_LIMIT_MAX}",
        ),
        ({"submits_per_minute": 2.5}, "limits: submits_per_minute must be a whole number"),
        ({"submits_per_minute": True}, "limits: submits_per_minute must be a whole number"),
        (5, "limits: must be a table of limits, not 5"),
    ],
)
def test_limits_that_are_none_are_refused_by_name(given: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        DEFAULT_CATALOGUE.with_overrides({FREE: {"limits": given}})


def test_limits_are_data_of_the_model() -> None:
    changed = DEFAULT_CATALOGUE.with_overrides({FREE: {"limits": {"submits_per_minute": 5}}})
    assert changed.get(FREE).limits == ModelLimits(None, 5)
    assert changed.with_overrides({FREE: {"limits": None}}).get(FREE).limits is None
