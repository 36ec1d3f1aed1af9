"""Aliases: what an operator may write, what is refused at the start, and which models a new task is given."""

from collections.abc import Mapping
from typing import Any

import pytest

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.instances import family_of
from rushes.domain.errors import InputError, ModelRetired, SettingsError, UnknownModel
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.settings import Settings

NOW = 1_800_000_000.0
FAST = [
    *("veo-flash", "veo3-fast", "seedance-2.0-fast", "wan-3.0-prime"),
    *("minimax-h3-max", "grok-imagine-video-1.5-lite", "kling-3.0-turbo", "vertex-veo3.1-lite"),
]


def catalogue(overrides: Mapping[str, Mapping[str, Any]]) -> Catalogue:
    return DEFAULT_CATALOGUE.with_overrides(overrides)


def priced(models: Catalogue, **item: Any) -> PricedDraft:
    drafts = drafts_from_objects([{"prompt": "a boat", **item}], Defaults(model="sora-2", options={}))
    (draft,) = validate_drafts(drafts, models, NOW)
    return draft


def names(models: Catalogue, alias: str) -> list[str]:
    found = models.find_alias(alias)
    assert found is not None
    return [model.name for model in found.models]


def test_an_alias_keeps_its_order_and_costs_what_its_dearest_model_does() -> None:
    models = catalogue({"any": {"alias_of": ["veo-flash", "sora-2", "minimax-h3"]}})
    assert names(models, "any") == ["veo-flash", "sora-2", "minimax-h3"]
    draft = priced(models, model="any")
    assert (draft.model.name, draft.credits, draft.asked_for) == ("veo-flash", 20, "any")


def test_its_price_may_be_set_and_follows_overridden_prices_otherwise() -> None:
    assert priced(catalogue({"any": {"alias_of": ["sora-2"], "credits": 7}}), model="any").credits == 7
    models = catalogue({"any": {"alias_of": ["sora-2"]}, "sora-2": {"credits": 33}})
    assert priced(models, model="any").credits == 33


def test_the_alias_that_comes_with_rushes_can_be_changed() -> None:
    assert names(DEFAULT_CATALOGUE, "fast-video") == FAST
    assert names(catalogue({"fast-video": {"alias_of": ["sora-2"]}}), "fast-video") == ["sora-2"]
    cheaper = catalogue({"fast-video": {"credits": 1}})
    assert names(cheaper, "fast-video") == FAST
    assert priced(cheaper, model="fast-video").credits == 1


def test_an_alias_may_name_another_one_whose_models_then_stand_in_its_place() -> None:
    models = catalogue(
        {
            "all": {"alias_of": ["sora-2", "fast-video", "veo-flash", "minimax-h3"]},
            "one": {"alias_of": ["veo3.1-fast"]},  # a provider's own name of a model
        }
    )
    assert names(models, "all") == ["sora-2", *FAST, "minimax-h3"]
    assert names(models, "one") == ["veo-flash"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"a": {"alias_of": ["b"]}, "b": {"alias_of": ["a"]}}, "a → b → a"),
        ({"a": {"alias_of": ["a"]}}, "the alias leads back to itself: a → a"),
        (
            {"a": {"alias_of": ["sora-2", "b"]}, "b": {"alias_of": ["c"]}, "c": {"alias_of": ["b"]}},
            "b → c → b",
        ),
        ({"a": {"alias_of": ["sora-3"]}}, 'unknown model "sora-3"; did you mean "sora-2"?'),
        ({"a": {"alias_of": []}}, "must be a list of at least one model"),
        ({"a": {"alias_of": "sora-2"}}, "must be a list of at least one model"),
        ({"a": {"alias_of": [7]}}, "alias_of[0]: must be the name of a model"),
        ({"a": {"alias_of": ["sora-2"] * 17}}, "17 models, more than 16"),
        ({"sora-2": {"alias_of": ["veo-flash"]}}, "is the name of a model"),
        ({"veo3.1-fast": {"alias_of": ["veo-flash"]}}, "is the name of a model"),
        ({"a": {"alias_of": ["sora-2"], "credit": 1}}, 'did you mean "credits"?'),
        ({"a": {"alias_of": ["sora-2"], "credits": 1.5}}, "must be a whole number"),
        ({"a": {"alias_of": ["sora-2"], "credits": -1}}, "credits must be from 0 to"),
        ({"": {"alias_of": ["sora-2"]}}, "printable characters"),
        ({"fast-video": {"disabled": True}}, "an alias has no such field"),
    ],
)
def test_an_alias_that_cannot_work_is_refused_at_the_start(
    overrides: dict[str, dict[str, Any]], message: str
) -> None:
    import json

    with pytest.raises(SettingsError) as refused:
        Settings.load({"RUSHES_MODELS": json.dumps(overrides)}, env_file=None)
    assert refused.value.message.startswith("RUSHES_MODELS: ")
    assert message in refused.value.message


