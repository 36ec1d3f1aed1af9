"""Models of servers with OpenAI's videos API.

Which ones a server has, and what it charges, is its own matter: operators name theirs in `rushes.toml` or
`RUSHES_MODELS`, `like` one of these. OpenAI's own service has closed.
"""

from types import MappingProxyType
from typing import Final

from rushes.domain.catalogue.families.shared import ASPECT_RATIO, PICTURES, files, price
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, WholeNumber
from rushes.domain.catalogue.price import Price

_OPTIONS: Final[dict[str, OptionSpec]] = {
    "aspect_ratio": ASPECT_RATIO,
    "duration": WholeNumber(1, 20, default=4),
    "references": files(1, ways=("bytes", "url"), content_types=PICTURES),
}


def _model(name: str, api_model: str, sold_for: Price, options: dict[str, OptionSpec]) -> Model:
    return Model(
        name=name,
        provider="openai-video",
        api_model=api_model,
        price=sold_for,
        note="closed at OpenAI: needs another server of its API",
        render_time_p50_seconds=120.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(options),
    )


_PRO_OPTIONS: Final[dict[str, OptionSpec]] = {**_OPTIONS, "size": OneOf(("small", "large"), default="small")}

MODELS: Final = (
    _model("openai-sora-2", "sora-2", price(per_second=12), _OPTIONS),
    _model(
        "openai-sora-2-pro", "sora-2-pro", price(per_second=36, by={"size": {"large": "1.7"}}), _PRO_OPTIONS
    ),
)
