"""Models that fal runs, by the paths of its gallery. fal charges by the second, for successes only.

rushes does not send `generate_audio`, whose default is on: the costs are those of videos with sound.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from rushes.domain.catalogue.families.shared import ASPECT_RATIO, MEGABYTE, PICTURES, cost, one_file, price
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, Seed, WholeNumber, YesNo
from rushes.domain.catalogue.price import Cost, Price
from rushes.domain.catalogue.wire import Wire

_AS_OF = "2026-11-28"
_GALLERY = "https://fal.ai/models/"

_DATA_URI_BYTES_MAX = 8 * MEGABYTE
"""What Veo takes as a picture."""

_VEO_OPTIONS: Mapping[str, OptionSpec] = MappingProxyType(
    {
        "aspect_ratio": ASPECT_RATIO,
        "duration": OneOf((4, 6, 8), default=8),
        "resolution": OneOf(("720p", "1080p", "4k"), default="720p"),
        "first_frame": one_file(
            ways=("data_uri", "url"), data_uri_bytes_max=_DATA_URI_BYTES_MAX, content_types=PICTURES
        ),
        "seed": Seed(),
    }
)


_KLING_AS_OF = "2026-11-29"
_KLING_RATIO = OneOf(
    ("16:9", "9:16", "1:1"), synonyms={"portrait": "9:16", "landscape": "16:9", "square": "1:1"}
)
_KLING_PICTURE = replace(
    one_file(
        ways=("data_uri", "own_upload", "url"),
        bytes_max=10 * MEGABYTE,
        data_uri_bytes_max=_DATA_URI_BYTES_MAX,
        content_types=PICTURES,
    ),
    wire=Wire(path="start_image_url"),
)
_KLING_3_OPTIONS: Mapping[str, OptionSpec] = MappingProxyType(
    {
        "aspect_ratio": _KLING_RATIO,
        "duration": WholeNumber(3, 15, default=5),
        "first_frame": _KLING_PICTURE,
    }
)


def _model(
    name: str,
    api_model: str,
    sold_for: Price,
    bought_for: Cost | None,
    render_time_p50_seconds: float,
    options: Mapping[str, OptionSpec],
) -> Model:
    return Model(
        name=name,
        provider="fal",
        api_model=api_model,
        price=sold_for,
        cost=bought_for,
        render_time_p50_seconds=render_time_p50_seconds,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=options,
    )


MODELS = (
    _model(
        "fal-veo3.1",
        "fal-ai/veo3.1",
        price(per_second=50, by={"resolution": {"4k": "1.5"}}),
        cost("USD", _AS_OF, _GALLERY + "fal-ai/veo3.1", per_second="0.40", by={"resolution": {"4k": "1.5"}}),
        150.0,
        _VEO_OPTIONS,
    ),
    _model(
        "fal-veo3.1-fast",
        "fal-ai/veo3.1/fast",
        price(per_second=20, by={"resolution": {"4k": "2.25"}}),
        cost(
            "USD",
            "2026-11-29",
            _GALLERY + "fal-ai/veo3.1/fast/first-last-frame-to-video/llms.txt",
            per_second="0.15",
            by={"resolution": {"4k": "2.33333333"}},
        ),
        90.0,
        _VEO_OPTIONS,
    ),
    _model(
        "fal-kling3-pro",
        "fal-ai/kling-video/v3/pro/text-to-video",
        price(per_second=22),
        cost("USD", _AS_OF, _GALLERY + "fal-ai/kling-video/v3/pro/text-to-video", per_second="0.168"),
        240.0,
        _KLING_3_OPTIONS,
    ),
    _model(
        "fal-kling3-standard",
        "fal-ai/kling-video/v3/standard/text-to-video",
        price(per_second=17),
        None,  # fal's page for it has not been read
        180.0,
        _KLING_3_OPTIONS,
    ),
    _model(
        "fal-kling3-4k",
        "fal-ai/kling-video/v3/4k/text-to-video",
        price(per_second=55),
        cost("USD", _KLING_AS_OF, _GALLERY + "fal-ai/kling-video/v3/4k/image-to-video", per_second="0.42"),
        300.0,
        _KLING_3_OPTIONS,
    ),
    _model(
        "fal-kling2.6-pro",
        "fal-ai/kling-video/v2.6/pro/text-to-video",
        price(per_second=10, by={"sound": {"true": 2}}),
        cost(
            "USD",
            _KLING_AS_OF,
            _GALLERY + "fal-ai/kling-video/v2.6/pro/image-to-video",
            per_second="0.07",
            by={"sound": {"true": 2}},
        ),
        180.0,
        MappingProxyType(
            {
                "aspect_ratio": _KLING_RATIO,
                "duration": OneOf((5, 10), default=5),
                "sound": YesNo(default=True, wire=Wire(path="generate_audio")),
                "first_frame": _KLING_PICTURE,
            }
        ),
    ),
)
