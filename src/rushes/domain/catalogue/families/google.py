"""Models of Google's Gemini API.

Google has shut Veo's down there, in favour of Gemini Omni; they are kept, retired, for tasks and statistics
of the time before, and for gateways that still have them (`RUSHES_MODELS` sets `sunset_at` to null).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from rushes.domain.catalogue.families.shared import (
    ASPECT_RATIO,
    MEGABYTE,
    PICTURES,
    cost,
    files,
    one_file,
    price,
)
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, WholeNumber
from rushes.domain.catalogue.price import Cost, Price

VEO_SUNSET_AT: Final = datetime(2026, 10, 22, tzinfo=UTC).timestamp()

_INLINE: Final[dict[str, Any]] = {"ways": ("data_uri",), "data_uri_bytes_max": 14 * MEGABYTE}
"""Files go within the request, which may have 20 MB; the service fetches no URL."""

OMNI_OPTIONS: Final[Mapping[str, OptionSpec]] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "duration": WholeNumber(3, 15, default=8),
        "resolution": OneOf(("360p", "720p", "1080p", "4k"), default="720p"),
        "first_frame": one_file(**_INLINE, content_types=(*PICTURES, "image/gif")),
        "references": files(3, **_INLINE, content_types=(*PICTURES, "image/gif")),
        "source_video": one_file("video", **_INLINE),
    }
)
OMNI_1_1_OPTIONS: Final[Mapping[str, OptionSpec]] = MappingProxyType(
    {**OMNI_OPTIONS, "duration": WholeNumber(3, 10, default=8)}
)
"""Vertex AI has the same models."""

OMNI_PRICE: Final = price(per_second=15, by={"resolution": {"360p": "0.4", "1080p": "1.5", "4k": 3}})
_VEO_OPTIONS: Final[Mapping[str, OptionSpec]] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "duration": OneOf((4, 6, 8), default=8),
        "resolution": OneOf(("720p", "1080p", "4k"), default="720p"),
        "first_frame": one_file(**_INLINE, content_types=PICTURES),
        "last_frame": one_file(**_INLINE, content_types=PICTURES),
    }
)


def _model(
    name: str,
    api_model: str,
    sold_for: Price,
    bought_for: Cost | None,
    options: Mapping[str, OptionSpec],
    *,
    sunset_at: float | None = None,
) -> Model:
    return Model(
        name=name,
        provider="google",
        api_model=api_model,
        price=sold_for,
        cost=bought_for,
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=1200.0,
        hard_deadline_seconds=5400.0,
        options=options,
        sunset_at=sunset_at,
    )


_PRICE_LIST: Final = "https://ai.google.dev/gemini-api/docs/pricing"
_VEO_AS_OF: Final = "2026-10-21"  # the day before it was shut down

MODELS: Final = (
    # what Google charges for Omni is not written down here yet: `rushes models --check` names it
    _model("gemini-omni", "gemini-omni-1.2-flash", OMNI_PRICE, None, OMNI_OPTIONS),
    _model("gemini-omni-1.1", "gemini-omni-1.1-flash", OMNI_PRICE, None, OMNI_1_1_OPTIONS),
    _model(
        "google-veo3.1",
        "veo-3.1-generate-preview",
        price(per_second=50, by={"resolution": {"4k": "1.5"}}),
        cost("USD", _VEO_AS_OF, _PRICE_LIST, per_second="0.40", by={"resolution": {"4k": "1.5"}}),
        _VEO_OPTIONS,
        sunset_at=VEO_SUNSET_AT,
    ),
    _model(
        "google-veo3.1-fast",
        "veo-3.1-fast-generate-preview",
        price(per_second=15, by={"resolution": {"1080p": "1.2", "4k": 3}}),
        cost(
            "USD",
            _VEO_AS_OF,
            _PRICE_LIST,
            per_second="0.10",
            by={"resolution": {"1080p": "1.2", "4k": 3}},
        ),
        _VEO_OPTIONS,
        sunset_at=VEO_SUNSET_AT,
    ),
)
