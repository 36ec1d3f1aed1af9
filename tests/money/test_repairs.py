"""Repairs: what the next try changes after which reason, what is left as it was, and what a rule gains."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from rushes.domain.acceptance import repairs
from rushes.domain.acceptance.best_of import Acceptance, BestOf
from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS
from rushes.domain.acceptance.repairs import CONTROL_EVERY, UNASKED, Action, LastModel, Rule, read_repairs
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.price import Charge
from rushes.domain.errors import InputError
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.retries import RetryPolicy, read_policy
from rushes.domain.task import Failed, FailureType
from rushes.files.due import recording_successes
from rushes.money.accept import BatchRequest, accept_batch, priced_tasks
from rushes.money.choosing.choose import Models, choose_models
from rushes.money.rebuy import buy_next
from rushes.money.retry import retry_failed
from rushes.money.settle import Group, apply_group
from rushes.read.acceptance.repairs import gains, repairs_of_batch
from rushes.read.scope import OPERATOR
from rushes.run.lane.fairness import claim_fairly
from rushes.store.acceptance import verdicts
from rushes.store.acceptance.verdicts import Decision
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask, retries
from tests.books import WORKER, Books, assert_sound, batch, video

MODEL = DEFAULT_CATALOGUE.get("seedance-2.5")
NEXT = LastModel.of(DEFAULT_CATALOGUE.get("seedance-2.0"))
OPTIONS = {"duration": 10, "resolution": "1080p", "sound": True}
PRICE = MODEL.charge(MODEL.normalise_options(OPTIONS)).credits
OF_SOUND = Failed("the audio was refused", FailureType.OUTPUT_MODERATION)


@pytest.fixture
def books(database: Database) -> Books:
    made = Books(database)
    made.grant(made.account(), 10**6)
    return made


def accept(
    books: Books,
    rules: tuple[Rule, ...],
    *,
    items: int = 20,
    model: str = MODEL.name,
    options: Mapping[str, Any] = OPTIONS,
    best_of: BestOf | None = None,
    rule: AutoRule | None = None,
) -> int:
    """A batch whose next tries follow these rules."""
    drafts = [TaskDraft(f"take {index}", model, options) for index in range(items)]
    request = BatchRequest(
        account_id=1,
        request_scope="account:1",
        request_id="bat_1",
        request_hash="bat_1",
        tasks=priced_tasks(validate_drafts(drafts, DEFAULT_CATALOGUE, 0.0, auto=rule)),
        acceptance=Acceptance(DEFAULT_THRESHOLDS, best_of, rule),
        retry_policy=RetryPolicy(5, repairs=rules),
    )
    accepted = books.database.run(accept_batch, request, public_id="bat_1", now_ms=books.now_ms)
    return int(accepted.row["id"])


def end(books: Books, failing: Failed | None = None) -> list[ClaimedTask]:
    """Everything that waits is made, or fails so."""
    books.worker()
    claimed = books.database.run(
        claim_fairly, provider=MODEL.provider, worker_id=WORKER, limit=1000, now_ms=books.now_ms
    )
    books.name(claimed)
    group = Group(verdicts=[(task.task_id, task.attempt, failing or video(task)) for task in claimed])
    retry = partial(retry_failed, reprice=DEFAULT_CATALOGUE.charge)
    books.database.run(
        apply_group,
        group,
        worker_id=WORKER,
        now_ms=books.now_ms,
        before_closing=recording_successes({MODEL.provider: 7200.0}, retry),
    )
    return claimed


def reject(books: Books, *reasons: str) -> None:
    """The gate rejects all clips that wait for it, for these reasons; none accepts them."""
    verdict = Verdict.REJECTED if reasons else Verdict.ACCEPTED
    for row in books.rows("SELECT task_id FROM clip_verdicts WHERE state = 'file' ORDER BY 1"):
        books.database.run(
            verdicts.decide_if_measured,
            row["task_id"],
            Decision(verdict, reasons),
            now_ms=books.now_ms,
        )
        books.database.run(buy_next, [row["task_id"]], books.now_ms, reprice=DEFAULT_CATALOGUE.charge)


def next_tries(books: Books) -> list[dict[str, Any]]:
    """The items' second tries."""
    return books.rows(
        "SELECT model, options, repair, credits FROM video_tasks WHERE retry_number = 1 ORDER BY item_index"
    )


