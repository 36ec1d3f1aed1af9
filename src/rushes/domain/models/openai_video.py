"""Models of servers with OpenAI's videos API.

Which ones a server has is its own matter: operators name theirs in `RUSHES_MODELS`, `like` one of these.
"""

from types import MappingProxyType
from typing import Final

from rushes.domain.catalogue import Model
from rushes.domain.models.shared import ASPECT_RATIO
from rushes.domain.options import OneOf, OptionSpec, Url, WholeNumber

_OPTIONS: Final[dict[str, OptionSpec]] = {
    "aspect_ratio": ASPECT_RATIO,
    "duration": WholeNumber(1, 20),
    "reference_url": Url(),
}


def _model(name: str, api_model: str, credits: int, options: dict[str, OptionSpec]) -> Model:
    return Model(
        name=name,
        provider="openai-video",
        api_model=api_model,
        credits=credits,
        render_time_p50_seconds=120.0,
        soft_deadline_seconds=1800.0,
        hard_deadline_seconds=7200.0,
        options=MappingProxyType(options),
    )


MODELS: Final = (
    _model("openai-sora-2", "sora-2", 10, _OPTIONS),
    _model("openai-sora-2-pro", "sora-2-pro", 50, {**_OPTIONS, "size": OneOf(("small", "large"))}),
)
