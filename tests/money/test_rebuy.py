"""Best of n: what a rejected clip buys, what bounds that, and that the books stay exact."""

import json
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from rushes.domain.acceptance.best_of import BestOf, read_acceptance
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS, GateRules
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.retries import LastModel, RetryPolicy, StopLoss
from rushes.files.due import recording_successes
from rushes.money import reserving
from rushes.money.accept import cancel_batch
from rushes.money.bad_files import AfterBadFile
from rushes.money.rebuy import VERDICT_SECONDS_MAX, buy_next, give_up_verdicts
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.store import ledger
from rushes.store.acceptance import verdicts
from rushes.store.acceptance.verdicts import Decision
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask
from tests.books import REFUSED, WORKER, Books, assert_sound, batch, video

GATED: dict[str, Any] = {"gate": DEFAULT_THRESHOLDS}
NOTHING_RETRIED = RetryPolicy(max=0, reasons=frozenset())


@pytest.fixture
def books(database: Database) -> Books:
    made = Books(database)
    made.grant(made.account(), 1000)
    return made


def end(books: Books, claimed: list[ClaimedTask], *, failing: frozenset[int] = frozenset()) -> None:
    """The provider delivers these tasks, but for those of the failing items."""
    books.name(claimed)
    items = {row["id"]: row["item_index"] for row in books.rows("SELECT id, item_index FROM video_tasks")}
    group = Group(
        verdicts=[
            (task.task_id, task.attempt, REFUSED if items[task.task_id] in failing else video(task))
            for task in claimed
        ]
    )
    books.database.run(
        apply_group,
        group,
        worker_id=WORKER,
        now_ms=books.now_ms,
        before_closing=recording_successes({"grsai": 7200.0}, retry_failed),
    )


def decide(books: Books, verdict_of: Mapping[int, Verdict]) -> int:
    """The gate decides about the clips of these tasks, each in a transaction; how many are bought."""

    def run(connection: Connection, task_id: int, verdict: Verdict) -> int:
        reasons = ["frozen"] if verdict is Verdict.REJECTED else []
        decided = verdicts.decide_if_measured(
            connection, task_id, Decision(verdict, reasons), now_ms=books.now_ms
        )
        return buy_next(connection, [task_id], books.now_ms) if decided else 0

    return sum(books.database.run(run, task_id, verdict) for task_id, verdict in verdict_of.items())


def undecided(books: Books) -> list[int]:
    """The tasks whose clips wait for a verdict."""
    rows = books.rows("SELECT task_id FROM clip_verdicts WHERE state = 'file' ORDER BY task_id")
    return [row["task_id"] for row in rows]


def round_of(books: Books, verdict: Verdict = Verdict.REJECTED) -> int:
    """Everything that waits is made and judged alike; how many clips are bought again."""
    end(books, books.claim())
    return decide(books, dict.fromkeys(undecided(books), verdict))