@pytest.mark.parametrize(
    ("action", "failed", "reasons", "changed"),
    [
        (Rule("audio_moderation", Action.SOUND_OFF), OF_SOUND, (), '"sound":false'),
        (Rule("output_moderation", Action.SHORTER), OF_SOUND, (), '"duration":9'),
        (Rule("frozen", Action.SHORTER), None, ("black", "frozen"), '"duration":9'),
        (Rule("judge", Action.LOWER_RESOLUTION), None, ("judge:too soft",), '"resolution":"720p"'),
    ],
)
def test_the_next_try_is_changed_after_its_reason_and_one_of_five_is_not(
    books: Books, action: Rule, failed: Failed | None, reasons: tuple[str, ...], changed: str
) -> None:
    accept(books, (Rule("silent", Action.SOUND_OFF), action), best_of=None if failed else BestOf(3))
    end(books, failed)
    if failed is None:
        reject(books, *reasons)
    tries = next_tries(books)
    assert {row["repair"] for row in tries} == {action.name, f"{action.name}:control"}
    assert 1 <= sum(row["repair"].endswith(":control") for row in tries) <= 3 * 20 // CONTROL_EVERY
    for row in tries:
        assert (changed in row["options"].replace(" ", "")) == (row["repair"] == action.name)
    assert_sound(books)


def test_another_price_is_that_of_the_repaired_try(books: Books) -> None:
    accept(books, (Rule("frozen", Action.LOWER_RESOLUTION),), best_of=BestOf(2))
    end(books)
    reject(books, "frozen")
    prices = {row["repair"].endswith("control"): row["credits"] for row in next_tries(books)}
    lower = DEFAULT_CATALOGUE.charge(MODEL.name, None, {**OPTIONS, "resolution": "720p"})
    assert lower is not None
    assert prices == {True: PRICE, False: lower.credits}
    assert lower.credits < PRICE
    end(books)
    reject(books)
    assert batch(books)["credits_settled"] == sum(
        row["credits"] for row in books.rows("SELECT credits FROM video_tasks WHERE status = 'succeeded'")
    )
    assert_sound(books)


def test_the_next_model_makes_the_next_try_and_the_one_after_it(books: Books) -> None:
    accept(books, (Rule("model_error", Action.NEXT_MODEL, (NEXT,)),))
    failed = Failed("busy", FailureType.MODEL_ERROR)
    end(books, failed)
    tries = next_tries(books)
    assert {(row["model"], row["repair"]) for row in tries} == {
        (NEXT.name, "model_error:next_model"),
        (MODEL.name, "model_error:next_model:control"),
    }
    end(books, failed)
    third = books.rows(
        "SELECT repair FROM video_tasks WHERE retry_number = 2 AND model = :name", name=NEXT.name
    )
    assert None in {row["repair"] for row in third}, "there is no model after the last one"
    assert_sound(books)


def test_what_cannot_be_changed_stays_and_is_not_marked(books: Books) -> None:
    rules = (Rule("audio_moderation", Action.SOUND_OFF), Rule("frozen", Action.SEED))
    accept(books, rules, items=6, options={"duration": 4, "resolution": "480p", "sound": False})
    end(books, OF_SOUND)
    assert {row["repair"] for row in next_tries(books)} == {None}


def test_a_chosen_model_is_repaired_too_and_chosen_anew(books: Books) -> None:
    rule = AutoRule((MODEL.name, NEXT.name))
    accept(books, (Rule("audio_moderation", Action.SOUND_OFF),), items=8, model="auto", rule=rule)
    books.database.run(choose_models, 1, Models(DEFAULT_CATALOGUE), books.now_ms)
    end(books, OF_SOUND)
    tries = next_tries(books)
    assert {row["model"] for row in tries} == {"auto"}
    assert any('"sound":false' in row["options"].replace(" ", "") for row in tries)
    assert_sound(books)
    books.database.run(choose_models, 1, Models(DEFAULT_CATALOGUE), books.now_ms)
    end(books)
    reject(books)
    assert batch(books)["status"] == "succeeded"
    assert_sound(books)


