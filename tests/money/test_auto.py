"""Models that are chosen when a clip is bought: what is reserved, what it follows from, and the bounds."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from rushes.domain.acceptance.best_of import BestOf, read_acceptance
from rushes.domain.acceptance.gate import GateRules
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.input.auto import AutoRule, read_auto, room
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.retries import NO_RETRIES, RetryPolicy
from rushes.money import reuse
from rushes.money.accept import BatchRequest, accept_batch, cancel_batch, priced_tasks
from rushes.money.choosing.choose import Models, choose_models
from rushes.money.choosing.turns import Times
from rushes.money.rebuy import buy_next
from rushes.money.retry import retry_item
from rushes.read.holding import held_reasons
from rushes.store import caps, ledger
from rushes.store.acceptance import choices, gates, verdicts
from rushes.store.acceptance.verdicts import Decision
from rushes.store.action_log import Actor
from rushes.store.database import Database
from rushes.store.tasks import pauses
from tests.books import Books, assert_sound, batch
from tests.money.test_rebuy import end, undecided

NAMES = ("sora-2", "veo-flash", "veo-pro")
PRICES = {name: DEFAULT_CATALOGUE.get(name).typical_credits for name in NAMES}
LEAST = min(PRICES.values())
MODELS = Models(DEFAULT_CATALOGUE)


@pytest.fixture
def books(database: Database) -> Books:
    made = Books(database)
    made.grant(made.account(), 100_000)
    return made


def accept(
    books: Books,
    items: int,
    *,
    rule: AutoRule | None = None,
    best_of: dict[str, Any] | None = None,
    retry_policy: RetryPolicy = NO_RETRIES,
    name: str = "bat_1",
    prompts: Sequence[str] = (),
    reuse: bool = False,
    catalogue: Catalogue = DEFAULT_CATALOGUE,
) -> int:
    """A batch of items that leave their models open."""
    rule = rule or AutoRule(NAMES)
    drafts = [TaskDraft(prompt, "auto", {}) for prompt in prompts or [f"take {n}" for n in range(items)]]
    priced = validate_drafts(drafts, catalogue, 0.0, auto=rule)
    request = BatchRequest(
        account_id=1,
        request_scope="account:1",
        request_id=name,
        request_hash=name,
        tasks=priced_tasks(priced),
        acceptance=read_acceptance(None, best_of, GateRules(), priced, rule),
        retry_policy=retry_policy,
        reuse=reuse,
    )
    accepted = books.database.run(accept_batch, request, public_id=name, now_ms=books.now_ms)
    return int(accepted.row["id"])


def choose(books: Books, batch_id: int = 1, models: Models = MODELS) -> dict[str, int]:
    """Choose what can be chosen now."""
    return books.database.run(choose_models, batch_id, models, books.now_ms)


def judge(books: Books, share_of: dict[str, float], draw: random.Random) -> None:
    """Everything that waits is made, and judged by its model's law."""
    end(books, books.claim())
    for task_id in undecided(books):
        model = books.row("SELECT model FROM video_tasks WHERE id = :id", id=task_id)["model"]
        verdict = Verdict.ACCEPTED if draw.random() < share_of[model] else Verdict.REJECTED
        decision = Decision(verdict, [] if verdict is Verdict.ACCEPTED else ["frozen"])
        books.database.run(verdicts.decide_if_measured, task_id, decision, now_ms=books.now_ms)
        books.database.run(buy_next, [task_id], books.now_ms)


def test_the_least_price_is_reserved_first_and_what_the_chosen_model_costs_more_when_it_is_chosen(
    books: Books,
) -> None:
    accept(books, 6)
    assert batch(books)["credits_reserved"] == 6 * LEAST
    assert books.claim() == [], "nothing is sent before its model is chosen"
    assert_sound(books)
    given = choose(books)
    assert sum(given.values()) == 6
    assert len(given) > 1, "without any clips the models are tried"
    rows = books.rows("SELECT model, credits, provider, alias, choice FROM video_tasks ORDER BY id")
    assert all(row["credits"] == PRICES[row["model"]] for row in rows)
    assert {row["alias"] for row in rows} == {"auto"}
    assert all("no clips yet" in row["choice"] for row in rows)
    assert batch(books)["credits_reserved"] == sum(row["credits"] for row in rows)
    assert_sound(books)
    judge(books, dict.fromkeys(NAMES, 1.0), random.Random(1))
    assert batch(books)["status"] == "succeeded"
    assert batch(books)["credits_settled"] == sum(row["credits"] for row in rows)
    assert_sound(books)


