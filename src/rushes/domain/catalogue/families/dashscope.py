"""Wan and HappyHorse at Alibaba's Model Studio (DashScope), in Beijing and in Singapore.

It charges by the second of video, at a price for each resolution, and reports the seconds that it charged.
Some models have another name for each kind of video: the provider takes the one that fits what goes in.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from rushes.domain.catalogue.families.shared import (
    ALWAYS_WITH_SOUND,
    MEGABYTE,
    by_resolution,
    cost,
    files,
    one_file,
    price,
)
from rushes.domain.catalogue.media import MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Apart, CrossCheck, Needs, OneOf, OptionSpec, Seed, WholeNumber
from rushes.domain.catalogue.price import Cost
from rushes.domain.catalogue.wire import Wire

_AS_OF: Final = "2026-11-29"
_PAGES: Final = "https://www.alibabacloud.com/help/en/model-studio/"
_WAYS: Final[tuple[Way, ...]] = ("data_uri", "url")
_IMAGE_BYTES_MAX: Final = 10 * MEGABYTE
_FRAMES: Final = ("first_frame", "last_frame")

_RATIO: Final = OneOf(
    ("16:9", "9:16", "1:1", "4:3", "3:4"),
    synonyms={"portrait": "9:16", "landscape": "16:9"},
    wire=Wire(path="parameters.ratio"),
)


def _resolution(*lines: str) -> OneOf:
    return OneOf(
        lines, default="720p", wire=Wire(path="parameters.resolution", values={p: p.upper() for p in lines})
    )


def _picture() -> MediaInput:
    return one_file(ways=_WAYS, bytes_max=_IMAGE_BYTES_MAX, data_uri_bytes_max=_IMAGE_BYTES_MAX)


def _cost(page: str, amounts: Mapping[str, str]) -> Cost:
    (_, base), *others = amounts.items()
    dearer = {"unit_price_by": {"resolution": dict(others)}} if others else {}
    return cost(
        "USD", _AS_OF, _PAGES + page, **by_resolution(amounts), unit="seconds", unit_price=base, **dearer
    )


def _models(
    name: str,
    api_model: str,
    *,
    page: str,
    beijing: Mapping[str, str],
    singapore: Mapping[str, str],
    credits: int,
    credits_by: Mapping[str, str | int],
    seconds: tuple[int, int],
    media: Mapping[str, OptionSpec],
    checks: tuple[CrossCheck, ...],
) -> tuple[Model, Model]:
    """The model at both places; amounts are US dollars a second, by resolution."""
    model = Model(
        name=name,
        provider="dashscope-cn",
        api_model=api_model,
        price=price(per_second=credits, by={"resolution": dict(credits_by)}),
        cost=_cost(page, beijing),
        render_time_p50_seconds=180.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(
            {
                "duration": WholeNumber(*seconds, default=5, wire=Wire(path="parameters.duration")),
                "resolution": _resolution(*beijing),
                "aspect_ratio": _RATIO,
                "seed": Seed(wire=Wire(path="parameters.seed")),
                **media,
            }
        ),
        cross_checks=checks,
    )
    elsewhere = replace(
        model,
        name=f"dashscope-intl/{name}",
        provider="dashscope-intl",
        cost=_cost(page, singapore),
    )
    return model, elsewhere


_ALL_IN_ONE: Final[Mapping[str, OptionSpec]] = {
    "sound": ALWAYS_WITH_SOUND,
    "first_frame": _picture(),
    "last_frame": _picture(),
    "references": files(10, ways=_WAYS, bytes_max=_IMAGE_BYTES_MAX, data_uri_bytes_max=2 * MEGABYTE),
    "audio": files(5, "audio", bytes_max=15 * MEGABYTE),
}
_ALL_IN_ONE_CHECKS: Final = (
    Needs("last_frame", "first_frame"),
    Apart("references", _FRAMES),
    Apart("audio", _FRAMES),
    Apart("aspect_ratio", _FRAMES),
)
_FRAME_OR_REFERENCES: Final[Mapping[str, OptionSpec]] = {
    "sound": ALWAYS_WITH_SOUND,
    "first_frame": _picture(),
    "references": files(9, ways=_WAYS, bytes_max=_IMAGE_BYTES_MAX, data_uri_bytes_max=2 * MEGABYTE),
}
_FRAME_OR_REFERENCES_CHECKS: Final = (
    Apart("references", ("first_frame",)),
    Apart("aspect_ratio", ("first_frame",)),
)

_BOTH: Final = (
    _models(
        "wan-3.0",
        "wan3.0-video",
        page="wan3-0-video",
        beijing={"480p": "0.041256", "720p": "0.082513", "1080p": "0.165025"},
        singapore={"480p": "0.05", "720p": "0.10", "1080p": "0.20"},
        credits=6,
        credits_by={"720p": 2, "1080p": 4},
        seconds=(2, 30),
        media=_ALL_IN_ONE,
        checks=_ALL_IN_ONE_CHECKS,
    ),
    _models(
        "wan-3.0-prime",
        "wan3.0-video-prime",
        page="wan3-0-video-prime",
        beijing={"480p": "0.0636", "720p": "0.127199", "1080p": "0.254399"},
        singapore={"480p": "0.068", "720p": "0.14", "1080p": "0.28"},
        credits=9,
        credits_by={"720p": 2, "1080p": 4},
        seconds=(2, 30),
        media=_ALL_IN_ONE,
        checks=_ALL_IN_ONE_CHECKS,
    ),
    _models(
        "wan-2.7",
        "wan2.7-t2v",
        page="wan2-7-t2v",
        beijing={"720p": "0.086012", "1080p": "0.143353"},
        singapore={"720p": "0.10", "1080p": "0.15"},
        credits=12,
        credits_by={"1080p": "1.5"},
        seconds=(2, 15),
        media={"first_frame": _picture(), "last_frame": _picture()},
        checks=(Needs("last_frame", "first_frame"), Apart("aspect_ratio", _FRAMES)),
    ),
    _models(
        "happyhorse-1.1",
        "happyhorse-1.1-t2v",
        page="happyhorse-1-1-t2v",
        beijing={"480p": "0.0618845", "720p": "0.123769", "1080p": "0.165026"},
        singapore={"480p": "0.07", "720p": "0.14", "1080p": "0.18"},
        credits=9,
        credits_by={"720p": 2, "1080p": "2.6"},
        seconds=(3, 15),
        media=_FRAME_OR_REFERENCES,
        checks=_FRAME_OR_REFERENCES_CHECKS,
    ),
    _models(
        "happyhorse-1.0",
        "happyhorse-1.0-t2v",
        page="happyhorse-1-0-t2v",
        beijing={"720p": "0.123769", "1080p": "0.220034"},
        singapore={"720p": "0.14", "1080p": "0.24"},
        credits=18,
        credits_by={"1080p": "1.75"},
        seconds=(3, 15),
        media=_FRAME_OR_REFERENCES,
        checks=_FRAME_OR_REFERENCES_CHECKS,
    ),
)

MODELS: Final = (*(beijing for beijing, _ in _BOTH), *(singapore for _, singapore in _BOTH))
