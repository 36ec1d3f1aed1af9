"""Kling, by the company that makes it. It charges by the second, and reports what it took: money, or units.

A unit is 0.14 USD in the larger packs. The costs are those of 2026-11; that of 3.0 turbo is one unit a second
at 1080p and 0.8 at 720p, which is Kling's list price as a reseller quotes it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rushes.domain.catalogue.families.shared import cost, one_file, price
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, WholeNumber, YesNo
from rushes.domain.catalogue.price import Cost, Price
from rushes.domain.catalogue.wire import Wire

_AS_OF: Final = "2026-11-29"
_PRICE_LIST: Final = "https://www.atlascloud.ai/blog/guides/kling-ai-api-pricing"
_OLDER_PRICE_LIST: Final = "https://kling.ai/document-api"
_PROMPT_CHARACTERS_MAX: Final = 3072

_ASPECT_RATIO: Final = OneOf(
    ("16:9", "9:16", "1:1"),
    synonyms={"portrait": "9:16", "landscape": "16:9", "square": "1:1"},
    wire=Wire(path="settings.aspect_ratio"),
)


def _settings(*resolutions: str) -> Mapping[str, OptionSpec]:
    return {
        "duration": WholeNumber(3, 15, default=5, wire=Wire(path="settings.duration")),
        "resolution": OneOf(resolutions, default=resolutions[0], wire=Wire(path="settings.resolution")),
        "aspect_ratio": _ASPECT_RATIO,
        "first_frame": one_file(),
    }


_SOUND: Final = YesNo(
    default=True, wire=Wire(path="settings.audio", values={"true": "native", "false": "off"})
)


def _cost(usd_per_second: str, source: str = _PRICE_LIST, **by: Mapping[str, str]) -> Cost:
    factors = {"by": {name: dict(values) for name, values in by.items()}} if by else {}
    return cost("USD", _AS_OF, source, per_second=usd_per_second, unit="units", unit_price="0.14", **factors)


def _model(
    name: str,
    api_model: str,
    sold_for: Price,
    bought_for: Cost | None,
    options: Mapping[str, OptionSpec],
    *,
    render_time_p50_seconds: float = 180.0,
) -> Model:
    return Model(
        name=name,
        provider="kling",
        api_model=api_model,
        price=sold_for,
        cost=bought_for,
        render_time_p50_seconds=render_time_p50_seconds,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(dict(options)),
        prompt_units_max=_PROMPT_CHARACTERS_MAX,
    )


MODELS: Final = (
    _model(
        "kling-3.0",
        "kling-3.0",
        price(per_second=11, by={"resolution": {"1080p": "1.34"}, "sound": {"true": "1.5"}}),
        _cost("0.084", resolution={"1080p": "1.33333333"}, sound={"true": "1.5"}),
        {**_settings("720p", "1080p"), "sound": _SOUND},
    ),
    _model(
        "kling-3.0-4k",
        "kling-3.0",
        price(per_second=55),
        _cost("0.42"),
        {**_settings("4k"), "sound": _SOUND},
        render_time_p50_seconds=300.0,
    ),
    _model(
        "kling-3.0-turbo",
        "kling-3.0-turbo",
        price(per_second=15, by={"resolution": {"1080p": "1.25"}}),
        _cost("0.112", "https://evolink.ai/kling-3-0-turbo", resolution={"1080p": "1.25"}),
        _settings("720p", "1080p"),
        render_time_p50_seconds=90.0,
    ),
    _model(
        "kling-2.6",
        "kling-v2-6",
        price(per_second=6, by={"resolution": {"1080p": "1.67"}}),
        _cost("0.042", _OLDER_PRICE_LIST, resolution={"1080p": "1.66666667"}),
        {
            "duration": OneOf((5, 10), default=5, wire=Wire(template="{}")),
            "resolution": OneOf(
                ("720p", "1080p"),
                default="720p",
                wire=Wire(path="mode", values={"720p": "std", "1080p": "pro"}),
            ),
            "aspect_ratio": OneOf(
                ("16:9", "9:16", "1:1"),
                synonyms={"portrait": "9:16", "landscape": "16:9", "square": "1:1"},
                wire=Wire(path="aspect_ratio"),
            ),
            "first_frame": one_file(),
        },
    ),
)