def test_no_more_clips_are_bought_without_a_verdict_than_have_one(books: Books) -> None:
    accept(books, 100)
    draw, waves = random.Random(2), []
    while books.row("SELECT count(*) AS n FROM video_tasks WHERE status = 'pending'")["n"]:
        waves.append(sum(choose(books).values()))
        assert choose(books) == {}, "until there are verdicts"
        judge(books, dict.fromkeys(NAMES, 1.0), draw)
        assert_sound(books)
    assert waves == [8, 8, 16, 32, 36]
    assert batch(books)["finalized_at_ms"] is not None


def test_the_same_history_and_seed_choose_the_same_and_another_seed_does_not(books: Books) -> None:
    models = []
    for name, seed in (("bat_1", 7), ("bat_2", 7), ("bat_3", 8)):
        batch_id = accept(books, 8, rule=AutoRule(NAMES, seed=seed), name=name)
        choose(books, batch_id)
        rows = books.rows(
            "SELECT model FROM video_tasks WHERE batch_id = :id ORDER BY item_index", id=batch_id
        )
        models.append([row["model"] for row in rows])
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_the_cheapest_accepted_clip_is_found_within_a_batch(books: Books) -> None:
    accept(books, 200)
    draw = random.Random(4)
    # the cheapest model is nearly never accepted, so the middle one costs the least per accepted clip
    order = sorted(NAMES, key=PRICES.__getitem__)
    share_of = {order[0]: 0.05, order[1]: 0.9, order[2]: 0.95}
    while books.row("SELECT count(*) AS n FROM video_tasks WHERE status = 'pending'")["n"]:
        choose(books)
        judge(books, share_of, draw)
    rows = books.rows("SELECT model FROM video_tasks WHERE item_index >= 100")
    assert Counter(row["model"] for row in rows)[order[1]] >= 95
    assert_sound(books)


def test_a_model_that_cannot_be_paid_leaves_the_next_and_the_least_always_can(books: Books) -> None:
    accept(books, 5)
    left = books.database.run(ledger.available_credits, 1, books.now_ms)
    accept_all = [left - 1]
    books.accept(1, accept_all, name="bat_2")
    given = choose(books)
    assert given == {min(PRICES, key=PRICES.__getitem__): 5}
    found = books.rows("SELECT choice FROM video_tasks WHERE alias = 'auto'")
    assert any("could not be paid" in row["choice"] for row in found)
    assert_sound(books)


def test_bounds_of_the_rule_hold_and_a_model_that_is_down_is_not_chosen(books: Books) -> None:
    accept(books, 8, rule=AutoRule(NAMES, credits_max=max(PRICES.values()) - 1))
    usable = sorted(NAMES, key=PRICES.__getitem__)[1]
    given = choose(books, models=Models(DEFAULT_CATALOGUE, usable=lambda model: model.name == usable))
    assert given == {usable: 8}
    accept(books, 8, rule=AutoRule(NAMES, credits_max=max(PRICES.values()) - 1), name="bat_2")
    assert max(PRICES[name] for name in choose(books, 2)) < max(PRICES.values())
    assert_sound(books)


def test_a_time_to_finish_by_leaves_slow_models_out_and_waits_for_no_verdict(books: Books) -> None:
    seconds = dict(zip(NAMES, (100.0, 400.0, 90.0), strict=True))
    models = Models(DEFAULT_CATALOGUE, times=lambda model: Times(seconds[model.name], seconds[model.name]))
    accept(books, 20, rule=AutoRule(NAMES, finish_by_ms=books.now_ms + 150_000))
    given = choose(books, models=models)
    assert sum(given.values()) == 20
    assert NAMES[1] not in given
    accept(books, 20, rule=AutoRule(NAMES, finish_by_ms=books.now_ms + 10_000), name="bat_2")
    assert set(choose(books, 2, models=models)) == {NAMES[2]}, "none is in time: the fastest"


