"""What best of n is expected to cost: by the account's own clips, with count, or unknown yet."""

import random

import pytest

from rushes.domain.acceptance.bandit import Record
from rushes.domain.acceptance.best_of import BestOf, chance_accepted, clips_expected
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import TaskDraft
from rushes.read.acceptance.expected import expected, expected_by
from rushes.read.quotes import quote
from rushes.store.database import Database
from tests.books import Books
from tests.forecasts import forecaster
from tests.money.test_auto import accept, choose, judge


def drafts(*models: str) -> list[PricedDraft]:
    """An item of each of these models."""
    given = [TaskDraft(f"take {n}", model, {}) for n, model in enumerate(models)]
    return validate_drafts(given, DEFAULT_CATALOGUE, 0.0, auto=AutoRule(("sora-2", "veo-flash")))


def test_the_numbers_are_those_of_buying_one_by_one() -> None:
    draw, share, clips_max, price = random.Random(1), 0.4, 3, 10
    bought = accepted = 0
    for _ in range(20_000):
        for _ in range(clips_max):
            bought += 1
            if draw.random() < share:
                accepted += 1
                break
    assert chance_accepted(share, clips_max) == pytest.approx(accepted / 20_000, abs=0.01)
    assert clips_expected(share, clips_max) == pytest.approx(bought / 20_000, rel=0.01)
    (found,) = expected_by({"sora-2": Record(40, 100)}, drafts("sora-2"), BestOf(3))["models"]
    assert found["credits_per_item"] == pytest.approx(price * bought / 20_000, rel=0.01)
    assert found["chance_interval"][0] < found["chance"] == 0.784 < found["chance_interval"][1]


def test_a_cap_of_credits_bounds_the_clips_and_nothing_accepted_costs_all_of_them() -> None:
    known = {"sora-2": Record(10, 20), "veo-flash": Record(0, 20)}
    found = expected_by(known, drafts("sora-2", "sora-2", "veo-flash"), BestOf(4, credits_max=29))
    sora, veo = found["models"]
    assert (sora["items"], sora["credits_per_item"], sora["chance"]) == (2, 15.0, 0.75)
    assert (veo["items"], veo["credits_per_item"], veo["chance"]) == (1, 15.0, 0.0)
    assert (found["expected_credits"], found["expected_accepted"]) == (45.0, 1.5)


def test_a_model_with_too_few_clips_is_unknown_yet_and_so_is_the_sum() -> None:
    found = expected_by(
        {"sora-2": Record(8, 8), "veo-flash": Record(7, 7)}, drafts("sora-2", "veo-flash"), BestOf(2)
    )
    assert (found["expected_credits"], found["expected_accepted"]) == (None, None)
    sora, veo = found["models"]
    assert sora["chance"] == 1.0
    assert (veo["clips"], veo["accepted"], veo["credits_per_item"], veo["chance"]) == (7, 7, None, None)


def test_an_open_item_counts_with_the_known_model_that_costs_least_per_accepted_clip() -> None:
    known = {"sora-2": Record(2, 20), "veo-flash": Record(20, 20)}
    (found,) = expected_by(known, drafts("auto"), BestOf(2))["models"]
    assert (found["model"], found["credits_per_item"]) == ("veo-flash", 15.0)
    (found,) = expected_by({}, drafts("auto"), BestOf(2))["models"]
    assert (found["model"], found["credits_per_item"]) == ("auto", None)


def test_a_quote_has_it_from_the_accounts_own_clips_alone(database: Database) -> None:
    books = Books(database)
    books.grant(books.account(), 10_000)
    other = books.account("other")
    for number in range(1, 3):
        accept(books, 10, rule=AutoRule(("sora-2",)), name=f"bat_{number}")
        choose(books, number)
        judge(books, {"sora-2": 0.5}, random.Random(number))

    def accept_of(account: str, best_of: BestOf | None) -> object:
        return database.run_reading(
            quote,
            drafts("sora-2"),
            account=account,
            forecaster=forecaster(),
            now_ms=books.now_ms,
            best_of=best_of,
        )["accept"]

    assert accept_of("default", None) is None
    found = accept_of("default", BestOf(3))
    assert isinstance(found, dict)
    (model,) = found["models"]
    assert model["clips"] == 20
    assert 0 < model["accepted"] < 20
    assert found["expected_credits"] == round(model["credits_per_item"], 1) > 10
    unknown = database.run_reading(expected, other, drafts("sora-2"), BestOf(3), DEFAULT_CATALOGUE, 1)
    assert unknown is not None
    assert unknown["expected_credits"] is None
