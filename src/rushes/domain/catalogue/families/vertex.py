"""Veo and Gemini Omni on Vertex AI. Google charges by the second, for successes only, and not in the answer.

A public list names 2026-11-17 as the day from which `veo-3.1-generate-001` is deprecated; it was not seen to
be shut down. Costs are those of LiteLLM's price map. For Omni it has none: `rushes models --check` names it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from rushes.domain.catalogue.families.google import OMNI_1_1_OPTIONS, OMNI_OPTIONS, OMNI_PRICE
from rushes.domain.catalogue.families.shared import MEGABYTE, cost, one_file, price
from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import Needs, OneOf, OptionSpec, Seed, WholeNumber, YesNo
from rushes.domain.catalogue.wire import Wire

_AS_OF: Final = "2026-11-28"
_PRICE_MAP: Final = "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json"


_EACH: Final = {str(count): count for count in range(2, 5)}
"""Each of `n` videos is charged."""


def _at(name: str) -> Wire:
    return Wire(path=f"parameters.{name}")


def _picture() -> MediaInput:
    """Vertex takes no https URLs: the bytes, or an object of Cloud Storage."""
    return one_file(ways=("bytes",), bytes_max=20 * MEGABYTE, content_types=("image/png", "image/jpeg"))


def _model(
    name: str,
    api_model: str,
    credits_per_second: int,
    usd_per_second: str,
    by: Mapping[str, Any],
    resolutions: tuple[str, ...],
    *,
    render_time_p50_seconds: float = 90.0,
    note: str | None = None,
) -> Model:
    factors: dict[str, Any] = {"by": {**({"resolution": dict(by)} if by else {}), "n": _EACH}}
    return Model(
        name=name,
        provider="vertex",
        api_model=api_model,
        price=price(per_second=credits_per_second, **factors),
        cost=cost("USD", _AS_OF, _PRICE_MAP, per_second=usd_per_second, **factors),
        render_time_p50_seconds=render_time_p50_seconds,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(_options(resolutions)),
        cross_checks=(Needs("last_frame", "first_frame"),),
        note=note,
    )


def _options(resolutions: tuple[str, ...]) -> dict[str, OptionSpec]:
    return {
        "duration": OneOf((4, 6, 8), default=8, wire=_at("durationSeconds")),
        "resolution": OneOf(resolutions, default="720p", wire=_at("resolution")),
        "aspect_ratio": OneOf(
            ("16:9", "9:16"),
            synonyms={"portrait": "9:16", "landscape": "16:9"},
            wire=_at("aspectRatio"),
        ),
        "sound": YesNo(default=True, wire=_at("generateAudio")),
        "seed": Seed(wire=_at("seed")),
        "n": WholeNumber(1, 4, default=1, wire=_at("sampleCount")),
        "first_frame": _picture(),
        "last_frame": _picture(),
    }


def _omni(name: str, api_model: str, options: Mapping[str, OptionSpec]) -> Model:
    return Model(
        name=name,
        provider="vertex",
        api_model=api_model,
        price=OMNI_PRICE,
        render_time_p50_seconds=90.0,
        soft_deadline_seconds=1200.0,
        hard_deadline_seconds=5400.0,
        options=options,
    )


MODELS: Final = (
    _model(
        "vertex-veo3.1",
        "veo-3.1-generate-001",
        50,
        "0.40",
        {"4k": "1.5"},
        ("720p", "1080p", "4k"),
        render_time_p50_seconds=150.0,
        note="a public list calls it deprecated since 2026-11-17",
    ),
    _model(
        "vertex-veo3.1-fast",
        "veo-3.1-fast-generate-001",
        13,
        "0.10",
        {"1080p": "1.2", "4k": 3},
        ("720p", "1080p", "4k"),
    ),
    _model(
        "vertex-veo3.1-lite",
        "veo-3.1-lite-generate-001",
        7,
        "0.05",
        {"1080p": "1.6"},
        ("720p", "1080p"),
        render_time_p50_seconds=60.0,
    ),
    _omni("vertex-omni", "gemini-omni-1.2-flash", MappingProxyType({**OMNI_OPTIONS, "seed": Seed()})),
    _omni("vertex-omni-1.1", "gemini-omni-1.1-flash-preview", OMNI_1_1_OPTIONS),
)