def test_a_rejected_clip_buys_one_whose_model_is_chosen_anew_within_the_items_credits(books: Books) -> None:
    cap = LEAST + max(PRICES.values())
    accept(books, 8, best_of={"n_max": 4, "credits_max": cap})
    draw = random.Random(3)
    for _ in range(5):
        choose(books)
        judge(books, dict.fromkeys(NAMES, 0.0), draw)
        assert_sound(books)
    spent = books.rows("SELECT item_index, SUM(credits) AS n, COUNT(*) AS tries FROM video_tasks GROUP BY 1")
    assert all(row["n"] <= cap for row in spent)
    assert any(row["tries"] > 1 for row in spent)
    assert all(row["alias"] == "auto" for row in books.rows("SELECT alias FROM video_tasks"))
    used = books.row("SELECT credits_used FROM batch_retries")["credits_used"]
    rebought = books.row("SELECT SUM(credits) AS n FROM video_tasks WHERE retry_number > 0")["n"]
    assert used == rebought


def test_the_cap_of_re_rolls_bounds_what_chosen_models_cost_too(books: Books) -> None:
    policy = RetryPolicy(0, frozenset(), credits_max=3 * LEAST)
    accept(books, 8, best_of={"n_max": 4}, retry_policy=policy)
    draw = random.Random(5)
    for _ in range(4):
        choose(books)
        judge(books, dict.fromkeys(NAMES, 0.0), draw)
        assert books.row("SELECT credits_used FROM batch_retries")["credits_used"] <= 3 * LEAST
    assert batch(books)["finalized_at_ms"] is not None
    assert_sound(books)


def test_a_failed_clip_is_retried_with_a_model_that_is_chosen_anew(books: Books) -> None:
    batch_id = accept(books, 8, retry_policy=RetryPolicy(max=1))
    choose(books)
    end(books, books.claim(), failing=frozenset({0, 1}))
    rows = books.rows("SELECT model, credits, alias FROM video_tasks WHERE retry_number = 1")
    assert [tuple(row.values()) for row in rows] == [("auto", LEAST, "auto")] * 2
    assert_sound(books)
    books.database.run(cancel_batch, batch_id, now_ms=books.now_ms)
    assert choose(books) == {}
    assert_sound(books)


def test_who_retries_by_hand_has_the_model_chosen_again(books: Books) -> None:
    batch_id = accept(books, 1)
    choose(books)
    end(books, books.claim(), failing=frozenset({0}))
    books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms)
    assert books.row("SELECT model FROM video_tasks WHERE is_current = 1")["model"] == "auto"
    assert sum(choose(books).values()) == 1
    assert_sound(books)


def test_a_models_cap_of_the_day_leaves_another_model(books: Books) -> None:
    dear = max(PRICES, key=PRICES.__getitem__)
    books.database.run(caps.set_cap, caps.DayCap("model", dear, caps.CREDITS, PRICES[dear] - 1))
    for number in range(1, 4):
        accept(books, 8, name=f"bat_{number}")
        assert dear not in choose(books, number)


def test_a_model_that_only_fails_is_left_out(books: Books) -> None:
    failing = NAMES[0]
    first = accept(books, 8, rule=AutoRule((failing,)))
    choose(books, first)
    end(books, books.claim(), failing=frozenset(range(8)))
    accept(books, 8, name="bat_2")
    assert failing not in choose(books, 2)
    accept(books, 3, rule=AutoRule((failing,)), name="bat_3")
    assert choose(books, 3) == {failing: 3}, "while there is another"


def test_what_waits_for_its_model_is_held_only_while_no_model_takes_tasks(books: Books) -> None:
    accept(books, 1)
    rows = books.rows("SELECT id, status, provider, model FROM video_tasks")

    def reasons() -> list[str]:
        return list(books.database.run_reading(held_reasons, rows, DEFAULT_CATALOGUE, books.now_ms).values())

    assert reasons() == []
    actor = Actor("a person", "here")
    providers = sorted({model.provider for model in DEFAULT_CATALOGUE})
    for provider in providers[1:]:
        books.database.run(pauses.pause, provider, reason="closed", actor=actor, now_ms=1)
    assert reasons() == []
    books.database.run(pauses.pause, providers[0], reason="closed", actor=actor, now_ms=1)
    (reason,) = reasons()
    assert reason.endswith(" is paused")


