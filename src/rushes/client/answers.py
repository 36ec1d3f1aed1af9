"""What the API answers, as typed dictionaries: the field names of the HTTP API, as the library uses them.

A newer service may answer with more fields than are named here; they are handed on.
"""

from typing import Any, Literal, TypedDict

Status = Literal["pending", "processing", "succeeded", "failed"]
BatchStatus = Literal["pending", "processing", "succeeded", "partial", "failed", "cancelled"]


class AcceptedBatch(TypedDict):
    """A new batch, or with `idempotent_replay` the one that the same request made before."""

    batch_id: str
    request_id: str
    status: BatchStatus
    total_count: int
    cost_per_video: int | None
    required_credits: int
    available_credits: int
    idempotent_replay: bool


class Batch(TypedDict):
    """A batch; finished when `completed_at` is not None. Times are ISO 8601 in UTC."""

    batch_id: str
    request_id: str
    status: BatchStatus
    total_count: int
    succeeded_count: int
    failed_count: int
    processing_count: int
    pending_count: int
    cost_per_video: int | None
    credits_reserved: int
    credits_settled: int
    credits_refunded: int
    created_at: str
    completed_at: str | None
    eta_seconds: float | None


class Item(TypedDict):
    """One item of a batch, as it is after its newest try; `progress` is 0 to 100.

    `alias` is what was asked for, if that names several models; `held_reason` why a pending item is not
    sent for now.
    """

    item_id: str
    index: int
    custom_id: str | None
    status: Status
    progress: int
    prompt: str
    model: str
    alias: str | None
    held_reason: str | None
    video_url: str | None
    thumbnail_url: str | None
    archive: dict[str, Any] | None
    error: str | None
    failure_type: str | None
    attempt: int
    metadata: dict[str, Any] | None
    created_at: str
    completed_at: str | None


class CancelledBatch(TypedDict):
    """What was refunded at once; items at a provider run on to their verdict."""

    batch_id: str
    status: Literal["cancelled"]
    credits_refunded: int


class RetriedItem(TypedDict):
    """A failed item that waits again, with a new reservation."""

    batch_id: str
    item_id: str
    status: Literal["pending"]
    required_credits: int
    available_credits: int


Attempt = TypedDict(
    "Attempt",
    {
        "index": int,
        "try": int,
        "attempt": int,
        "status": Literal["pending", "processing", "succeeded", "failed", "resubmitted"],
        "model": str,
        "provider": str,
        "api_model": str,
        "remote_task_id": str | None,
        "credits": int,
        "error": str | None,
        "failure_type": str | None,
        "video_url": str | None,
        "created_at": str,
        "dispatched_at": str | None,
        "completed_at": str | None,
    },
)
"""One attempt of an item; `resubmitted` ones were given up without ending their try."""


class Rerolls(TypedDict):
    """A batch's policy for failed items, and what its tries have come to."""

    batch_id: str
    policy: dict[str, Any] | None
    rerolls_count: int
    credits_used: int
    stopped_at: str | None
    tries_ended: int
    tries_passed: int
    pass_rate: float | None


class PassRates(TypedDict):
    """How often the account's tries pass, by model and by prompt."""

    since: str
    tries: int
    is_cut_short: bool
    models: list[dict[str, Any]]
    prompts: list[dict[str, Any]]


class QuotedModel(TypedDict):
    """A model's share of a quote."""

    model: str
    count: int
    credits_per_video: int
    credits: int


class ExpectedFinish(TypedDict):
    """When the last video is done, in half and in 95 of 100 cases."""

    p50_seconds: int
    p95_seconds: int
    p50_at: str
    p95_at: str


class Quote(TypedDict):
    """What a batch would cost, and when it would be done."""

    total_count: int
    required_credits: int
    available_credits: int
    sufficient: bool
    cost_per_video: int | None
    models: list[QuotedModel]
    expected_finish: ExpectedFinish


class Lot(TypedDict):
    """Credits of one kind and expiry."""

    kind: Literal["permanent", "bonus"]
    remaining: int
    expires_at: str | None


class Balance(TypedDict):
    """The account's credits: `total = available + reserved`."""

    account: str
    available: int
    reserved: int
    total: int
    lots: list[Lot]


class LedgerEntry(TypedDict):
    """One line; `delta` and `balance_after` speak of available credits, so a settle has delta 0."""

    id: int
    type: Literal["reserve", "settle", "refund", "purchase", "bonus", "expire", "adjust"]
    delta: int
    balance_after: int
    batch_id: str | None
    item_id: str | None
    description: str
    created_at: str


class Delivery(TypedDict):
    """One event on its way to one webhook; the id is its `webhook-id`."""

    delivery_id: str
    type: str
    batch_id: str
    url: str
    status: Literal["pending", "delivered", "failed", "disabled"]
    attempts: int
    http_status: int | None
    error: str | None
    created_at: str
    delivered_at: str | None
    next_attempt_at: str | None


class Event(TypedDict):
    """One event of a batch; `id` is its number in the batch, to go on from."""

    id: int
    type: str
    timestamp: str
    data: dict[str, Any]
