"""40 models times their options, priced here and by an independent script from the same facts."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.independent_prices import credits_for

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import default_of, values_of
from rushes.domain.catalogue.price_reading import stored_price

WITH_DEFAULTS: dict[str, dict[str, Any]] = {
    "duration": {"kind": "whole_number", "minimum": 1, "maximum": 10, "default": 7},
    "resolution": {"kind": "choice", "values": ["480p", "768p", "1080p"], "default": "768p"},
}
LIKE: dict[str, list[dict[str, Any]]] = {
    "veo-flash": [
        {"per_video": 9, "per_input_image": 2},
        {"per_video": 9, "per_input_image": 3, "free_input_images": 2, "minimum": 12},
    ],
    "minimax-h3": [
        {"per_second": 8, "by": {"resolution": {"1080p": "1.6", "480p": "0.625"}}, "per_input_image": 4},
        {"per_second": 3, "free_input_images": 5, "per_input_image": 4, "minimum": 17},
    ],
    "runway-gen4.5": [{"per_second": 12}, {"per_second": 7, "minimum": 40}],
    "fal-veo3.1": [
        {"per_second": 20, "by": {"resolution": {"1080p": "1.05", "4k": "2.333"}}},
        {
            "table": [
                {"duration": seconds, "resolution": lines, "credits": seconds * factor}
                for seconds in (4, 6, 8)
                for lines, factor in (("720p", 20), ("1080p", 25), ("4k", 61))
            ]
        },
    ],
    "gemini-omni": [{"per_second": 5, "by": {"resolution": {"360p": "0.3", "1080p": "1.5", "4k": "3.01"}}}],
    "fal-kling3-pro": [{"per_second": 17}, {"per_second": 11, "minimum": 50}],
    "openai-sora-2-pro": [
        {"per_second": 30, "by": {"size": {"large": "1.6667"}}},
        {"per_video": 200, "by": {"size": {"large": "1.111"}}},
    ],
    "sora-2": [{"per_video": 11}, {"per_video": 8, "per_input_image": 1}],
}


def models() -> list[Model]:
    """The built-in ones, and more with prices of every form and options of their own."""
    found: dict[str, dict[str, Any]] = {}
    for name, prices in LIKE.items():
        options = dict(WITH_DEFAULTS) if name == "minimax-h3" else {}
        for number, price in enumerate(prices):
            found[f"{name}-{number}"] = {"like": name, "price": price, "options": options}
            found[f"{name}-sound-{number}"] = {
                "like": name,
                "price": {**price, "by": {**price.get("by", {}), "sound": {"true": "1.37"}}},
                "options": {**options, "sound": {"kind": "yes_no", "default": True}},
            }
    return list(DEFAULT_CATALOGUE.with_overrides(found))


def combinations(model: Model) -> Iterator[dict[str, Any]]:
    """Every combination of the priced options' values, and of numbers of pictures."""
    names = model.price.tariff.priced_options
    values = [[None, *(values_of(model.options[name]) or ())] for name in names]
    pictures: list[dict[str, Any]] = [{}]
    if "first_frame" in model.options:
        pictures.append({"first_frame": "https://i.example/1.png"})
    if "references" in model.options:
        pictures += [
            {"references": ("https://i.example/1.png",) * count}
            for count in (1, 3)
            if count <= model.media["references"].count_max
        ]
    for chosen in itertools.product(*values):
        given = {name: value for name, value in zip(names, chosen, strict=True) if value is not None}
        for media in pictures:
            yield {**given, **media}


def picture_count(options: dict[str, Any]) -> int:
    """Counted by the options' names, not by their kinds."""
    one = sum(name in options for name in ("first_frame", "last_frame"))
    return one + len(options.get("references", ()))


def test_there_are_forty_models() -> None:
    assert len(models()) >= 40


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_the_prices_are_equal_to_the_credit(model: Model) -> None:
    written = stored_price(model.price)
    defaults = {name: default_of(spec) for name, spec in model.options.items()}
    count = 0
    for options in combinations(model):
        complete = {**{name: value for name, value in defaults.items() if value is not None}, **options}
        assert model.price_of(options) == credits_for(written, complete, picture_count(options)), options
        count += 1
    assert count >= 1
