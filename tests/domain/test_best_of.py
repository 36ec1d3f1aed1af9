"""What a batch asks of its clips."""

import pytest

from rushes.domain.acceptance.best_of import BestOf, read_acceptance
from rushes.domain.acceptance.gate import GateRules
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import TaskDraft


def drafts(model: str) -> list[PricedDraft]:
    return validate_drafts([TaskDraft("p", model, {})], DEFAULT_CATALOGUE, 0.0, auto=AutoRule())


def test_items_whose_model_is_chosen_and_several_clips_ask_for_the_gate_by_themselves() -> None:
    rules = GateRules()
    nothing = read_acceptance(None, None, rules, drafts("sora-2"))
    assert (nothing.gate, nothing.best_of, nothing.auto) == (None, None, None)
    chosen = read_acceptance(None, None, rules, drafts("auto"), AutoRule())
    assert (chosen.gate is not None, chosen.best_of, chosen.auto) == (True, None, AutoRule())
    several = read_acceptance(None, {"n_max": 2}, rules, drafts("sora-2"))
    assert (several.gate is not None, several.best_of, several.auto) == (True, BestOf(2), None)


@pytest.mark.parametrize(
    ("model", "accept", "field"), [("auto", None, "model"), ("sora-2", {"n_max": 2}, "accept")]
)
def test_neither_goes_without_the_gate(model: str, accept: object, field: str) -> None:
    with pytest.raises(InputError, match="needs the gate") as caught:
        read_acceptance(False, accept, GateRules(), drafts(model))
    assert caught.value.field == field


def test_an_item_buys_clips_up_to_its_bounds() -> None:
    assert [BestOf(3).may_buy(bought=n, spent=0, price=5) for n in (2, 3)] == [True, False]
    assert [BestOf(3, 10).may_buy(bought=1, spent=spent, price=5) for spent in (5, 6)] == [True, False]
    assert [BestOf(3, most).clips_paid(5) for most in (None, 4, 5, 10, 100)] == [3, 0, 1, 2, 3]
    assert BestOf(3, 0).clips_paid(0) == 3
