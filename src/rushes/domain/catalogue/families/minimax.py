"""MiniMax's own API: H3 and H3-Max. It charges by the second, and by the picture beyond the free ones."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from rushes.domain.catalogue.families.shared import (
    ALWAYS_WITH_SOUND,
    MEGABYTE,
    by_resolution,
    cost,
    files,
    one_file,
    price,
)
from rushes.domain.catalogue.media import MediaInput, Way
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Apart, CrossCheck, Needs, OneOf, OptionSpec, WholeNumber
from rushes.domain.catalogue.wire import Wire

_AS_OF: Final = "2026-11-29"
_PRICE_LIST: Final = "https://platform.minimax.io/docs/guides/pricing-paygo"
_PROMPT_CHARACTERS_MAX: Final = 7000
_WAYS: Final[tuple[Way, ...]] = ("data_uri", "url")
_FRAMES: Final = ("first_frame", "last_frame")

_RATIO: Final = OneOf(
    ("16:9", "9:16", "4:3", "3:4", "1:1", "21:9"),
    synonyms={"portrait": "9:16", "landscape": "16:9"},
    default="16:9",  # a video of text alone needs one
    wire=Wire(path="ratio"),
)


def _picture() -> MediaInput:
    return one_file(ways=_WAYS, bytes_max=20 * MEGABYTE, data_uri_bytes_max=8 * MEGABYTE)


def _model(
    name: str,
    api_model: str,
    *,
    credits: int,
    credits_by: Mapping[str, str],
    credits_per_image: int,
    amounts: Mapping[str, str],
    per_input_image: str,
    free_input_images: int,
    media: Mapping[str, OptionSpec],
    checks: tuple[CrossCheck, ...],
) -> Model:
    (_, base), *others = amounts.items()
    images: dict[str, Any] = {"free_input_images": free_input_images}
    resolutions = OneOf(
        tuple(amounts), default="768p", wire=Wire(values={lines: lines.upper() for lines in amounts})
    )
    return Model(
        name=name,
        provider="minimax",
        api_model=api_model,
        price=price(
            per_second=credits,
            by={"resolution": dict(credits_by)},
            per_input_image=credits_per_image,
            **images,
        ),
        cost=cost(
            "USD",
            _AS_OF,
            _PRICE_LIST,
            **by_resolution(amounts),
            per_input_image=per_input_image,
            **images,
            unit="seconds",
            unit_price=base,
            unit_price_by={"resolution": dict(others)},
        ),
        render_time_p50_seconds=150.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(
            {
                "duration": WholeNumber(5, 15, default=5),
                "resolution": resolutions,
                "aspect_ratio": _RATIO,
                "sound": ALWAYS_WITH_SOUND,
                "first_frame": _picture(),
                "last_frame": _picture(),
                **media,
            }
        ),
        cross_checks=(Needs("last_frame", "first_frame"), *checks),
        prompt_units_max=_PROMPT_CHARACTERS_MAX,
    )


MODELS: Final = (
    _model(
        "minimax-h3-official",
        "MiniMax-H3",
        credits=10,
        credits_by={"2k": "1.6"},
        credits_per_image=5,
        amounts={"768p": "0.08", "2k": "0.13"},
        per_input_image="0.04",
        free_input_images=5,
        media={
            "references": files(9, ways=_WAYS, bytes_max=20 * MEGABYTE, data_uri_bytes_max=4 * MEGABYTE),
            "audio": files(3, "audio", ways=_WAYS, bytes_max=15 * MEGABYTE, data_uri_bytes_max=4 * MEGABYTE),
        },
        checks=(Apart("references", _FRAMES), Apart("audio", _FRAMES), Needs("audio", "references")),
    ),
    _model(
        "minimax-h3-max",
        "MiniMax-H3-Max",
        credits=7,
        credits_by={"768p": "1.6"},
        credits_per_image=9,
        amounts={"480p": "0.05", "768p": "0.08"},
        per_input_image="0.074",
        free_input_images=2,
        media={},
        checks=(),
    ),
)
