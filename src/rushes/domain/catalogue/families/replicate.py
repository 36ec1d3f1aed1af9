"""Video models that Replicate runs, by the names of its pages; any other one is described in `rushes.toml`.

What Replicate charges for them has not been read: `rushes models --check` names them.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from rushes.domain.catalogue.families.shared import MEGABYTE, one_file, price
from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import AtMostWhen, OneOf, OptionSpec, Seed, WholeNumber, YesNo
from rushes.domain.catalogue.price import Price
from rushes.domain.catalogue.wire import Wire

_SYNONYMS: Final = {"portrait": "9:16", "landscape": "16:9", "square": "1:1"}


def _at(name: str) -> Wire:
    """Everything that a model takes stands in `input`."""
    return Wire(path=f"input.{name}")


def _ratio(*values: str) -> OneOf:
    synonyms = {word: ratio for word, ratio in _SYNONYMS.items() if ratio in values}
    return OneOf(values, synonyms=synonyms, wire=_at("aspect_ratio"))


def _picture(name: str) -> MediaInput:
    """Replicate advises data URIs for small files alone."""
    found = one_file(ways=("data_uri", "url"), data_uri_bytes_max=MEGABYTE // 2)
    return replace(found, wire=_at(name))


def _model(
    name: str,
    api_model: str,
    sold_for: Price,
    options: Mapping[str, OptionSpec],
    *,
    render_time_p50_seconds: float,
    cross_checks: tuple[AtMostWhen, ...] = (),
) -> Model:
    return Model(
        name=name,
        provider="replicate",
        api_model=api_model,
        price=sold_for,
        render_time_p50_seconds=render_time_p50_seconds,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(dict(options)),
        cross_checks=cross_checks,
    )


MODELS: Final = (
    _model(
        "replicate-veo3.1-fast",
        "google/veo-3.1-fast",
        price(per_second=15, by={"sound": {"true": "1.5"}}),
        {
            "duration": OneOf((4, 6, 8), default=8, wire=_at("duration")),
            "resolution": OneOf(("720p", "1080p"), default="720p", wire=_at("resolution")),
            "aspect_ratio": _ratio("16:9", "9:16"),
            "sound": YesNo(default=True, wire=_at("generate_audio")),
            "seed": Seed(wire=_at("seed")),
            "first_frame": _picture("image"),
            "last_frame": _picture("last_frame"),
        },
        render_time_p50_seconds=90.0,
    ),
    _model(
        "replicate-kling2.5-turbo-pro",
        "kwaivgi/kling-v2.5-turbo-pro",
        price(per_second=10),
        {
            "duration": OneOf((5, 10), default=5, wire=_at("duration")),
            "aspect_ratio": _ratio("16:9", "9:16", "1:1"),
            "first_frame": _picture("start_image"),
        },
        render_time_p50_seconds=180.0,
    ),
    _model(
        "replicate-hailuo2.3",
        "minimax/hailuo-2.3",
        price(per_second=7, by={"resolution": {"1080p": "1.75"}}),
        {
            "duration": OneOf((6, 10), default=6, wire=_at("duration")),
            "resolution": OneOf(("768p", "1080p"), default="768p", wire=_at("resolution")),
            "first_frame": _picture("first_frame_image"),
        },
        render_time_p50_seconds=180.0,
        cross_checks=(AtMostWhen("duration", 6, when_option="resolution", when_value="1080p"),),
    ),
    _model(
        "replicate-seedance1-pro-fast",
        "bytedance/seedance-1-pro-fast",
        price(per_second=3, by={"resolution": {"720p": 2, "1080p": 4}}),
        {
            "duration": WholeNumber(2, 12, default=5, wire=_at("duration")),
            "resolution": OneOf(("480p", "720p", "1080p"), default="720p", wire=_at("resolution")),
            "aspect_ratio": _ratio("16:9", "9:16", "1:1", "4:3", "3:4", "21:9"),
            "seed": Seed(wire=_at("seed")),
            "first_frame": _picture("image"),
        },
        render_time_p50_seconds=60.0,
    ),
)
