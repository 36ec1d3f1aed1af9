"""Failover: what waits goes to the next model of its alias, what was sent stays, no credit moves; holding."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.catalogue.aliases import AliasDefinition
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.media import KnownUploads, MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.task import TIMEOUT, Failed, FailureType
from rushes.files.objects import ObjectStore
from rushes.files.uploads import Uploads, check_bytes
from rushes.money import accept
from rushes.money import retry as retries
from rushes.money.settle import Group
from rushes.providers.health import HealthState
from rushes.read import tries
from rushes.read.holding import held_reasons, held_tasks
from rushes.read.scope import OPERATOR
from rushes.run.failover import Failover
from rushes.run.lane.fairness import claim_fairly
from rushes.store import workers
from rushes.store.action_log import Actor
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask, pauses
from rushes.store.tasks.charges import CHARGE_FIELDS
from tests.books import WORKER, Books, assert_sound, video
from tests.files import media_samples as samples

MODELS = DEFAULT_CATALOGUE.with_overrides({"any": {"alias_of": ["sora-2", "minimax-h3", "veo-flash"]}})
"""The alias costs 20 credits; its models are of the providers grsai, grsai-unified and grsai."""

UP = HealthState("closed")
DOWN = HealthState("open", "connection refused", until=10.0)
TRIED = HealthState("half_open", "connection refused")
BOTH_UP: Mapping[str, HealthState] = {"grsai": UP, "grsai-unified": UP}


@pytest.fixture
def books(database: Database) -> Books:
    """A database and a clock in the summer of 1998; an account with credits."""
    books = Books(database, now_ms=900_000_000_000)
    books.grant(books.account(), 10_000)
    return books


def order(books: Books, items: Sequence[Mapping[str, Any]], *, name: str = "bat_1") -> int:
    """A batch of these items, as they are accepted from outside."""
    drafts = drafts_from_objects(
        [{"prompt": f"take {index}", **item} for index, item in enumerate(items)],
        Defaults(model="any", options={}),
    )
    tasks = accept.priced_tasks(validate_drafts(drafts, MODELS, books.now_ms / 1000))
    accepted = books.database.run(
        accept.accept_batch,
        accept.BatchRequest(books.account(), "scope", name, accept.request_hash(drafts), tasks),
        public_id=name,
        now_ms=books.now_ms,
    )
    return int(accepted.row["id"])


def look(
    books: Books,
    states: Mapping[str, HealthState] = BOTH_UP,
    *,
    models: Catalogue = MODELS,
    queue_max: int | None = None,
) -> int:
    """One look of a worker that sees its providers so; returns how many tasks it moved."""
    failover = Failover(
        books.database,
        catalogue=models,
        queue_max=queue_max,
        now_ms=lambda: books.now_ms,
    )
    return asyncio.run(failover.move_waiting(states))


def waiting(books: Books) -> list[str]:
    """The models of the items, in their order."""
    return [row["model"] for row in books.rows("SELECT model FROM video_tasks ORDER BY id")]


def claim(books: Books, *, provider: str = "grsai", models: Sequence[str] | None = None) -> list[ClaimedTask]:
    """What a worker of that provider may send now."""
    return books.database.run(
        claim_fairly,
        provider=provider,
        worker_id=books.worker(WORKER),
        limit=100,
        now_ms=books.now_ms,
        models=models,
    )


def test_what_waits_goes_to_the_next_model_when_the_provider_is_down_and_no_credit_moves(
    books: Books,
) -> None:
    order(books, [{}, {"model": "sora-2"}, {}])
    before = books.everything()
    assert look(books) == 0
    assert look(books, {"grsai": DOWN, "grsai-unified": UP}) == 2
    assert waiting(books) == ["minimax-h3", "sora-2", "minimax-h3"], "what named its model stays"
    after = books.everything()
    moved = {"model", "provider", "api_model", *CHARGE_FIELDS}  # the cost is the next provider's
    for table, rows in before.items():
        kept = [{k: v for k, v in row.items() if k not in moved} for row in after[table]]
        assert kept == [{k: v for k, v in row.items() if k not in moved} for row in rows], table
    tasks = claim(books, provider="grsai-unified")
    assert [(task.api_model, task.model) for task in tasks] == [("minimax-h3", "minimax-h3")] * 2
    books.name(tasks)
    books.finish((task, video(task)) for task in tasks)
    assert [row["credits"] for row in books.rows("SELECT credits FROM task_resolutions")] == [20, 20]
    assert_sound(books)


def test_what_was_moved_stays_when_the_first_choice_returns_unless_its_own_goes_down(books: Books) -> None:
    order(books, [{}])
    look(books, {"grsai": DOWN, "grsai-unified": UP})
    assert look(books) == 0
    assert waiting(books) == ["minimax-h3"]
    look(books, {"grsai": UP, "grsai-unified": DOWN})
    assert waiting(books) == ["sora-2"]
    assert look(books, {"grsai": DOWN, "grsai-unified": DOWN}) == 0, "nobody can take it: it is held"


def test_a_provider_that_is_being_tried_keeps_one_task_to_be_tried_with(books: Books) -> None:
    order(books, [{}, {}, {}])
    assert look(books, {"grsai": TRIED, "grsai-unified": UP}) == 2
    assert waiting(books) == ["sora-2", "minimax-h3", "minimax-h3"]


def test_what_was_sent_stays_where_it_is(books: Books) -> None:
    order(books, [{}, {}])
    (sent, other) = claim(books)
    books.name([sent])
    books.apply(Group(returned=[(other.task_id, other.attempt)]))
    assert look(books, {"grsai": DOWN, "grsai-unified": UP}) == 1
    row = books.row("SELECT * FROM video_tasks WHERE id = :id", id=sent.task_id)
    assert (row["model"], row["provider"], row["status"]) == ("sora-2", "grsai", "processing")
    books.finish([(sent, video(sent))])
    assert_sound(books)


def test_an_attempt_that_was_given_up_keeps_its_model_when_the_task_goes_to_another(books: Books) -> None:
    order(books, [{}])
    (sent,) = claim(books)
    books.apply(Group(unconfirmed=[(sent.task_id, sent.attempt)]))
    books.apply(Group(resubmitted=[(sent.task_id, sent.attempt)]))
    look(books, {"grsai": DOWN, "grsai-unified": UP})
    attempts = books.database.run_reading(tries.item_attempts, OPERATOR, "bat_1", 0)["attempts"]
    assert [(a["attempt"], a["model"], a["provider"], a["api_model"]) for a in attempts] == [
        (1, "sora-2", "grsai", "sora-2"),
        (1, "minimax-h3", "grsai-unified", "minimax-h3"),
    ]


def test_a_task_goes_only_to_a_model_that_takes_its_options(books: Books) -> None:
    order(books, [{"duration": 15, "size": "small"}, {"duration": 15}, {"aspect_ratio": "9:16"}])
    models = MODELS.with_overrides({"sora-2": {"disabled": True}, "minimax-h3": {"disabled": True}})
    assert look(books, models=models) == 1
    assert waiting(books) == ["sora-2", "sora-2", "veo-flash"]
    models = MODELS.with_overrides({"sora-2": {"sunset_at": "1998-01-01"}})
    assert look(books, models=models) == 1
    assert waiting(books) == ["sora-2", "minimax-h3", "veo-flash"]


def test_a_long_queue_is_shortened_from_its_end_as_far_as_there_is_room(books: Books) -> None:
    order(books, [{}] * 9)
    assert look(books, queue_max=5) == 4
    assert waiting(books) == ["sora-2"] * 5 + ["minimax-h3"] * 4
    order(books, [{}] * 9, name="bat_2")
    assert look(books, queue_max=6) == 2, "minimax-h3 has room for two more"
    assert look(books, queue_max=6) == 0


def test_what_waits_for_a_model_that_has_left_the_catalogue_goes_on(books: Books) -> None:
    order(books, [{}, {"model": "sora-2"}])
    left = Catalogue(
        [model for model in MODELS if model.name != "sora-2"],
        {"any": AliasDefinition(("minimax-h3",)), "other": AliasDefinition(("veo-flash",))},
    )
    assert look(books, models=left) == 1
    assert waiting(books) == ["minimax-h3", "sora-2"]


def test_a_provider_that_others_serve_is_theirs_to_judge(books: Books) -> None:
    order(books, [{}, {"model": "minimax-h3"}])
    mine = {"grsai-unified": UP}
    no_key = MODELS.with_unavailable({"grsai": "GRSAI_API_KEY is not set"})
    books.database.run(
        workers.register,
        "other",
        host="there",
        pid=2,
        now_ms=books.now_ms,
        lease_expires_at_ms=books.now_ms + 1_000,
        holds={"grsai": 0},
    )
    assert look(books, mine, models=no_key) == 0
    books.now_ms += 1_000  # the other worker's lease has run out
    assert look(books, mine, models=no_key) == 1
    assert waiting(books) == ["minimax-h3", "minimax-h3"]


def test_a_re_roll_asks_for_the_alias_again(books: Books) -> None:
    batch_id = order(books, [{}])
    (task,) = claim(books)
    books.name([task])
    books.finish([(task, Failed("error", FailureType.MODEL_ERROR))])
    books.database.run(retries.retry_item, batch_id, 0, now_ms=books.now_ms)
    assert look(books, {"grsai": DOWN, "grsai-unified": UP}) == 1
    row = books.row("SELECT * FROM video_tasks WHERE is_current = 1")
    assert (row["alias"], row["model"], row["credits"]) == ("any", "minimax-h3", 20)
    assert_sound(books)


def test_a_held_model_keeps_its_tasks_and_the_others_go_past_them(books: Books) -> None:
    order(books, [{"model": "sora-2"}] * 3 + [{"model": "veo-flash"}])
    assert [task.model for task in claim(books, models=["veo-flash", "veo-pro"])] == ["veo-flash"]
    assert claim(books, models=["veo-flash"]) == []
    assert claim(books, models=[]) == []
    assert [task.model for task in claim(books, models=["sora-2"])] == ["sora-2"] * 3, "it has returned"


def test_what_waits_too_long_fails_and_is_refunded_once(books: Books) -> None:
    order(books, [{}, {"model": "sora-2"}, {"model": "sora-2"}])
    sent, *others = claim(books)
    books.name([sent])
    books.apply(Group(returned=[(task.task_id, task.attempt) for task in others]))
    order(books, [{"model": "sora-2"}], name="bat_2")
    waits = books.row("SELECT COUNT(*) AS n FROM video_tasks WHERE status = 'pending'")["n"]
    wait_ms = 60_000
    books.now_ms += wait_ms
    assert books.database.run(accept.fail_waiting, wait_ms_max=wait_ms, now_ms=books.now_ms) == 0
    books.now_ms += 1
    assert books.database.run(accept.fail_waiting, wait_ms_max=wait_ms, now_ms=books.now_ms) == waits
    assert books.database.run(accept.fail_waiting, wait_ms_max=wait_ms, now_ms=books.now_ms) == 0
    ended = books.rows("SELECT error, failure_type FROM video_tasks WHERE status = 'failed'")
    assert ended == [{"error": TIMEOUT, "failure_type": "timeout"}] * waits
    assert_sound(books)


def test_what_was_sent_to_a_provider_that_nobody_serves_ends_after_the_wait(books: Books) -> None:
    order(books, [{"model": "sora-2"}] * 3)
    sent = claim(books)
    books.name(sent[:2])

    def finish(*, providers: Sequence[str], now_ms: int) -> int:
        return books.database.run(
            accept.fail_unfollowed, providers=providers, wait_ms_max=60_000, now_ms=now_ms
        )

    books.now_ms += 60_001
    assert finish(providers=["grsai-unified"], now_ms=books.now_ms) == 0, "its worker is alive"
    books.sql("UPDATE workers SET lease_expires_at_ms = 0")
    assert finish(providers=["grsai"], now_ms=books.now_ms) == 0, "the one that asks serves it"
    assert finish(providers=["grsai-unified"], now_ms=books.now_ms - 2) == 0, "it is not late yet"
    worker_says(books, "other", {"grsai": {"state": "closed"}})
    assert finish(providers=["grsai-unified"], now_ms=books.now_ms) == 0, "another one serves it"
    books.now_ms += 1_000
    assert finish(providers=["grsai-unified"], now_ms=books.now_ms) == 3
    assert finish(providers=["grsai-unified"], now_ms=books.now_ms) == 0
    row = books.row("SELECT status, credits_reserved, credits_refunded FROM batches")
    assert row == {"status": "failed", "credits_reserved": 30, "credits_refunded": 30}
    assert_sound(books)


def worker_says(books: Books, worker_id: str, providers: Mapping[str, Mapping[str, Any]]) -> None:
    """A live worker that serves these providers and reports them so."""
    books.database.run(
        workers.register,
        worker_id,
        host="there",
        pid=2,
        now_ms=books.now_ms,
        lease_expires_at_ms=books.now_ms + 1_000,
        holds=dict.fromkeys(providers, 0),
    )
    books.database.run(
        workers.renew_lease_if_alive,
        worker_id,
        lease_expires_at_ms=books.now_ms + 1_000,
        report=json.dumps({"providers": providers}),
        holds=dict.fromkeys(providers, 0),
        now_ms=books.now_ms,
    )


def why(books: Books, models: Catalogue = MODELS) -> list[str | None]:
    """Why each item is held."""
    found = books.rows("SELECT * FROM video_tasks ORDER BY id")
    held = books.database.run_reading(held_reasons, found, models, books.now_ms)
    return [held.get(row["id"]) for row in found]


def test_the_reason_of_what_is_held_follows_from_the_catalogue_and_the_live_workers(books: Books) -> None:
    order(books, [{"model": "sora-2"}, {"model": "minimax-h3"}])
    assert why(books) == [None, None], "no worker is alive: that is no reason of theirs"
    worker_says(books, "one", {"grsai": {"state": "open", "reason": "connection refused"}})
    assert why(books) == ["grsai is open: connection refused", "no worker serves grsai-unified"]
    paused = {"state": "paused", "reason": "x"}
    worker_says(books, "two", {"grsai": {"state": "closed"}, "grsai-unified": paused})
    assert why(books) == [None, "grsai-unified is paused: x"], "one worker reaches it"
    assert why(books, MODELS.with_overrides({"sora-2": {"sunset_at": "1998-01-01"}}))[0] == (
        "sora-2 was retired on 1998-01-01"
    )
    assert why(books, Catalogue([MODELS.get("minimax-h3")]))[0] == "sora-2 is not in the catalogue"


def test_operators_see_what_is_held_and_what_nobody_polls(books: Books) -> None:
    order(books, [{"model": "sora-2"}, {"model": "sora-2"}, {"model": "minimax-h3"}])
    (sent, _) = claim(books)
    books.name([sent])
    books.sql("UPDATE workers SET lease_expires_at_ms = 0")
    worker_says(books, "other", {"grsai-unified": {"state": "closed"}})
    models = MODELS.with_overrides({"minimax-h3": {"disabled": True}})
    found = books.database.run_reading(held_tasks, models, books.now_ms)
    assert [(one["model"], one["count"], one["reason"]) for one in found] == [
        ("minimax-h3", 1, "minimax-h3 is disabled by the operator"),
        ("sora-2", 2, "no worker polls grsai"),
    ]


def test_a_task_with_an_upload_moves_only_to_a_model_that_it_can_be_handed_on_to(
    books: Books, tmp_path: Path
) -> None:
    def takes(name: str, provider: str, *ways: Way) -> Model:
        return Model(name, provider, name, 1, options={"first_frame": MediaInput(ways=ways)})

    models = Catalogue(
        [
            takes("inline", "grsai", "data_uri"),
            takes("links", "grsai-unified", "url"),
            takes("other", "grsai-unified", "bytes"),
        ],
        aliases={"any": AliasDefinition(("inline", "links", "other"))},
        default_model="inline",
    )
    store = ObjectStore(str(tmp_path))
    kept = Uploads(books.database, store, now_ms=lambda: books.now_ms, new_nonce=lambda: "n")
    upload = asyncio.run(kept.keep(books.account(), "default", check_bytes(samples.png())))
    drafts = drafts_from_objects([{"prompt": "a", "first_frame": upload.upload_id}], Defaults(model="any"))
    known = KnownUploads({upload.upload_id: upload.facts})
    tasks = accept.priced_tasks(validate_drafts(drafts, models, books.now_ms / 1000, known))
    request = accept.BatchRequest(books.account(), "scope", "r", "", tasks)
    books.database.run(accept.accept_batch, request, public_id="bat_1", now_ms=books.now_ms)
    assert look(books, {"grsai": DOWN, "grsai-unified": UP}, models=models) == 1
    assert books.row("SELECT model FROM video_tasks") == {"model": "other"}


def test_what_waits_under_an_alias_leaves_a_paused_provider_and_none_goes_to_one(books: Books) -> None:
    ann = Actor("ann", "dashboard")

    def pause(provider: str) -> None:
        books.database.run(pauses.pause, provider, reason="a test", actor=ann, now_ms=books.now_ms)

    order(books, [{"model": "any"}, {"model": "any"}])
    pause("grsai-unified")
    assert look(books) == 0
    pause("grsai")
    assert look(books) == 0, "there is no model left that takes them"
    books.database.run(pauses.resume, "grsai-unified", actor=ann, now_ms=books.now_ms)
    assert look(books) == 2
    assert waiting(books) == ["minimax-h3"] * 2
