"""A task's fate: drawn once, from seed, model, prompt and how often that prompt came."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from rushes.simulator.draws import Lane, bits, log_normal, uniform
from rushes.simulator.knobs import SimulatorKnobs


class Outcome(StrEnum):
    """How a task ends; the names are those of the knobs."""

    SUCCEEDED = "succeeded"
    OUTPUT_MODERATION = "output_moderation"
    INPUT_MODERATION = "input_moderation"
    ERROR = "error"
    VIOLATION = "violation"
    BUSINESS_CODE = "business_code"
    FORGOTTEN = "forgotten"
    SUCCEEDED_WITHOUT_URL = "succeeded_without_url"
    FAILED_WITHOUT_REASON = "failed_without_reason"
    STUCK = "stuck"
    CANCELLED = "cancelled"
    """Its client asked for that; it is never drawn."""


_OUTCOME_KNOBS = [
    (outcome, outcome.value) for outcome in Outcome if outcome not in (Outcome.SUCCEEDED, Outcome.CANCELLED)
]


class Family(StrEnum):
    """Models that render at one pace."""

    SORA = "sora"
    VEO_FAST = "veo_fast"
    VEO_PRO = "veo_pro"
    MINIMAX = "minimax"


_ERROR_TEXTS = (
    "system error, please try again",
    "third-party similarity: the video resembles protected content",
    "Failed to generate video, please adjust the prompt",
    "the model is busy, please try again later",
    "生成失败,请重试",
)
_MODERATION_TEXTS = (
    "",
    "the content violates the usage policies",
    "This content may violate our guardrails concerning similarity to third-party content.",
)
_BUSINESS_ANSWERS = ((-1, "system busy"), (-5, ""), (500, "internal error"), (1001, "upstream refused"))


@dataclass(frozen=True, slots=True)
class Fate:
    """`render_seconds` from acceptance to the end; `code` and `text` are what the service then says.

    `wording` selects among the equal ways to say the same (absent, null or empty fields).
    """

    outcome: Outcome
    render_seconds: float
    code: int
    text: str
    wording: int


def draw_fate(seed: int, family: Family, possible: Collection[Outcome], knobs: SimulatorKnobs) -> Fate:
    """The fate of the task with this seed. Outcomes that its wire cannot say become successes."""
    outcome = _draw_outcome(uniform(seed, Lane.OUTCOME), knobs)
    if outcome not in possible:
        outcome = Outcome.SUCCEEDED
    median, sigma = _pace(family, knobs)
    wording = bits(seed, Lane.WORDING)
    code, text = 0, ""
    match outcome:
        case Outcome.ERROR:
            text = _ERROR_TEXTS[wording % len(_ERROR_TEXTS)]
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION | Outcome.VIOLATION:
            text = _MODERATION_TEXTS[wording % len(_MODERATION_TEXTS)]
        case Outcome.BUSINESS_CODE:
            code, text = _BUSINESS_ANSWERS[wording % len(_BUSINESS_ANSWERS)]
        case _:
            pass
    return Fate(outcome, log_normal(seed, median=median, sigma=sigma), code, text, wording >> 32)


def _draw_outcome(draw: float, knobs: SimulatorKnobs) -> Outcome:
    threshold = 0.0
    for outcome, knob in _OUTCOME_KNOBS:
        threshold += getattr(knobs, knob)
        if draw < threshold:
            return outcome
    return Outcome.SUCCEEDED


def _pace(family: Family, knobs: SimulatorKnobs) -> tuple[float, float]:
    """Median in seconds and sigma of a family's log-normal render time."""
    sigma: float = getattr(knobs, f"{family.value}_render_sigma")
    if knobs.render_seconds is not None:
        return knobs.render_seconds, sigma
    median: float = getattr(knobs, f"{family.value}_render_seconds")
    return median * knobs.time_scale, sigma
