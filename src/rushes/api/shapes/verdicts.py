"""The shapes of verdicts on clips."""

from typing import Annotated, Literal

from pydantic import Field

from rushes.api.shapes.requests import AutoRule, BestOf, Closed, GateThresholds

Count = Annotated[int, Field(ge=0)]

VerdictWord = Literal["accepted", "rejected", "undecided"]


class VerdictFacts(Closed):
    """Whether a success can be used; all null without a verdict, or as long as there is none."""

    verdict: VerdictWord | None
    verdict_reasons: Annotated[
        list[str] | None, Field(description="Such as black, frozen, silent, length; empty when accepted.")
    ]
    verdict_score: Annotated[float | None, Field(ge=0, le=1, description="A judge's score.")]
    verdict_by: Annotated[str | None, Field(description="gate, hook or person:NAME.")]


class JudgedItem(Closed):
    """The verdict that stands; `buys` says that the item buys another clip."""

    ok: Literal[True]
    batch_id: str
    item_id: str
    verdict: Literal["accepted", "rejected"]
    buys: bool


class VerdictCounts(Closed):
    """Clips by verdict; `open` ones have none yet."""

    accepted: Count
    rejected: Count
    undecided: Count
    open: Count


class BatchVerdicts(Closed):
    """What a batch asked of its clips, and what all of them came to, replaced ones included."""

    ok: Literal[True]
    batch_id: str
    gate: GateThresholds | None
    accept: BestOf | None
    auto: Annotated[AutoRule | None, Field(description="The bounds of the models that are chosen.")]
    clips: Count
    replaced: Annotated[int, Field(ge=0, description="Rejected clips whose items bought another one.")]
    verdicts: VerdictCounts
    reasons: Annotated[dict[str, int], Field(description="Rejections by reason, the most frequent first.")]
    credits_settled: Count
    cost_per_accepted: Annotated[float | None, Field(description="Credits of all clips by accepted ones.")]


class AcceptedCost(Closed):
    """One model's clips that have a verdict."""

    model: str
    clips: Count
    accepted: Count
    rejected: Count
    credits_settled: Count
    accepted_share: float | None
    accepted_share_interval: Annotated[list[float], Field(description="95 %, by Wilson.")]
    cost_per_accepted: float | None


class AcceptedCosts(Closed):
    """By model, the cheapest first."""

    ok: Literal[True]
    data: list[AcceptedCost]
