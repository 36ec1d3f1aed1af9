"""Items that ask for the same as an earlier one, by what is sent."""

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.input.duplicates import duplicates
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
