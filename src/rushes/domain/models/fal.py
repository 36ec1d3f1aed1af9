"""Models that fal runs, by the paths of its gallery."""

from collections.abc import Mapping
from types import MappingProxyType

from rushes.domain.catalogue import Model
from rushes.domain.models.shared import ASPECT_RATIO
from rushes.domain.options import OneOf, OptionSpec, Url, WholeNumber

_VEO_OPTIONS: Mapping[str, OptionSpec] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "duration": OneOf((4, 6, 8)),
        "resolution": OneOf(("720p", "1080p", "4k")),
        "first_frame_url": Url(),
        "seed": WholeNumber(0, 2**31 - 1),
    }
)


def _model(
    name: str, api_model: str, credits: int, render_time_p50_seconds: float, options: Mapping[str, OptionSpec]
) -> Model:
    return Model(
        name=name,
        provider="fal",
        api_model=api_model,
        credits=credits,
        render_time_p50_seconds=render_time_p50_seconds,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=options,
    )


MODELS = (
    _model("fal-veo3.1", "fal-ai/veo3.1", 80, 150.0, _VEO_OPTIONS),
    _model("fal-veo3.1-fast", "fal-ai/veo3.1/fast", 30, 90.0, _VEO_OPTIONS),
    _model(
        "fal-kling3-pro",
        "fal-ai/kling-video/v3/pro/text-to-video",
        30,
        240.0,
        MappingProxyType({"aspect_ratio": ASPECT_RATIO, "duration": WholeNumber(3, 15)}),
    ),
)
