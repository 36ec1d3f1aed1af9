"""Models of Runway's API: its own, and those that it resells. Runway charges its credits by the second.

It takes shape and resolution as one ratio of pixels. What it charges for those that it resells has not been
read; it reports what a task did cost. Durations are those that the models' own services take.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rushes.domain.catalogue.families.shared import ASPECT_RATIO, MEGABYTE, PICTURES, cost, one_file, price
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, Seed, WholeNumber, YesNo
from rushes.domain.catalogue.price import Cost, Price
from rushes.domain.catalogue.wire import Wire

_CREDIT_USD = "0.01"
_AS_OF = "2026-11-28"
_PRICE_LIST = "https://docs.dev.runwayml.com/guides/pricing"

DATA_URI_BYTES_MAX = 5 * MEGABYTE * 3 // 4 - 100
"""Runway takes data URIs of up to 5 MB as text."""

_PICTURE_BYTES_MAX = 16 * MEGABYTE
"""Of a picture at a URL, or uploaded to Runway."""

_SHARED: Mapping[str, OptionSpec] = {
    "aspect_ratio": ASPECT_RATIO,
    "first_frame": one_file(
        ways=("data_uri", "own_upload", "url"),
        bytes_max=_PICTURE_BYTES_MAX,
        url_characters_max=2048,
        data_uri_bytes_max=DATA_URI_BYTES_MAX,
        content_types=PICTURES,
    ),
    "seed": Seed(0, 2**32 - 1),
}


def _cost(usd_per_second: str) -> Cost:
    return cost("USD", _AS_OF, _PRICE_LIST, per_second=usd_per_second, unit="credits", unit_price=_CREDIT_USD)


def _model(
    name: str, api_model: str, sold_for: Price, usd_per_second: str | None, **options: OptionSpec
) -> Model:
    return Model(
        name=name,
        provider="runway",
        api_model=api_model,
        price=sold_for,
        cost=None if usd_per_second is None else _cost(usd_per_second),
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType({**_SHARED, **options}),
        prompt_units_max=1000,
        prompt_unit="utf16",
    )


# --- models that Runway resells ---------------------------------------------------------------------------

_SHAPES = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9")
Pixels = Mapping[str, tuple[str, ...]]
"""By resolution, the pixels of the first of `_SHAPES`, in their order."""

_KLING: Pixels = {
    "720p": ("1280:720", "720:1280", "960:960"),
    "1080p": ("1920:1080", "1080:1920", "1440:1440"),
    "4k": ("3840:2160", "2160:3840", "2880:2880"),
}
_SEEDANCE: Pixels = {
    "480p": ("864:496", "496:864", "640:640", "752:560", "560:752", "992:432"),
    "720p": ("1280:720", "720:1280", "960:960", "1112:834", "834:1112", "1470:630"),
    "1080p": ("1920:1080", "1080:1920", "1440:1440", "1664:1248", "1248:1664", "2206:946"),
    "4k": ("3840:2160", "2160:3840", "3840:3840", "3840:2880", "2880:3840", "3840:1646"),
}
_SEEDANCE_2_5: Pixels = {
    **_SEEDANCE,
    "480p": ("854:480", "480:854", "640:640", "752:560", "560:752", "992:432"),
}
_WAN: Pixels = {
    "480p": ("832:480", "480:832", "624:624", "720:544", "544:720"),
    "720p": ("1280:720", "720:1280", "960:960", "1104:832", "832:1104"),
    "1080p": ("1920:1080", "1080:1920", "1440:1440", "1648:1248", "1248:1648"),
}
_OMNI: Pixels = {
    "360p": ("640:360", "360:640"),
    "720p": ("1280:720", "720:1280"),
    "1080p": ("1920:1080", "1080:1920"),
    "4k": ("3840:2160", "2160:3840"),
}
_SOUND = YesNo(default=True, wire=Wire(path="audio"))
_SEED = Seed(0, 2**32 - 1)


def _sized(pixels: Pixels, resolutions: tuple[str, ...], default: str) -> dict[str, OptionSpec]:
    """Shape and resolution, which are sent as one."""
    values = {
        f"{shape} {lines}": ratio
        for lines in resolutions
        for shape, ratio in zip(_SHAPES, pixels[lines], strict=False)
    }
    shapes = _SHAPES[: len(pixels[default])]
    synonyms = {word: shape for word, shape in _SYNONYMS.items() if shape in shapes}
    wire = Wire(path="ratio", values=values, joined_with="resolution")
    return {
        "aspect_ratio": OneOf(shapes, default="16:9", synonyms=synonyms, wire=wire),
        "resolution": OneOf(resolutions, default=default, wire=Wire(is_sent=False)),
    }


_SYNONYMS = {"portrait": "9:16", "landscape": "16:9", "square": "1:1"}


def _resold(
    api_model: str,
    sold_for: Price,
    sized: Mapping[str, OptionSpec],
    seconds: tuple[int, int],
    *,
    name: str | None = None,
    prompt_units_max: int = 2500,
    **options: OptionSpec,
) -> Model:
    shown = name or api_model.replace("_", "-")
    duration = WholeNumber(*seconds, default=5)
    return Model(
        name=f"runway-{shown}",
        provider="runway",
        api_model=api_model,
        price=sold_for,
        render_time_p50_seconds=150.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(
            {**sized, "duration": duration, "first_frame": _SHARED["first_frame"], **options}
        ),
        prompt_units_max=prompt_units_max,
        prompt_unit="utf16",
    )


def _kling(api_model: str, credits: int, lines: str) -> Model:
    name = api_model.replace("klingO3", "kling-o3").replace("_", "-")
    sold_for = price(per_second=credits)
    return _resold(api_model, sold_for, _sized(_KLING, (lines,), lines), (3, 15), name=name, sound=_SOUND)


def _seedance(api_model: str, credits: int, pixels: Pixels, *resolutions: str, **more: Any) -> Model:
    factors = {"720p": "2.2", "1080p": "5.5", "4k": 11}
    by = {lines: factors[lines] for lines in resolutions if lines in factors}
    sold_for = price(per_second=credits, by={"resolution": by})
    sized = _sized(pixels, resolutions, "720p")
    return _resold(api_model, sold_for, sized, (4, 15), sound=_SOUND, seed=_SEED, **more)


_BY_LINES = {"resolution": {"720p": 2, "1080p": 3}}

MODELS = (
    _model("runway-gen4.5", "gen4.5", price(per_second=15), "0.12", duration=WholeNumber(2, 10, default=5)),
    _model(
        "runway-veo3.1-fast",
        "veo3.1_fast",
        price(per_second=20),
        None,  # not read in Runway's list
        duration=OneOf((4, 6, 8), default=8),
        resolution=OneOf(("720p", "1080p"), default="720p"),
    ),
    _model(
        "runway-veo3.1",
        "veo3.1",
        price(per_second=50),
        None,
        duration=OneOf((4, 6, 8), default=8),
        resolution=OneOf(("720p", "1080p"), default="720p"),
        sound=_SOUND,
    ),
    _kling("kling3.0_standard", 16, "720p"),
    _kling("kling3.0_pro", 22, "1080p"),
    _kling("kling3.0_4k", 55, "4k"),
    _kling("klingO3_standard", 16, "720p"),
    _kling("klingO3_pro", 22, "1080p"),
    _kling("klingO3_4k", 55, "4k"),
    _seedance("seedance2", 10, _SEEDANCE, "480p", "720p", "1080p", "4k", prompt_units_max=3500),
    _seedance("seedance2_fast", 8, _SEEDANCE, "480p", "720p", prompt_units_max=3500),
    _seedance("seedance2_mini", 5, _SEEDANCE, "480p", "720p", prompt_units_max=3500),
    _seedance("seedance2_5", 14, _SEEDANCE_2_5, "480p", "720p", "1080p", prompt_units_max=15_000),
    _resold("gemini_omni_flash", price(per_second=15), _sized(_OMNI, ("720p",), "720p"), (3, 10)),
    _resold(
        "gemini_omni_flash_1.1",
        price(per_second=15, by={"resolution": {"360p": "0.4", "1080p": "1.5", "4k": 3}}),
        _sized(_OMNI, ("360p", "720p", "1080p", "4k"), "720p"),
        (3, 10),
    ),
    _resold(
        "wan3",
        price(per_second=6, by=_BY_LINES),
        _sized(_WAN, ("480p", "720p", "1080p"), "720p"),
        (2, 15),
        sound=_SOUND,
    ),
    _resold(
        "wan3_prime",
        price(per_second=8, by=_BY_LINES),
        _sized(_WAN, ("480p", "720p", "1080p"), "720p"),
        (2, 15),
        sound=_SOUND,
    ),
)
