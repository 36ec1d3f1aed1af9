"""Models of Runway's API: its own, and one that it resells."""

from collections.abc import Mapping
from types import MappingProxyType

from rushes.domain.catalogue import Model
from rushes.domain.models.shared import ASPECT_RATIO
from rushes.domain.options import OneOf, OptionSpec, Url, WholeNumber

_SHARED: Mapping[str, OptionSpec] = {
    "aspect_ratio": ASPECT_RATIO,
    "first_frame_url": Url(),
    "seed": WholeNumber(0, 2**32 - 1),
}


def _model(name: str, api_model: str, credits: int, **options: OptionSpec) -> Model:
    return Model(
        name=name,
        provider="runway",
        api_model=api_model,
        credits=credits,
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType({**_SHARED, **options}),
    )


MODELS = (
    _model("runway-gen4.5", "gen4.5", 25, duration=WholeNumber(2, 10)),
    _model(
        "runway-veo3.1-fast",
        "veo3.1_fast",
        30,
        duration=OneOf((4, 6, 8)),
        resolution=OneOf(("720p", "1080p")),
    ),
)
