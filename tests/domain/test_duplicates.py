"""Items that ask for the same as an earlier one, by what is sent."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.duplicates import duplicates, request_key, request_keys
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import TaskDraft


def test_items_with_the_same_prompt_model_and_options_are_named_with_the_first_of_them() -> None:
    drafts = [
        TaskDraft("a kite", "sora-2", {}),
        TaskDraft("a fox", "sora-2", {}),
        TaskDraft(" a kite ", "sora-2", {}),
        TaskDraft("a kite", "sora-2", {"duration": 15}),
        TaskDraft("a kite", "veo-flash", {}),
        TaskDraft("a kite", "sora-2", {}, custom_id="another name"),
        TaskDraft("a boat", "wan-3.0", {"seed": 1}),
        TaskDraft("a boat", "wan-3.0", {"seed": 2}),
    ]
    priced = validate_drafts(drafts, DEFAULT_CATALOGUE, 0.0)
    assert duplicates(priced) == [(2, 0), (5, 0)]
    assert duplicates([]) == []


def test_items_whose_model_is_chosen_later_are_the_same_by_what_was_asked_and_within_which_bounds() -> None:
    model = next(
        model
        for model in DEFAULT_CATALOGUE
        if model.completed({}) and not model.disabled and model.provider == "fal"
    )
    (name, default), *_ = model.completed({}).items()
    rule = AutoRule((model.name,))
    drafts = [
        TaskDraft("a kite", "auto", {}),
        TaskDraft("a kite", "auto", {name: default}),
        TaskDraft("a kite ", "auto", {}),
        TaskDraft("a fox", "auto", {}),
    ]
    priced = validate_drafts(drafts, DEFAULT_CATALOGUE, 0.0, auto=rule)
    assert duplicates(priced) == [(2, 0)]
    capped = validate_drafts(
        drafts[:1], DEFAULT_CATALOGUE, 0.0, auto=AutoRule((model.name,), credits_max=10**6)
    )
    assert duplicates([priced[0], capped[0]]) == []


def test_keys_stay_the_same_for_good_as_rows_hold_them() -> None:
    drafts = [
        TaskDraft(' a "kite" \u00e9\U0001f600\n', "sora-2", {}),
        TaskDraft("a fox", "sora-2", {"duration": 15}),
        TaskDraft("a boat", "wan-3.0", {"seed": 1}),
        TaskDraft("a fox", "sora-2", {"duration": 15}, custom_id="fox"),
    ]
    priced = validate_drafts(drafts, DEFAULT_CATALOGUE, 0.0)
    first, second, third = -791189101765988535, 1446747343715766258, 7421566258261053654
    assert request_keys(priced) == [first, second, third, second]
    assert [request_key(each) for each in priced] == request_keys(priced)
