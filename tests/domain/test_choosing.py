"""Choosing a model: which ones can do what is wanted, at what price."""

from dataclasses import replace
from fractions import Fraction

import pytest

from rushes.domain.catalogue.choosing import Wish, offer_of, resolutions_of
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.media import MediaInput


def fitting(wish: Wish) -> set[str]:
    return {model.name for model in DEFAULT_CATALOGUE if offer_of(model, wish) is not None}


def test_without_a_wish_every_model_will_do() -> None:
    assert Wish().is_empty
    assert fitting(Wish()) == set(DEFAULT_CATALOGUE.names)


@pytest.mark.parametrize(
    ("wish", "inside", "outside"),
    [
        (Wish(image=True), {"seedance-2.0", "veo-flash", "sora-2", "gemini-omni"}, set()),
        (Wish(seconds=30), {"seedance-2.5", "wan-3.0"}, {"seedance-2.0", "veo-flash", "sora-2"}),
        (Wish(seconds=10), {"sora-2", "runway-gen4.5"}, {"fal-veo3.1", "veo-flash"}),
        (Wish(resolution="1080P"), {"wan-3.0", "fal-veo3.1"}, {"seedance-2.0-mini", "sora-2"}),
        (Wish(resolution="4k"), {"seedance-2.0", "gemini-omni"}, {"seedance-2.5"}),
        (Wish(sound=True), {"seedance-2.0", "wan-3.0", "grok-imagine-video"}, {"runway-gen4.5"}),
        (Wish(image=True, seconds=15, resolution="1080p", sound=True), {"wan-3.0"}, {"fal-veo3.1"}),
    ],
)
def test_a_model_fits_that_can_do_all_of_it(wish: Wish, inside: set[str], outside: set[str]) -> None:
    found = fitting(wish)
    assert inside <= found
    assert not outside & found


def test_a_model_that_takes_no_picture_does_not_fit_a_wish_for_one() -> None:
    model = DEFAULT_CATALOGUE.get("sora-2")
    words = {name: each for name, each in model.options.items() if not isinstance(each, MediaInput)}
    without = replace(model, options=words)
    assert offer_of(model, Wish(image=True)) is not None
    assert offer_of(without, Wish(image=True)) is None
    assert offer_of(without, Wish()) is not None


def test_the_price_is_that_of_the_video_that_is_wanted() -> None:
    model = DEFAULT_CATALOGUE.get("seedance-2.0")
    offer = offer_of(model, Wish(seconds=10, resolution="1080p"))
    assert offer is not None
    assert offer.credits == model.price_of({"duration": 10, "resolution": "1080p"}) == 440
    assert offer.credits_per_second == Fraction(44)
    assert offer.options == {"duration": 10, "resolution": "1080p", "sound": True}
    assert offer.cost is not None
    assert (offer.cost.money.currency, offer.cost.unit, offer.cost.unit_nanos) == ("CNY", "tokens", 51_000)
    assert offer_of(model, Wish(seconds=10, resolution="1080p", credits_max=440)) == offer
    assert offer_of(model, Wish(seconds=10, resolution="1080p", credits_max=439)) is None


def test_a_picture_that_costs_is_in_the_price_and_not_among_the_options() -> None:
    model = DEFAULT_CATALOGUE.get("grok-imagine-video")
    plain, pictured = offer_of(model, Wish(seconds=1)), offer_of(model, Wish(image=True, seconds=1))
    assert plain is not None
    assert pictured is not None
    assert pictured.credits == plain.credits + 2
    assert pictured.options == plain.options


def test_a_video_of_no_known_length_has_no_price_per_second() -> None:
    offer = offer_of(DEFAULT_CATALOGUE.get("veo-flash"), Wish(image=True))
    assert offer is not None
    assert offer.credits_per_second is None


def test_the_resolutions_are_those_that_some_model_has() -> None:
    assert {"480p", "720p", "768p", "1080p", "2k", "4k"} <= set(resolutions_of(DEFAULT_CATALOGUE))
