"""Models of Google's Gemini API.

Google has shut Veo's down there, in favour of Gemini Omni; they are kept, retired, for tasks and statistics
of the time before, and for gateways that still have them (`RUSHES_MODELS` sets `sunset_at` to null).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from rushes.domain.catalogue import Model
from rushes.domain.models.shared import ASPECT_RATIO
from rushes.domain.options import OneOf, OptionSpec, WholeNumber

VEO_SUNSET_AT: Final = datetime(2026, 10, 22, tzinfo=UTC).timestamp()

_OMNI_OPTIONS: Final[Mapping[str, OptionSpec]] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "duration": WholeNumber(3, 10),
        "resolution": OneOf(("360p", "720p", "1080p", "4k")),
    }
)
_VEO_OPTIONS: Final[Mapping[str, OptionSpec]] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "duration": OneOf((4, 6, 8)),
        "resolution": OneOf(("720p", "1080p", "4k")),
    }
)


def _model(
    name: str,
    api_model: str,
    credits: int,
    options: Mapping[str, OptionSpec],
    *,
    sunset_at: float | None = None,
) -> Model:
    return Model(
        name=name,
        provider="google",
        api_model=api_model,
        credits=credits,
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=1200.0,
        hard_deadline_seconds=5400.0,
        options=options,
        sunset_at=sunset_at,
    )


MODELS: Final = (
    _model("gemini-omni", "gemini-omni-1.2-flash", 30, _OMNI_OPTIONS),
    _model("gemini-omni-1.1", "gemini-omni-1.1-flash", 30, _OMNI_OPTIONS),
    _model("google-veo3.1", "veo-3.1-generate-preview", 80, _VEO_OPTIONS, sunset_at=VEO_SUNSET_AT),
    _model("google-veo3.1-fast", "veo-3.1-fast-generate-preview", 30, _VEO_OPTIONS, sunset_at=VEO_SUNSET_AT),
)
