"""Seedance, by the company that makes it: Volcengine's Ark in China, BytePlus' ModelArk elsewhere.

Ark charges by the token, `width * height * 24 * seconds / 1024` of them, and reports how many there were; a
failed task costs nothing. The costs are those of 16:9. What ModelArk charges has not been read.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from rushes.domain.catalogue.families.shared import MEGABYTE, cost, files, one_file, price
from rushes.domain.catalogue.media import MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import (
    Apart,
    CrossCheck,
    Needs,
    OneOf,
    OptionSpec,
    Seed,
    WholeNumber,
    YesNo,
)
from rushes.domain.catalogue.price import Cost
from rushes.domain.catalogue.wire import Wire

_AS_OF: Final = "2026-11-29"
_PRICE_LIST: Final = "https://www.volcengine.com/docs/82379/1544106"

_WAYS: Final[tuple[Way, ...]] = ("data_uri", "url")
_IMAGE_BYTES_MAX: Final = 30 * MEGABYTE
_SOUND_BYTES_MAX: Final = 15 * MEGABYTE
_DATA_URI_BYTES_MAX: Final = 8 * MEGABYTE
"""Ark takes 64 MB in a request, all pictures together: rushes sends larger ones as links."""


def _picture() -> MediaInput:
    return one_file(ways=_WAYS, bytes_max=_IMAGE_BYTES_MAX, data_uri_bytes_max=_DATA_URI_BYTES_MAX)


def _references(count_max: int, sounds_max: int) -> dict[str, OptionSpec]:
    """Pictures for the whole video, and sounds to go with them where the model takes any."""
    limits: dict[str, Any] = {"ways": _WAYS, "data_uri_bytes_max": _DATA_URI_BYTES_MAX}
    found: dict[str, OptionSpec] = {"references": files(count_max, bytes_max=_IMAGE_BYTES_MAX, **limits)}
    if sounds_max:
        found["audio"] = files(sounds_max, "audio", bytes_max=_SOUND_BYTES_MAX, **limits)
    return found


_RATIO: Final = OneOf(
    ("16:9", "9:16", "4:3", "3:4", "1:1", "21:9"),
    synonyms={"portrait": "9:16", "landscape": "16:9"},
    wire=Wire(path="ratio"),
)
_SHARED: Final[Mapping[str, OptionSpec]] = {
    "aspect_ratio": _RATIO,
    "sound": YesNo(default=True, wire=Wire(path="generate_audio")),
    "seed": Seed(),
    "return_last_frame": YesNo(),
    "first_frame": _picture(),
    "last_frame": _picture(),
}
_FRAMES: Final = ("first_frame", "last_frame")
_FRAMES_OR_REFERENCES: Final = (Needs("last_frame", "first_frame"), Apart("references", _FRAMES))


def _cost(second_480p: str, token: str, by: Mapping[str, str], tokens_by: Mapping[str, str]) -> Cost:
    """Of a second at 480p, with a factor for each larger resolution; and of a token, in yuan."""
    dear = {"unit_price_by": {"resolution": dict(tokens_by)}} if tokens_by else {}
    return cost(
        "CNY",
        _AS_OF,
        _PRICE_LIST,
        per_second=second_480p,
        by={"resolution": dict(by)},
        unit="tokens",
        unit_price=token,
        **dear,
    )


def _model(
    name: str,
    api_model: str,
    bought_for: Cost,
    *,
    credits_480p: int,
    credits_by: Mapping[str, str | int],
    seconds_max: int = 15,
    resolutions: tuple[str, ...] = ("480p", "720p"),
    references_max: int = 9,
    sounds_max: int = 3,
    render_time_p50_seconds: float = 120.0,
) -> Model:
    checks: tuple[CrossCheck, ...] = _FRAMES_OR_REFERENCES
    if sounds_max:
        checks += (Apart("audio", _FRAMES), *(() if sounds_max > 3 else (Needs("audio", "references"),)))
    return Model(
        name=name,
        provider="ark-cn",
        api_model=f"doubao-{api_model}",
        price=price(per_second=credits_480p, by={"resolution": dict(credits_by)}),
        cost=bought_for,
        render_time_p50_seconds=render_time_p50_seconds,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(
            {
                "duration": WholeNumber(4, seconds_max, default=5),
                "resolution": OneOf(resolutions, default="720p"),
                **_SHARED,
                **_references(references_max, sounds_max),
            }
        ),
        cross_checks=checks,
    )


_AT_VOLCENGINE: Final = (
    _model(
        "seedance-2.5",
        "seedance-2-5-260628",
        _cost(
            "0.672525",
            "0.00007",
            {"720p": "2.24824356", "1080p": "5.5643953"},
            {"1080p": "0.000077"},
        ),
        credits_480p=12,
        credits_by={"720p": "2.25", "1080p": "5.6"},
        seconds_max=30,
        resolutions=("480p", "720p", "1080p"),
        references_max=30,
        sounds_max=10,
        render_time_p50_seconds=180.0,
    ),
    _model(
        "seedance-2.0",
        "seedance-2-0-260128",
        _cost(
            "0.462024",
            "0.000046",
            {"720p": "2.15053763", "1080p": "5.36465638", "4k": "10.93969145"},
            {"1080p": "0.000051", "4k": "0.000026"},
        ),
        credits_480p=8,
        credits_by={"720p": "2.25", "1080p": "5.5", "4k": 11},
        resolutions=("480p", "720p", "1080p", "4k"),
        render_time_p50_seconds=180.0,
    ),
    _model(
        "seedance-2.0-fast",
        "seedance-2-0-fast-260128",
        _cost("0.371628", "0.000037", {"720p": "2.15053763"}, {}),
        credits_480p=7,
        credits_by={"720p": "2.15"},
    ),
    _model(
        "seedance-2.0-mini",
        "seedance-2-0-mini-260615",
        _cost("0.231012", "0.000023", {"720p": "2.15053763"}, {}),
        credits_480p=4,
        credits_by={"720p": "2.25"},
        sounds_max=0,
        render_time_p50_seconds=90.0,
    ),
)

MODELS: Final = (
    *_AT_VOLCENGINE,
    *(
        replace(
            model,
            name=f"ark-intl/{model.name}",
            provider="ark-intl",
            api_model=f"dreamina-{model.api_model.removeprefix('doubao-')}",
            cost=None,
        )
        for model in _AT_VOLCENGINE
    ),
)
