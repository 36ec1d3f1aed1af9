"""The shapes of quotes: what a batch would cost, and when it would be done."""

from typing import Annotated

from pydantic import Field

from rushes.api.shapes.models import Count, Ok
from rushes.api.shapes.requests import Closed


class QuotedModel(Closed):
    """A model's share."""

    model: str
    count: Count
    credits_per_video: Annotated[Count | None, Field(description="Null where its items differ.")]
    credits: Count


class QuotedItem(Closed):
    """What one item costs."""

    index: Count
    model: str
    credits: Count


class FinishSeconds(Closed):
    """Seconds until the last video is done, in half and in 95 of 100 cases."""

    p50: Count
    p95: Count


class ExpectedFinish(Closed):
    """When the last video is done, in half and in 95 of 100 cases."""

    p50_seconds: Count
    p95_seconds: Count
    p50_at: str
    p95_at: str


class DuplicateItem(Closed):
    """An item with the prompt, model, inputs and options of an earlier one."""

    index: Count
    same_as: Count


class BoughtItem(Closed):
    """An item that asks for what the account bought in the last 30 days."""

    index: Count
    item_id: Annotated[str, Field(description="The item that was bought, the newest one.")]
    completed_at: str
    is_stored: Annotated[bool, Field(description="Whether its file can be reused.")]


Share = Annotated[float, Field(ge=0, le=1)]


class ExpectedOfModel(Closed):
    """What best of n comes to with one model, by the account's own clips of 90 days."""

    model: str
    items: Count
    clips: Annotated[Count, Field(description="Clips with a verdict; below 8 the rest is null.")]
    accepted: Count
    credits_per_item: Annotated[float | None, Field(description="What an item's clips cost on average.")]
    chance: Annotated[Share | None, Field(description="That an item gets an accepted clip.")]
    chance_interval: Annotated[
        list[Share] | None, Field(description="The same at the ends of the share's 95 % interval.")
    ]


class QuotedAcceptance(Closed):
    """What a batch with `accept` is expected to cost; null is what is not known yet."""

    n_max: Count
    credits_max: Count | None
    expected_credits: float | None
    expected_accepted: Annotated[float | None, Field(description="Items that get an accepted clip.")]
    models: list[ExpectedOfModel]


class QuoteAnswer(Closed):
    """What the batch would cost, and when it would be done."""

    ok: Ok
    total_count: Count
    required_credits: Count
    credits_max: Annotated[
        Count, Field(description="What the first clips cost at most; more than required only with `auto`.")
    ]
    available_credits: Count
    sufficient: bool
    cost_per_video: Count | None
    models: list[QuotedModel]
    items: list[QuotedItem]
    duplicates: Annotated[
        list[DuplicateItem], Field(description="Items that ask for the same as an earlier one.")
    ]
    bought_before: Annotated[
        list[BoughtItem], Field(description="Items that ask for the same as a success of the last 30 days.")
    ]
    reuse_saves_credits: Annotated[
        Count, Field(description="What `reuse` saves; with it, the prices are without them already.")
    ]
    accept: Annotated[QuotedAcceptance | None, Field(description="Null without `accept`.")]
    expected_finish: ExpectedFinish
    finish_seconds: FinishSeconds
