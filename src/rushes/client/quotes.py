"""What a quote answers, as typed dictionaries."""

from typing import TypedDict


class QuotedModel(TypedDict):
    """A model's share of a quote."""

    model: str
    count: int
    credits_per_video: int | None
    credits: int


class QuotedItem(TypedDict):
    """What one item costs."""

    index: int
    model: str
    credits: int


class FinishSeconds(TypedDict):
    """Seconds until the last video is done, in half and in 95 of 100 cases."""

    p50: int
    p95: int


class ExpectedFinish(TypedDict):
    """When the last video is done, in half and in 95 of 100 cases."""

    p50_seconds: int
    p95_seconds: int
    p50_at: str
    p95_at: str


class DuplicateItem(TypedDict):
    """An item that asks for the same as an earlier one."""

    index: int
    same_as: int


class BoughtItem(TypedDict):
    """An item that asks for what the account bought in the last 30 days."""

    index: int
    item_id: str
    completed_at: str
    is_stored: bool


class ExpectedOfModel(TypedDict):
    """What best of n comes to with one model, by the account's own clips of 90 days."""

    model: str
    items: int
    clips: int
    accepted: int
    credits_per_item: float | None
    chance: float | None
    chance_interval: list[float] | None


class QuotedAcceptance(TypedDict):
    """What a batch with `accept` is expected to cost; None is what is not known yet."""

    n_max: int
    credits_max: int | None
    expected_credits: float | None
    expected_accepted: float | None
    models: list[ExpectedOfModel]


class Quote(TypedDict):
    """What a batch would cost, and when it would be done."""

    total_count: int
    required_credits: int
    credits_max: int
    available_credits: int
    sufficient: bool
    cost_per_video: int | None
    models: list[QuotedModel]
    items: list[QuotedItem]
    duplicates: list[DuplicateItem]
    bought_before: list[BoughtItem]
    reuse_saves_credits: int
    accept: QuotedAcceptance | None
    expected_finish: ExpectedFinish
    finish_seconds: FinishSeconds
