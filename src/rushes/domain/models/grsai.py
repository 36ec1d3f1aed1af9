"""Grsai's models, both generations."""

from collections.abc import Mapping
from types import MappingProxyType

from rushes.domain.catalogue import Model
from rushes.domain.models.shared import ASPECT_RATIO
from rushes.domain.options import AtMostWhen, OneOf, OptionSpec, Url, UrlList, WholeNumber

_VEO_OPTIONS: Mapping[str, OptionSpec] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "first_frame_url": Url(),
        "last_frame_url": Url(),
        "reference_urls": UrlList(3),
    }
)


def _veo(name: str, api_model: str, credits: int) -> Model:
    return Model(
        name=name,
        provider="grsai",
        api_model=api_model,
        credits=credits,
        render_time_p50_seconds=400.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=_VEO_OPTIONS,
    )


MODELS = (
    Model(
        name="sora-2",
        provider="grsai",
        api_model="sora-2",
        credits=10,
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=900.0,
        hard_deadline_seconds=3600.0,
        options=MappingProxyType(
            {
                "aspect_ratio": ASPECT_RATIO,
                "duration": OneOf((10, 15)),
                "size": OneOf(("small", "large")),
                "reference_url": Url(),
            }
        ),
    ),
    _veo("veo-flash", "veo3.1-fast", credits=15),
    _veo("veo-pro", "veo3.1-pro", credits=60),
    _veo("veo3-fast", "veo3-fast", credits=15),
    _veo("veo3-pro", "veo3-pro", credits=60),
    Model(
        name="minimax-h3",
        provider="grsai-unified",
        api_model="minimax-h3",
        credits=20,
        render_time_p50_seconds=200.0,
        soft_deadline_seconds=1200.0,
        hard_deadline_seconds=5400.0,
        options=MappingProxyType(
            {
                "aspect_ratio": ASPECT_RATIO,
                "resolution": OneOf(("480p", "768p", "1080p")),
                "duration": WholeNumber(1, 15),
                "reference_urls": UrlList(9),
                "audio_urls": UrlList(3, content="audio file"),
                "seed": WholeNumber(0, 2**31 - 1),
            }
        ),
        cross_checks=(AtMostWhen("duration", 10, when_option="resolution", when_value="1080p"),),
    ),
)