def test_a_new_task_is_given_the_first_model_that_takes_new_tasks() -> None:
    models = catalogue({"veo-flash": {"sunset_at": NOW - 1}})
    assert priced(models, model="fast-video").model.name == "veo3-fast"
    models = catalogue({"veo-flash": {"disabled": True}})
    assert priced(models, model="fast-video").model.name == "veo3-fast"
    models = catalogue({"veo": {"alias_of": ["veo-flash", "veo3-fast"]}})
    models = models.with_unavailable({"grsai": "GRSAI_API_KEY is not set"})
    with pytest.raises(InputError, match="veo-flash is unavailable: GRSAI_API_KEY is not set"):
        priced(models, model="veo")
    assert priced(models, model="fast-video").model.name == "seedance-2.0-fast"


def test_models_without_a_key_do_not_make_an_alias_dearer() -> None:
    missing = {model.provider: "no key" for model in DEFAULT_CATALOGUE if model.provider != "grsai"}
    assert priced(DEFAULT_CATALOGUE.with_unavailable(missing), model="fast-video").credits == 15
    assert priced(DEFAULT_CATALOGUE, model="fast-video").credits == 90, "with every key: the dearest"


@pytest.mark.parametrize("alias", ["fast-video", "cinematic", "cheap-draft"])
def test_the_aliases_that_come_with_rushes_are_over_several_families(alias: str) -> None:
    found = DEFAULT_CATALOGUE.find_alias(alias)
    assert found is not None
    assert len({family_of(model.provider) for model in found.models}) >= 4


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ({}, "seedance-2.5"),
        ({"duration": 30}, "seedance-2.5"),
        ({"resolution": "4k"}, "seedance-2.0"),
        ({"duration": 3}, "wan-3.0"),
        ({"resolution": "2k"}, "minimax-h3-official"),
        ({"duration": 1}, "grok-imagine-video-1.5"),
        ({"aspect_ratio": "3:2"}, "grok-imagine-video-1.5"),
        ({"sound": True, "duration": 2}, "wan-3.0"),
        ({"sound": False, "duration": 5}, "seedance-2.5"),
        ({"first_frame": "https://i.example/1.png", "duration": 2}, "wan-3.0"),
    ],
)
def test_an_alias_takes_only_models_that_can_do_what_an_item_asks(asked: dict[str, Any], model: str) -> None:
    assert priced(DEFAULT_CATALOGUE, model="cinematic", **asked).model.name == model


def test_what_no_model_of_an_alias_can_do_is_refused() -> None:
    with pytest.raises(InputError, match="sound: must be true or false"):
        priced(DEFAULT_CATALOGUE, model="cinematic", sound="loud")
    with pytest.raises(InputError, match=r"duration: must be a whole number from 4 to 30"):
        priced(DEFAULT_CATALOGUE, model="cinematic", sound=False, duration=1)


def test_and_the_first_that_takes_its_options() -> None:
    models = catalogue({"any": {"alias_of": ["veo-flash", "sora-2", "minimax-h3"]}})
    assert priced(models, model="any", duration=15).model.name == "sora-2"
    assert priced(models, model="any", duration=7).model.name == "minimax-h3"
    with pytest.raises(InputError, match="veo-flash has no such option"):
        priced(models, model="any", duration=99)


def test_an_alias_whose_models_are_all_retired_is_refused_with_the_reason_of_each() -> None:
    past: dict[str, dict[str, Any]] = {
        name: {"sunset_at": "2026-09-24"} for name in ("veo-flash", "veo3-fast")
    }
    models = catalogue({**past, "veo": {"alias_of": ["veo-flash", "veo3-fast"]}})
    with pytest.raises(ModelRetired, match="veo-flash was retired on 2026-09-24, veo3-fast was retired"):
        priced(models, model="veo")


def test_an_alias_is_no_model_and_is_suggested_where_it_may_stand() -> None:
    with pytest.raises(UnknownModel, match='"fast-video" is an alias; name a model: veo-flash, veo3-fast'):
        DEFAULT_CATALOGUE.get("fast-video")
    with pytest.raises(UnknownModel, match='did you mean "fast-video"'):
        priced(DEFAULT_CATALOGUE, model="fast-vidoe")