def test_the_report_counts_what_each_rule_gained_and_names_one_that_does_not_pay(books: Books) -> None:
    rules = (Rule("frozen", Action.SHORTER), Rule("black", Action.SEED))
    batch_id = accept(books, rules, items=200, best_of=BestOf(2))
    end(books)
    reject(books, "frozen")
    for row in books.rows("SELECT id, repair FROM video_tasks WHERE retry_number = 1 ORDER BY id"):
        assert row["repair"] is not None
    end(books)
    open_rows = books.rows(
        "SELECT c.task_id, t.repair, t.item_index FROM clip_verdicts c JOIN video_tasks t ON t.id = c.task_id"
        " WHERE c.state = 'file' ORDER BY 1"
    )
    for row in open_rows:
        is_good = row["item_index"] % 10 > (7 if row["repair"].endswith("control") else 1)
        decision = Decision(Verdict.ACCEPTED if is_good else Verdict.REJECTED, [] if is_good else ["frozen"])
        books.database.run(verdicts.decide_if_measured, row["task_id"], decision, now_ms=books.now_ms)
        books.database.run(buy_next, [row["task_id"]], books.now_ms)
    (found,) = books.database.run_reading(repairs_of_batch, OPERATOR, "bat_1")
    assert found["rule"] == "frozen:shorter"
    assert found["with"]["tries"] + found["without"]["tries"] == 200
    assert found["with"]["share"] > 0.7 > 0.4 > found["without"]["share"]
    low, high = found["gain_interval"]
    assert 0 < low < found["gain"] < high
    assert found["pays"] == "yes"
    kept = books.database.run_reading(retries.of_batch, batch_id)
    assert kept is not None
    assert kept.policy.repairs == rules
    assert books.database.run_reading(gains, OPERATOR, since_ms=0) == [found]


def test_whether_a_rule_pays_follows_from_both_sides() -> None:
    from rushes.domain.acceptance.repairs import Side, pays

    assert pays(Side(40, 30, 300), Side(40, 5, 50)) == "yes"
    assert pays(Side(40, 5, 50), Side(40, 30, 300)) == "no"
    assert pays(Side(100, 50, 1000), Side(100, 50, 500)) == "no", "no more pass, and each costs twice"
    assert pays(Side(10, 5, 50), Side(3, 1, 10)) == "not known"
    assert pays(Side(100, 90, 900), Side(19, 0, 190)) == "not known", "yes takes 20 tries on either side"
    assert pays(Side(100, 90, 900), Side(20, 0, 200)) == "yes"


def read(value: object) -> tuple[Rule, ...]:
    """The rules in this field."""
    return read_repairs(value, DEFAULT_CATALOGUE, 0.0, field="retries.repairs")


def test_rules_are_read_and_those_that_cannot_be_are_refused() -> None:
    assert read(True) == UNASKED
    assert read(None) == read(False) == ()
    named = {"after": "black", "do": "next_model", "models": ["seedance-2.0"]}
    assert read([named]) == (Rule("black", Action.NEXT_MODEL, (NEXT,)),)
    policy = read_policy({"max": 2, "repairs": [named]}, DEFAULT_CATALOGUE, [], 0.0)
    assert policy.as_dict()["repairs"] == [named]
    for wrong, refusal in (
        ("yes", "retries.repairs: must be true or a list"),
        ([1], r"retries.repairs\[0\]: must be an object"),
        (
            [{"after": "froze", "do": "seed"}],
            r'repairs\[0\].after: there is no "froze"; did you mean "frozen"',
        ),
        ([{"after": "frozen"}], r"repairs\[0\].do: missing"),
        ([{"after": "frozen", "do": "shorter", "then": 1}], 'unknown field "then"'),
        ([{"after": "frozen", "do": "next_model"}], "next_model needs models"),
        ([{**named, "do": "seed"}], "seed takes no models"),
        ([{**named, "models": ["sora-3"]}], r"models\[0\].*unknown model"),
        ([{"after": "frozen", "do": "seed"}] * 2, 'there is a rule for "frozen" already'),
    ):
        with pytest.raises(InputError, match=refusal):
            read(wrong)


def test_a_shorter_clip_is_not_less_than_half_as_long() -> None:
    def charge_of(_model: str, options: Mapping[str, Any]) -> Charge | None:
        return Charge(1, options) if options["duration"] in (4, 10) else None

    rule = Rule("frozen", Action.SHORTER)
    assert repairs.repaired(rule, "m", {"duration": 10}, charge_of) is None
    assert repairs.repaired(rule, "m", {"duration": 4}, charge_of) is None
