"""What the API answers, as typed dictionaries: the field names of the HTTP API, as the library uses them.

A newer service may answer with more fields than are named here; they are handed on.
"""

from typing import Any, Literal, TypedDict

from rushes.client.quotes import Quote as Quote

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
    name: str | None
    metadata: dict[str, Any] | None
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
    eta_reason: str | None


class Unanswered(TypedDict):
    """The last answer of the provider about an item that was not understood; `count` of them in a row."""

    kind: str
    reason: str
    count: int
    since: str
    at: str


class Item(TypedDict):
    """One item of a batch, as it is after its newest try; `progress` is 0 to 100.

    `alias` is what was asked for, if that names several models; `held_reason` why a pending item is not
    sent for now; `follows` the `custom_id` of the item from whose last frame it starts, and `waits_for` the
    same while it waits for that frame. `last_submit` and `last_poll` are the last answer of the provider
    while it was not understood.
    """

    item_id: str
    index: int
    custom_id: str | None
    status: Status
    progress: int
    prompt: str
    model: str
    options: dict[str, Any]
    alias: str | None
    model_choice: str | None
    held_reason: str | None
    follows: str | None
    waits_for: str | None
    last_submit: Unanswered | None
    last_poll: Unanswered | None
    video_url: str | None
    expires_at: str | None
    content_url: str | None
    thumbnail_url: str | None
    archive: dict[str, Any] | None
    further_files: list[dict[str, Any]]
    error: str | None
    failure_type: str | None
    attempt: int
    reused_from: dict[str, Any] | None
    near_equal: dict[str, int] | None
    metadata: dict[str, Any] | None
    deadline: str | None
    created_at: str
    completed_at: str | None


class CancelledBatch(TypedDict):
    """What was refunded at once; items at a provider run on to their verdict."""

    batch_id: str
    status: Literal["cancelled"]
    credits_refunded: int


class CancelledItem(TypedDict):
    """An item that no provider had, and what was refunded."""

    batch_id: str
    item_id: str
    status: Literal["failed"]
    credits_refunded: int


class Upload(TypedDict):
    """A file that any media input takes by its id."""

    upload_id: str
    content_type: str
    bytes: int
    width: int | None
    height: int | None
    duration_seconds: float | None
    sha256: str
    expires_at: str


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
        "last_submit": Unanswered | None,
        "last_poll": Unanswered | None,
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
    repairs: list[dict[str, Any]]


class PassRates(TypedDict):
    """How often the account's tries pass, by model and by prompt."""

    since: str
    tries: int
    is_cut_short: bool
    models: list[dict[str, Any]]
    prompts: list[dict[str, Any]]


class Lot(TypedDict):
    """Credits of one kind and expiry."""

    kind: Literal["permanent", "bonus"]
    remaining: int
    expires_at: str | None


class Balance(TypedDict):
    """The account's credits: `total = available + reserved`.

    `lots` are those that are spent next, 50 at most; `further_lots` more have `further_credits`.
    """

    account: str
    available: int
    reserved: int
    total: int
    lots: list[Lot]
    further_lots: int
    further_credits: int


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
    endpoint_id: str | None
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


class Endpoint(TypedDict):
    """A webhook endpoint; `events` is None for all of them."""

    endpoint_id: str
    url: str
    events: list[str] | None
    description: str | None
    enabled: bool
    disabled_reason: Literal["gone", "owner"] | None
    disabled_at: str | None
    created_at: str


class EndpointWithSecret(TypedDict):
    """The same with the secret that it is signed with, and those that sign as well for a while."""

    endpoint: Endpoint
    secret: str
    older_secrets: list[str]
    previous_until: str | None


class EndpointTest(TypedDict):
    """What a receiver made of a test event."""

    webhook_id: str
    delivered: bool
    http_status: int | None
    error: str | None
    duration_ms: int


class ManifestFile(TypedDict):
    """An item's video, or the `reason` why it has none; `expires_at` while it is not stored yet."""

    item_id: str
    index: int
    custom_id: str | None
    status: Status
    file_name: str | None
    content_url: str | None
    archive_path: str | None
    content_type: str | None
    sha256: str | None
    bytes: int | None
    width: int | None
    height: int | None
    duration_seconds: float | None
    expires_at: str | None
    reason: str | None


class BatchManifest(TypedDict):
    """The videos of a batch."""

    batch_id: str
    status: BatchStatus
    total_count: int
    stored_count: int
    missing_count: int
    files: list[ManifestFile]


class Key(TypedDict):
    """An API key; `shown` is its first characters."""

    key_id: int
    name: str
    shown: str
    scope: Literal["read", "submit", "admin"]
    rate_limit_per_min: int | None
    credits_per_day_max: int | None
    made_by_key_id: int | None
    created_at: str
    last_used_at: str | None
    revoked_at: str | None
    is_this: bool


class NewKey(Key):
    """A new key: the only time that `key` is seen."""

    key: str


class Used(TypedDict):
    """Tries, and the credits that they cost, gave back and hold."""

    tries: int
    succeeded: int
    failed: int
    open: int
    credits_settled: int
    credits_refunded: int
    credits_held: int


class UsageRow(Used):
    """The same of a day, a model or a key; None where it was not asked for."""

    day: str | None
    model: str | None
    key_id: int | None


class Usage(TypedDict):
    """What the batches of a time came to."""

    rows: list[UsageRow]
    total: Used


class AccountEvent(TypedDict):
    """An event of the account's log; `id` is its position."""

    id: int
    batch_id: str
    type: str
    timestamp: str
    data: dict[str, Any]
