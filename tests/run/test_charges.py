"""A task's charge: fixed when its credits are reserved, sent as priced, priced again when retried."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, text

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, Origin, WholeNumber, YesNo
from rushes.domain.catalogue.price_reading import read_cost, read_price
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.retries import LastModel, RetryPolicy
from rushes.domain.task import Failed, FailureType, Succeeded, Verdict
from rushes.money import accept
from rushes.money.retry import retry_failed, retry_item
from rushes.money.settle import Group, apply_group
from rushes.providers.health import HealthState
from rushes.run.failover import Failover
from rushes.store.database import Database
from rushes.store.migrations import migrate
from rushes.store.tasks import ClaimedTask
from rushes.store.tasks.charges import CHARGE_FIELDS
from tests.books import WORKER, Books, assert_sound, video

OPTIONS: Mapping[str, OptionSpec] = {
    "duration": WholeNumber(2, 10, default=5),
    "resolution": OneOf(("720p", "1080p"), default="720p"),
}


def model(name: str, provider: str, per_second: int, **more: Any) -> Model:
    return Model(
        name=name,
        provider=provider,
        api_model=name,
        options=more.pop("options", OPTIONS),
        price=read_price({"per_second": per_second, "by": {"resolution": {"1080p": "1.5"}}}, Origin()),
        cost=read_cost(
            {
                "per_second": "0.12",
                "currency": "USD",
                "as_of": "2026-11-01",
                "source": "a test",
                "unit": "credits",
                "unit_price": "0.01",
            },
            Origin(),
        ),
        **more,
    )


WITH_SOUND: Mapping[str, OptionSpec] = {**OPTIONS, "audio": YesNo(default=True)}
MODELS = Catalogue(
    [
        model("first", "grsai", 5),
        model("second", "other", 7, options=WITH_SOUND),
        model("third", "third", 4, options=WITH_SOUND),
    ]
).with_overrides(
    {
        "any": {"alias_of": ["first", "second", "third"]},
        "own": {"alias_of": ["first", "second", "third"], "prices": "own"},
    }
)


@pytest.fixture
def books(database: Database) -> Books:
    """A database, a clock, and an account with credits."""
    books = Books(database, now_ms=900_000_000_000)
    books.grant(books.account(), 10_000)
    return books


def order(
    books: Books,
    items: Sequence[Mapping[str, Any]],
    *,
    models: Catalogue = MODELS,
    policy: RetryPolicy | None = None,
) -> int:
    """A batch of these items, as they are accepted from outside."""
    drafts = drafts_from_objects([{"prompt": "a boat", **item} for item in items], Defaults("first", {}))
    tasks = accept.priced_tasks(validate_drafts(drafts, models, books.now_ms / 1000))
    request = accept.BatchRequest(
        books.account(),
        "scope",
        "r",
        accept.request_hash(drafts),
        tasks,
        retry_policy=policy or RetryPolicy(),
    )
    books.database.run(accept.accept_batch, request, public_id="bat_1", now_ms=books.now_ms)
    return int(books.row("SELECT id FROM batches")["id"])


def end(books: Books, task: ClaimedTask, verdict: Verdict, models: Catalogue = MODELS) -> None:
    books.name([task])
    books.database.run(
        apply_group,
        Group(verdicts=[(task.task_id, task.attempt, verdict)]),
        worker_id=WORKER,
        now_ms=books.now_ms,
        before_closing=partial(retry_failed, reprice=models.charge),
    )


def charges(books: Books) -> list[tuple[Any, ...]]:
    """`(model, credits, sent options, expected cost)` of all tasks, in their order."""
    return [
        (
            row["model"],
            row["credits"],
            json.loads(row["sent_options"] or row["options"]),
            row["expected_cost_micros"],
        )
        for row in books.rows("SELECT * FROM video_tasks ORDER BY id")
    ]


def test_each_item_is_reserved_and_sent_as_it_was_priced(books: Books) -> None:
    order(books, [{}, {"duration": 2}, {"duration": 10, "resolution": "1080p"}])
    assert [(charge[1], charge[3]) for charge in charges(books)] == [
        (25, 600_000),
        (10, 240_000),
        (75, 1_200_000),
    ]
    assert books.row("SELECT credits_reserved FROM batches") == {"credits_reserved": 110}
    claimed = books.claim()
    assert [task.options for task in claimed] == [
        {"duration": 5, "resolution": "720p"},
        {"duration": 2, "resolution": "720p"},
        {"duration": 10, "resolution": "1080p"},
    ]
    books.name(claimed)
    books.finish([(claimed[0], video(claimed[0])), (claimed[2], video(claimed[2]))])
    books.finish([(claimed[1], Failed("no", FailureType.MODEL_ERROR))])
    row = books.row("SELECT credits_settled, credits_refunded FROM batches")
    assert row == {"credits_settled": 100, "credits_refunded": 10}
    assert_sound(books)


@pytest.mark.parametrize(
    ("verdict", "actual"),
    [
        (Succeeded("https://v.example/1.mp4", provider_cost=60, provider_cost_unit="credits"), 600_000),
        (Succeeded("https://v.example/1.mp4", provider_cost=0.05, provider_cost_unit="credits"), 500),
        (Succeeded("https://v.example/1.mp4", provider_cost=0.1, provider_cost_unit="USD"), 100_000),
        (Failed("no", FailureType.OUTPUT_MODERATION, 12.5, "credits"), 125_000),
        (Failed("no", FailureType.OUTPUT_MODERATION, 0, "credits"), 0),
        (Succeeded("https://v.example/1.mp4", provider_cost=3, provider_cost_unit="EUR"), None),
        (Succeeded("https://v.example/1.mp4", provider_cost=3), None),
        (Failed("no", FailureType.OUTPUT_MODERATION, 0, "EUR"), 0),
        (Succeeded("https://v.example/1.mp4", provider_cost=9e15, provider_cost_unit="credits"), None),
        (Succeeded("https://v.example/1.mp4", provider_cost=-3, provider_cost_unit="credits"), None),
        (Succeeded("https://v.example/1.mp4", provider_cost=math.inf, provider_cost_unit="credits"), None),
        (
            Succeeded("https://v.example/1.mp4", provider_cost=999_999_999.0, provider_cost_unit="USD"),
            999_999_999 * 10**6,
        ),
    ],
)
def test_what_the_provider_reports_is_kept_and_converted(
    books: Books, verdict: Verdict, actual: int | None
) -> None:
    order(books, [{}])
    (task,) = books.claim()
    end(books, task, verdict)
    row = books.row("SELECT provider_cost, provider_cost_unit, actual_cost_micros FROM video_tasks")
    assert row["actual_cost_micros"] == actual
    assert row["provider_cost_unit"] == verdict.provider_cost_unit
    assert_sound(books)


def test_a_unit_so_dear_that_the_product_would_not_fit_never_stops_a_settlement(books: Books) -> None:
    order(books, [{}])
    books.sql("UPDATE video_tasks SET cost_unit_nanos = 1000000000000000")
    (task,) = books.claim()
    end(books, task, Succeeded("https://v.example/1.mp4", provider_cost=9e8, provider_cost_unit="credits"))
    row = books.row("SELECT status, actual_cost_micros FROM video_tasks")
    assert row == {"status": "succeeded", "actual_cost_micros": None}


def test_a_retry_by_hand_is_priced_again(books: Books) -> None:
    batch_id = order(books, [{"duration": 10}])
    (task,) = books.claim()
    end(books, task, Failed("no", FailureType.MODEL_ERROR))
    dearer = MODELS.with_overrides({"first": {"price": {"per_second": 6}, "cost": None}})
    books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms, reprice=dearer.charge)
    sent = {"duration": 10, "resolution": "720p"}
    assert charges(books) == [("first", 50, sent, 1_200_000), ("first", 60, sent, None)]
    row = books.row("SELECT credits_reserved, credits_refunded FROM batches")
    assert row == {"credits_reserved": 110, "credits_refunded": 50}
    assert_sound(books)


def test_a_retry_of_a_model_that_has_gone_keeps_its_charge(books: Books) -> None:
    batch_id = order(books, [{"duration": 10}])
    (task,) = books.claim()
    end(books, task, Failed("no", FailureType.MODEL_ERROR))
    gone = MODELS.with_overrides({"any": {"alias_of": ["second"]}, "own": {"alias_of": ["second"]}})
    gone = gone.with_overrides({"first": {"removed": True}})
    books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms, reprice=gone.charge)
    first, second = charges(books)
    assert first == second
    assert_sound(books)


def test_a_re_roll_and_the_last_model_are_priced_by_the_items_options(books: Books) -> None:
    last = LastModel.of(MODELS.get("second"))
    order(books, [{"duration": 10, "resolution": "1080p"}], policy=RetryPolicy(2, last_model=last))
    for _ in range(2):
        (task,) = books.claim()
        end(books, task, Failed("no", FailureType.MODEL_ERROR))
    sent = {"duration": 10, "resolution": "1080p"}
    assert charges(books) == [
        ("first", 75, sent, 1_200_000),
        ("first", 75, sent, 1_200_000),
        ("second", 105, {**sent, "audio": True}, 1_200_000),
    ]
    assert_sound(books)


def moved(books: Books, down: str) -> int:
    failover = Failover(
        books.database,
        catalogue=MODELS,
        queue_max=None,
        now_ms=lambda: books.now_ms,
    )
    states = {
        name: HealthState("open", "down", until=10.0) if name == down else HealthState("closed")
        for name in ("grsai", "other", "third")
    }
    return asyncio.run(failover.move_waiting(states))


def test_an_alias_costs_the_dearest_of_its_models_and_failover_moves_no_credit(books: Books) -> None:
    order(books, [{"model": "any", "duration": 10}])
    assert charges(books) == [("first", 70, {"duration": 10, "resolution": "720p"}, 1_200_000)]
    assert moved(books, "grsai") == 1
    sent = {"duration": 10, "resolution": "720p", "audio": True}
    assert charges(books) == [("second", 70, sent, 1_200_000)], "sent as its new model has it by default"
    assert books.row("SELECT credits_reserved FROM batches") == {"credits_reserved": 70}
    assert_sound(books)


def test_an_alias_with_own_prices_fails_over_to_no_dearer_model(books: Books) -> None:
    order(books, [{"model": "own", "duration": 10}])
    assert charges(books)[0][:2] == ("first", 50)
    assert moved(books, "grsai") == 1
    assert charges(books)[0][:2] == ("third", 50), "the second would cost 70"
    assert_sound(books)


def test_an_upgrade_leaves_tasks_in_flight_as_they_are(books: Books) -> None:
    order(books, [{"duration": 2}, {"duration": 3}, {"duration": 4}, {"duration": 6}])
    claimed = books.claim(3)
    books.name(claimed)
    end(
        books,
        claimed[0],
        Succeeded("https://v.example/1.mp4", provider_cost=24, provider_cost_unit="credits"),
    )
    books.sql("UPDATE video_tasks SET provider = 'runway' WHERE item_index = 0")
    before = books.rows("SELECT id, status, credits, options, provider_cost FROM video_tasks ORDER BY id")

    def downgrade(connection: Connection) -> None:
        for column in (*CHARGE_FIELDS, "provider_cost_unit", "actual_cost_micros"):
            connection.execute(text(f"ALTER TABLE video_tasks DROP COLUMN {column}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0012'"))

    def upgrade(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": migrate.head()})

    books.database.run(downgrade)
    books.database.run(upgrade)
    after = books.rows("SELECT id, status, credits, options, provider_cost FROM video_tasks ORDER BY id")
    assert after == before
    units = books.rows("SELECT provider_cost_unit FROM video_tasks ORDER BY id")
    assert [row["provider_cost_unit"] for row in units] == ["credits", None, None, None]

    (waiting,) = books.claim()
    assert waiting.options == {"duration": 6}, "sent as it was accepted"
    books.name([waiting])
    for task in (*claimed[1:], waiting):
        end(books, task, video(task))
    row = books.row("SELECT status, credits_reserved, credits_settled FROM batches")
    assert row == {"status": "succeeded", "credits_reserved": 75, "credits_settled": 75}
    assert_sound(books)
