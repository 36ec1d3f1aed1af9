"""Grok Imagine at xAI. It charges by the second and by the picture, also for videos that it then blocks."""

from collections.abc import Mapping
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
from rushes.domain.catalogue.media import Way
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Apart, OneOf, WholeNumber

_AS_OF: Final = "2026-11-29"
_PAGES: Final = "https://docs.x.ai/docs/models/"
_PROMPT_CHARACTERS_MAX: Final = 4096
_WAYS: Final[tuple[Way, ...]] = ("data_uri", "url")

_RATIO: Final = OneOf(
    ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3"),
    synonyms={"portrait": "9:16", "landscape": "16:9"},
)


def _model(
    name: str,
    *,
    amounts: Mapping[str, str],
    per_input_image: str,
    credits: int,
    credits_by: Mapping[str, str | int],
) -> Model:
    return Model(
        name=name,
        provider="xai",
        api_model=name,
        price=price(per_second=credits, by={"resolution": dict(credits_by)}, per_input_image=2),
        cost=cost("USD", _AS_OF, _PAGES + name, **by_resolution(amounts), per_input_image=per_input_image),
        render_time_p50_seconds=60.0,
        soft_deadline_seconds=900.0,
        hard_deadline_seconds=5400.0,
        options=MappingProxyType(
            {
                "duration": WholeNumber(1, 15, default=8),
                "resolution": OneOf(tuple(amounts), default="720p"),
                "aspect_ratio": _RATIO,
                "sound": ALWAYS_WITH_SOUND,
                "first_frame": one_file(ways=_WAYS, data_uri_bytes_max=8 * MEGABYTE),
                "references": files(7, ways=_WAYS, data_uri_bytes_max=2 * MEGABYTE),
            }
        ),
        cross_checks=(Apart("references", ("first_frame",)),),
        prompt_units_max=_PROMPT_CHARACTERS_MAX,
    )


MODELS: Final = (
    _model(
        "grok-imagine-video",
        amounts={"480p": "0.05", "720p": "0.07"},
        per_input_image="0.002",
        credits=6,
        credits_by={"720p": "1.5"},
    ),
    _model(
        "grok-imagine-video-1.5",
        amounts={"480p": "0.08", "720p": "0.14", "1080p": "0.25"},
        per_input_image="0.01",
        credits=10,
        credits_by={"720p": "1.75", "1080p": "3.2"},
    ),
    _model(
        "grok-imagine-video-1.5-lite",
        amounts={"480p": "0.02", "720p": "0.03", "1080p": "0.14"},
        per_input_image="0.01",
        credits=3,
        credits_by={"720p": "1.5", "1080p": 6},
    ),
)