def test_a_rejected_clip_buys_the_next_one_and_an_accepted_one_closes_the_batch(books: Books) -> None:
    books.accept(1, [10, 10], best_of=BestOf(3), **GATED)
    end(books, books.claim())
    found = batch(books)
    assert (found["succeeded"], found["finalized_at_ms"], found["status"]) == (2, None, "processing")
    assert_sound(books)
    first, second = undecided(books)
    assert decide(books, {first: Verdict.ACCEPTED, second: Verdict.REJECTED}) == 1
    found = batch(books)
    assert (found["succeeded"], found["pending"], found["credits_reserved"]) == (1, 1, 30)
    assert_sound(books)
    assert round_of(books, Verdict.ACCEPTED) == 0
    found = batch(books)
    assert (found["status"], found["succeeded"], found["credits_settled"]) == ("succeeded", 2, 30)
    assert found["finalized_at_ms"] is not None
    tries = books.rows(
        "SELECT retry_number, is_current, status FROM video_tasks WHERE item_index = 1 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in tries] == [(0, 0, "succeeded"), (1, 1, "succeeded")]
    assert_sound(books)


def test_an_item_buys_no_more_clips_than_it_may(books: Books) -> None:
    books.accept(1, [10], best_of=BestOf(3), **GATED)
    assert [round_of(books) for _ in range(3)] == [1, 1, 0]
    found = batch(books)
    assert (found["status"], found["credits_settled"], found["credits_reserved"]) == ("succeeded", 30, 30)
    assert_sound(books)


def test_an_items_clips_cost_no_more_than_it_may(books: Books) -> None:
    books.accept(1, [10, 7], best_of=BestOf(9, credits_max=25), **GATED)
    assert [round_of(books) for _ in range(3)] == [2, 1, 0]
    spent = books.rows("SELECT item_index, SUM(credits) AS spent FROM video_tasks GROUP BY 1 ORDER BY 1")
    assert [row["spent"] for row in spent] == [20, 21]
    assert batch(books)["finalized_at_ms"] is not None
    assert_sound(books)


def test_the_batchs_cap_of_re_rolls_bounds_clips_too(books: Books) -> None:
    books.accept(
        1, [10] * 4, best_of=BestOf(5), retry_policy=RetryPolicy(0, frozenset(), credits_max=20), **GATED
    )
    assert [round_of(books) for _ in range(2)] == [2, 0]
    assert batch(books)["credits_settled"] == 60
    assert_sound(books)


def test_the_stop_loss_of_re_rolls_counts_rejected_clips_as_not_passed(books: Books) -> None:
    policy = RetryPolicy(0, frozenset(), stop_loss=StopLoss(500_000, after=4))
    books.accept(1, [10] * 4, best_of=BestOf(5), retry_policy=policy, **GATED)
    assert round_of(books) == 2, "at the third rejection one of four is left that may have passed"
    assert books.row("SELECT stopped_at_ms FROM batch_retries")["stopped_at_ms"] is not None
    assert_sound(books)


def test_without_credits_the_rejected_clip_stays_and_the_batch_closes(books: Books) -> None:
    books.accept(1, [600], best_of=BestOf(3), **GATED)
    assert round_of(books) == 0
    found = batch(books)
    assert (found["status"], found["credits_reserved"]) == ("succeeded", 600)
    assert_sound(books)


def test_failures_and_clips_are_counted_apart(books: Books) -> None:
    books.accept(1, [10], best_of=BestOf(2), retry_policy=RetryPolicy(max=1), **GATED)
    assert round_of(books) == 1
    end(books, books.claim(), failing=frozenset({0}))
    assert batch(books)["pending"] == 1, "its first failure"
    assert round_of(books) == 0, "its second clip was the last"
    found = batch(books)
    assert (found["credits_settled"], found["credits_refunded"], found["status"]) == (20, 10, "succeeded")
    used = books.row("SELECT rerolls_count, credits_used, retries_max FROM batch_retries")
    assert used == {"rerolls_count": 2, "credits_used": 10, "retries_max": 1}
    assert_sound(books)


@pytest.mark.parametrize("is_of_before", [False, True], ids=["counted", "made before that was kept"])
def test_what_best_of_n_buys_uses_up_no_re_roll_for_a_bad_file(books: Books, is_of_before: bool) -> None:
    policy = RetryPolicy(max=1, reasons=frozenset(), on_bad_file=True)
    books.accept(1, [10], best_of=BestOf(5), retry_policy=policy, **GATED)
    assert [round_of(books) for _ in range(2)] == [1, 1]
    if is_of_before:
        books.sql("UPDATE video_tasks SET rerolls = NULL")
    for tries in (4, 4):
        end(books, books.claim())
        (task_id,) = undecided(books)
        decide(books, {task_id: Verdict.ACCEPTED})
        books.sql("UPDATE archived_files SET state = 'refused', reason = 'x' WHERE task_id = :id", id=task_id)
        books.database.run(AfterBadFile(), [task_id], books.now_ms)
        assert len(books.rows("SELECT id FROM video_tasks")) == tries
    assert_sound(books)


def test_a_batch_that_retries_no_failure_retries_none_among_its_clips(books: Books) -> None:
    books.accept(1, [10], best_of=BestOf(3), **GATED)
    end(books, books.claim(), failing=frozenset({0}))
    assert batch(books)["status"] == "failed"
    assert_sound(books)


def test_a_cancelled_batch_waits_for_no_verdict_and_buys_nothing(books: Books) -> None:
    batch_id = books.accept(1, [10, 10], best_of=BestOf(3), **GATED)
    end(books, books.claim(1))
    books.database.run(cancel_batch, batch_id, now_ms=books.now_ms)
    assert batch(books)["status"] == "cancelled"
    assert batch(books)["finalized_at_ms"] is not None
    assert decide(books, dict.fromkeys(undecided(books), Verdict.REJECTED)) == 0
    assert batch(books)["credits_settled"] == 10
    assert_sound(books)


def test_a_verdict_that_never_comes_closes_the_batch_after_a_day(books: Books) -> None:
    books.accept(1, [10, 10], best_of=BestOf(3), **GATED)
    end(books, books.claim())
    assert books.database.run(give_up_verdicts, books.now_ms + VERDICT_SECONDS_MAX * 1000) == 0
    assert batch(books)["finalized_at_ms"] is None
    waiting = dict.fromkeys(undecided(books), Verdict.REJECTED)
    books.now_ms += VERDICT_SECONDS_MAX * 1000 + 1
    assert books.database.run(give_up_verdicts, books.now_ms) == 2
    assert (batch(books)["status"], batch(books)["credits_settled"]) == ("succeeded", 20)
    rows = books.rows("SELECT verdict, reasons FROM clip_verdicts")
    assert [tuple(row.values()) for row in rows] == [("undecided", "no_file")] * 2
    assert decide(books, waiting) == 0, "too late"
    assert_sound(books)


def test_a_verdict_buys_once_however_often_it_is_heard(books: Books) -> None:
    books.accept(1, [10], best_of=BestOf(5), **GATED)
    end(books, books.claim())
    (task_id,) = undecided(books)
    assert decide(books, {task_id: Verdict.REJECTED}) == 1
    assert decide(books, {task_id: Verdict.REJECTED}) == 0
    assert books.database.run(buy_next, [task_id, task_id], books.now_ms) == 0
    assert batch(books)["credits_reserved"] == 20
    assert_sound(books)


def test_the_last_clip_is_the_last_models_and_each_clip_has_a_seed_of_its_own(books: Books) -> None:
    catalogue = DEFAULT_CATALOGUE
    model = catalogue.get("wan-3.0")
    last = LastModel.of(catalogue.get("seedance-2.0"))
    books.accept(
        1,
        [10],
        best_of=BestOf(3),
        retry_policy=RetryPolicy(0, frozenset(), last_model=last),
        **GATED,
    )
    books.sql(
        "UPDATE video_tasks SET model = :model, options = :options",
        model=model.name,
        options='{"seed":2147483647}',
    )

    def rejected() -> None:
        end(books, books.claim())
        (task_id,) = undecided(books)

        def run(connection: Connection) -> None:
            decision = Decision(Verdict.REJECTED, ["frozen"])
            verdicts.decide_if_measured(connection, task_id, decision, now_ms=books.now_ms)
            buy_next(connection, [task_id], books.now_ms, reprice=catalogue.charge)

        books.database.run(run)

    rejected()
    rows = books.rows("SELECT model, options, sent_options, credits FROM video_tasks ORDER BY retry_number")
    assert rows[1]["model"] == model.name
    assert json.loads(rows[1]["options"]) == {"seed": 0}
    assert json.loads(rows[1]["sent_options"] or rows[1]["options"])["seed"] == 0
    charge = catalogue.charge(model.name, None, {"seed": 0})
    assert charge is not None
    assert rows[1]["credits"] == charge.credits
    rejected()
    (newest,) = books.rows("SELECT model, options, credits FROM video_tasks WHERE is_current = 1")
    assert newest["model"] == last.name
    assert json.loads(newest["options"]) == {"seed": 1}
    assert_sound(books)


@pytest.mark.parametrize("seed", range(3))
def test_caps_hold_and_the_books_are_exact_whatever_the_verdicts(books: Books, seed: int) -> None:
    draw = random.Random(seed)
    prices = [draw.choice((3, 5, 10)) for _ in range(12)]
    best_of, cap = BestOf(draw.randrange(2, 6), credits_max=draw.choice((None, 20))), draw.choice((None, 60))
    policy = RetryPolicy(draw.choice((1, 2)), credits_max=cap)
    books.accept(1, prices, best_of=best_of, retry_policy=policy, **GATED)
    for _ in range(60):
        claimed = books.claim(draw.randrange(1, 6))
        if claimed:
            end(books, claimed, failing=frozenset(draw.sample(range(12), 3)))
        waiting = draw.sample(undecided(books), k=min(len(undecided(books)), draw.randrange(4)))
        decide(books, {task_id: draw.choice(list(Verdict)) for task_id in waiting})
        found = batch(books)
        if not found["pending"] + found["processing"] and not undecided(books):
            break
    assert_sound(books)
    assert batch(books)["finalized_at_ms"] is not None
    spent = books.rows(
        "SELECT item_index, COUNT(*) AS clips, SUM(credits) AS credits FROM video_tasks"
        " WHERE status = 'succeeded' GROUP BY item_index"
    )
    assert all(row["clips"] <= best_of.clips_max for row in spent)
    assert best_of.credits_max is None or all(row["credits"] <= best_of.credits_max for row in spent)
    rerolls = books.row(
        "SELECT COALESCE(SUM(credits), 0) AS credits FROM video_tasks"
        " WHERE status = 'succeeded' AND retry_number > 0"
    )
    assert books.row("SELECT credits_used FROM batch_retries")["credits_used"] == rerolls["credits"]
    assert cap is None or rerolls["credits"] <= cap


@pytest.mark.parametrize(
    ("gate", "accept", "message"),
    [
        (None, {}, "accept.n_max: missing"),
        (None, {"n_max": 0}, "accept.n_max: must be a whole number from 1 to 10"),
        (None, {"n_max": True}, "accept.n_max: must be a whole number"),
        (
            None,
            {"n_max": 3, "credits_max": 9},
            "accept.credits_max: 9 is less than one clip of item 0 costs: 10",
        ),
        (None, {"n_max": 3, "score_min": 2}, "accept.score_min: must be a number from 0 to 1"),
        (None, {"n": 3}, 'accept: unknown field "n"'),
        (None, 3, "accept: must be an object"),
        (False, {"n_max": 3}, "accept: needs the gate"),
    ],
)
def test_a_best_of_that_cannot_be_is_refused_by_name(gate: Any, accept: Any, message: str) -> None:
    drafts = validate_drafts([TaskDraft("a kite", "sora-2", {})], DEFAULT_CATALOGUE, 0.0)
    with pytest.raises(InputError) as refused:
        read_acceptance(gate, accept, GateRules(), drafts)
    assert str(refused.value).startswith(message)


def test_accept_asks_for_a_gate_and_may_name_the_least_score() -> None:
    drafts = validate_drafts([TaskDraft("a kite", "sora-2", {})], DEFAULT_CATALOGUE, 0.0)
    read = partial(read_acceptance, rules=GateRules(), drafts=drafts)
    found = read({"sound": True}, {"n_max": 4, "credits_max": 40, "score_min": 0.7})
    assert found.best_of == BestOf(4, 40)
    assert found.gate is not None
    assert (found.gate.sound, found.gate.score_min) == (True, 0.7)


def test_who_runs_rushes_alone_is_granted_what_further_clips_cost(database: Database) -> None:
    books = Books(database)
    account_id = books.account()
    database.run(reserving.grant_missing, account_id, required=10, now_ms=books.now_ms)
    books.accept(account_id, [10], best_of=BestOf(3), **GATED)
    assert [round_of(books) for _ in range(3)] == [1, 1, 0]
    assert batch(books)["credits_settled"] == 30
    assert database.run_reading(ledger.available_credits, account_id, books.now_ms) == 0
    assert_sound(books)


def test_of_several_accounts_one_is_granted_nothing_for_further_clips(database: Database) -> None:
    books = Books(database)
    account_id = books.account()
    database.run(reserving.grant_missing, account_id, required=10, now_ms=books.now_ms)
    books.account("another")
    books.accept(account_id, [10], best_of=BestOf(3), **GATED)
    assert round_of(books) == 0
    assert batch(books)["credits_settled"] == 10
    assert_sound(books)