# --- equal items ------------------------------------------------------------------------------------------


def store_files(books: Books) -> None:
    """The files of all successes are in the archive."""
    books.database.run(
        lambda connection: connection.execute(
            text(
                "UPDATE archived_files SET state = 'stored', video_key = 'k', bytes = 1, sha256 = 'x',"
                " stored_at_ms = 1"
            )
        )
    )


def end_reused_items(books: Books) -> int:
    """End what waits for the file of an equal item."""
    return books.database.run(reuse.end_reused, now_ms=books.now_ms, on_success=None)


def test_of_equal_items_one_has_a_model_chosen_and_the_others_take_its_file(books: Books) -> None:
    accept(books, 0, prompts=["a", "b", "a"], reuse=True)
    assert batch(books)["credits_reserved"] == 2 * LEAST
    assert sum(choose(books).values()) == 2
    assert end_reused_items(books) == 0
    judge(books, dict.fromkeys(NAMES, 1.0), random.Random(1))
    assert end_reused_items(books) == 1
    rows = books.rows("SELECT model, credits, alias, choice FROM video_tasks ORDER BY item_index")
    assert (rows[2]["model"], rows[2]["credits"], rows[2]["choice"]) == (rows[0]["model"], 0, None)
    found = batch(books)
    assert found["credits_settled"] == rows[0]["credits"] + rows[1]["credits"]
    assert_sound(books)


def test_equal_within_the_same_bounds_is_taken_and_within_others_is_bought(books: Books) -> None:
    accept(books, 0, prompts=["a"])
    choose(books)
    judge(books, dict.fromkeys(NAMES, 1.0), random.Random(1))
    store_files(books)
    reserved = []
    for number, rule in enumerate(
        (AutoRule(NAMES, seed=9), AutoRule(NAMES[:2]), AutoRule(NAMES, credits_max=900)), start=2
    ):
        accept(books, 0, prompts=["a"], reuse=True, rule=rule, name=f"bat_{number}")
        reserved.append(batch(books, number)["credits_reserved"] > 0)
    assert reserved == [False, True, True], "a seed is no bound"
    assert_sound(books)


def test_an_item_that_failed_with_the_one_it_equals_has_a_model_chosen_when_it_is_retried(
    books: Books,
) -> None:
    batch_id = accept(books, 0, prompts=["a", "a"], reuse=True)
    choose(books)
    end(books, books.claim(), failing=frozenset({0}))
    assert end_reused_items(books) == 1
    assert [row["status"] for row in books.rows("SELECT status FROM video_tasks")] == ["failed", "failed"]
    books.database.run(retry_item, batch_id, 1, now_ms=books.now_ms)
    row = books.row("SELECT model, provider, credits FROM video_tasks WHERE status = 'pending'")
    assert tuple(row.values()) == ("auto", "auto", LEAST)
    assert sum(choose(books).values()) == 1
    assert_sound(books)


