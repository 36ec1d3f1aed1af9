"""Grsai's models, both generations. Grsai charges by the video, for successes only.

What it charges was read in its own article; where that names no price, none is written down here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from rushes.domain.catalogue.families.shared import ASPECT_RATIO, cost, files, one_file
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import AtMostWhen, OneOf, OptionSpec, Seed, WholeNumber

_VEO_OPTIONS: Mapping[str, OptionSpec] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "first_frame": one_file(),
        "last_frame": one_file(),
        "references": files(3),
    }
)


_ARTICLE = "https://grsaiapicom.blogspot.com/2026/01/cheapest-sora-2-api-in-2026-008-per.html"
_AS_OF = "2026-01-31"


def _veo(name: str, api_model: str, credits: int) -> Model:
    return Model(
        name=name,
        provider="grsai",
        api_model=api_model,
        credits=credits,
        cost=cost("CNY", _AS_OF, _ARTICLE, per_video="0.40"),
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
        cost=cost("CNY", _AS_OF, _ARTICLE, per_video="0.08"),
        note="closed at OpenAI, sold by Grsai",
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=900.0,
        hard_deadline_seconds=3600.0,
        options=MappingProxyType(
            {
                "aspect_ratio": ASPECT_RATIO,
                "duration": OneOf((10, 15)),
                "size": OneOf(("small", "large")),
                "references": files(1),
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
                "references": files(9),
                "audio": files(3, "audio"),
                "seed": Seed(),
            }
        ),
        cross_checks=(AtMostWhen("duration", 10, when_option="resolution", when_value="1080p"),),
    ),
)