def test_files_that_were_taken_again_count_once_for_the_choice(books: Books) -> None:
    accept(books, 0, prompts=["a", "a", "a"], reuse=True)
    choose(books)
    judge(books, dict.fromkeys(NAMES, 1.0), random.Random(1))
    end_reused_items(books)
    judge(books, dict.fromkeys(NAMES, 1.0), random.Random(1))
    records = books.database.run_reading(choices.records, 1, since_ms=0)
    assert sum(record.clips for record in records.values()) == 1


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"amung": []}, 'auto: unknown field "amung"; did you mean "among"?'),
        ([], "auto: must be an object"),
        ({"among": []}, "auto.among: must be a list of 1 to 32 models"),
        ({"among": ["sora-3"]}, 'auto.among\\[0\\].*unknown model "sora-3"'),
        ({"credits_max": 1.5}, "auto.credits_max: must be a whole number"),
        ({"seed": -1}, "auto.seed: must be a whole number"),
        ({"finish_by": "soon"}, "auto.finish_by: must be a date such as"),
        ({"finish_by": "2199-01-01T00:00:00Z"}, "auto.finish_by: must be within"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(asked: object, refusal: str) -> None:
    with pytest.raises(InputError, match=refusal):
        read_auto(asked, DEFAULT_CATALOGUE, 1_700_000_000_000)


def test_items_that_no_model_takes_and_a_rule_without_open_items_are_refused() -> None:
    with pytest.raises(InputError, match="no model on sale takes this item for at most 0 credits"):
        validate_drafts([TaskDraft("p", "auto", {})], DEFAULT_CATALOGUE, 0.0, auto=AutoRule(credits_max=0))
    with pytest.raises(InputError, match='unknown model "auto"'):
        validate_drafts([TaskDraft("p", "auto", {})], DEFAULT_CATALOGUE, 0.0)
    named = validate_drafts([TaskDraft("p", "sora-2", {})], DEFAULT_CATALOGUE, 0.0, auto=AutoRule())
    with pytest.raises(InputError, match="auto: goes with items of the model auto only"):
        read_acceptance(None, None, GateRules(), named, AutoRule())
    left_open = validate_drafts([TaskDraft("p", "auto", {})], DEFAULT_CATALOGUE, 0.0, auto=AutoRule())
    with pytest.raises(InputError, match="model: auto needs the gate"):
        read_acceptance(False, None, GateRules(), left_open)
    asked = read_acceptance(None, {"n_max": 2}, GateRules(), left_open)
    assert (asked.gate is not None, asked.best_of, asked.auto) == (True, BestOf(2), AutoRule())


def test_the_rule_is_kept_as_it_was_asked(books: Books) -> None:
    rule = AutoRule(NAMES, 900, books.now_ms + 10**6, 3)
    batch_id = accept(books, 1, rule=rule)
    assert books.database.run_reading(gates.of_batch, batch_id).auto == rule
    assert [
        room(decided=0, open_clips=8),
        room(decided=0, open_clips=3),
        room(decided=50, open_clips=20),
    ] == [
        0,
        5,
        30,
    ]


# --- lanes ------------------------------------------------------------------------------------------------

LANED = DEFAULT_CATALOGUE.with_overrides(
    {"sora-flex": {"lane_of": "sora-2", "credits": 4, "render_time_p50_seconds": 3600}}
)


def accept_in_lanes(books: Books, items: int, *, by_ms: int | None, name: str = "bat_1") -> int:
    """A batch of items of one model, whose lane is open."""
    rule = AutoRule(("sora-2",), finish_by_ms=by_ms)
    return accept(books, items, rule=rule, name=name, catalogue=LANED)


def test_the_cheap_lane_is_taken_while_its_videos_are_there_in_time_and_then_the_model(books: Books) -> None:
    models = Models(LANED)
    by_ms = books.now_ms + 7_200_000
    accept_in_lanes(books, 20, by_ms=by_ms)
    assert batch(books)["credits_reserved"] == 20 * 4
    assert choose(books, models=models) == {"sora-flex": 20}, "nothing is learned by waiting for verdicts"
    accept_in_lanes(books, 5, by_ms=by_ms, name="bat_2")
    books.now_ms += 1
    assert choose(books, 2, models=models) == {"sora-2": 5}, "it is too late for the lane by now"
    assert batch(books, 2)["credits_reserved"] == 5 * PRICES["sora-2"]
    assert_sound(books)


def test_without_a_time_no_lane_is_taken_and_a_lanes_clips_count_as_its_models(books: Books) -> None:
    accept_in_lanes(books, 3, by_ms=None)
    assert batch(books)["credits_reserved"] == 3 * PRICES["sora-2"]
    models = Models(LANED)
    accept_in_lanes(books, 2, by_ms=books.now_ms + 10**7, name="bat_2")
    assert choose(books, 2, models=models) == {"sora-flex": 2}
    judge(books, {"sora-flex": 1.0}, random.Random(1))
    assert choose(books, models=models) == {"sora-2": 3}
    found = books.rows("SELECT choice FROM video_tasks WHERE model = 'sora-2'")
    assert all("sora-2: 2 of 2 clips accepted" in row["choice"] for row in found)
