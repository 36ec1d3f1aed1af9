"""The shapes of bodies and answers, for the OpenAPI document.

Answers are built by `engine.views`; requests of batches are checked by `domain.prompts`, which the command
line uses too. These models describe both, and the tests hold the answers against them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rushes.domain.credits import CREDITS_MAX
from rushes.domain.prompts import BATCH_ITEMS_MAX, CUSTOM_ID_CHARACTERS_MAX, PROMPT_CHARACTERS_MAX
from rushes.domain.retries import RETRIES_MAX, TRIES_MAX

REQUEST_ID_CHARACTERS_MAX = 128

Status = Literal["pending", "processing", "succeeded", "failed"]
BatchStatusName = Literal["pending", "processing", "succeeded", "partial", "failed", "cancelled"]
Ok = Literal[True]
Count = Annotated[int, Field(ge=0)]
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
_PROMPT = r"[^\s\x00-\x1f\x7f-\x9f]"


class Closed(BaseModel):
    """An object without fields beyond those named."""

    model_config = ConfigDict(extra="forbid")


# --- requests -------------------------------------------------------------------------------------------


class Options(Closed):
    """What a model may be told beside the prompt; which of them it takes is the model's matter."""

    aspect_ratio: Literal["16:9", "9:16"] | None = Field(None, description="Wide or upright.")
    duration: int | None = Field(None, ge=1, description="Seconds; Sora takes 10 or 15.")
    size: Literal["small", "large"] | None = Field(None, description="Sora's two sizes.")
    resolution: Literal["360p", "480p", "720p", "768p", "1080p", "4k"] | None = Field(
        None, description="Lines of the picture."
    )
    reference_url: str | None = Field(None, max_length=2048, description="The URL of one image.")
    first_frame_url: str | None = Field(
        None, max_length=2048, description="The URL of an image to begin with."
    )
    last_frame_url: str | None = Field(None, max_length=2048, description="The URL of an image to end with.")
    reference_urls: list[str] | None = Field(
        None, min_length=1, max_length=9, description="URLs of images to go by."
    )
    audio_urls: list[str] | None = Field(None, min_length=1, max_length=3, description="URLs of sounds.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="For models that repeat themselves with it.")


class BatchItem(Options):
    """One video to make."""

    prompt: str = Field(
        min_length=1, max_length=PROMPT_CHARACTERS_MAX, pattern=_PROMPT, description="What shall be seen."
    )
    model: str = Field(
        "sora-2", examples=["sora-2", "veo-flash", "minimax-h3"], description="A model's name, or an alias."
    )
    custom_id: str | None = Field(
        None,
        min_length=1,
        max_length=CUSTOM_ID_CHARACTERS_MAX,
        pattern=_PRINTABLE,
        description="Your own name of the item; no two items of a batch share one.",
    )
    metadata: dict[str, Any] | None = Field(None, description="Up to 4 KiB of JSON, given back as it is.")


RetryReason = Literal[
    "input_moderation", "output_moderation", "model_error", "timeout", "network", "not_found", "unknown"
]


class StopLoss(Closed):
    """Ends a batch's re-rolls when too few of its tries pass."""

    pass_rate_min: float = Field(gt=0, le=1, description="The share of tries that must succeed.")
    after: int = Field(ge=1, le=TRIES_MAX, description="Tries that must have ended before it is looked at.")


class RetryPolicy(Closed):
    """When failed items are tried again, and what ends that."""

    max: int = Field(ge=0, le=RETRIES_MAX, description="Re-rolls of one item.")
    reasons: list[RetryReason] | None = Field(
        None, min_length=1, description="All but `input_moderation` when absent."
    )
    credits_max: int | None = Field(
        None, ge=0, le=CREDITS_MAX, description="What re-rolls may cost and hold, together."
    )
    stop_loss: StopLoss | None = Field(None, description="Ends re-rolls when too few tries pass.")
    last_model: str | None = Field(None, description="Makes an item's last try, at its own price.")


Retries = Annotated[int, Field(ge=0, le=RETRIES_MAX)] | RetryPolicy


class Quote(Options):
    """A batch's items, or a template with its variables; `model` and options are for items without."""

    items: list[BatchItem] | None = Field(
        None, min_length=1, max_length=BATCH_ITEMS_MAX, description="The videos; or give a `template`."
    )
    template: str | None = Field(
        None, max_length=2 * PROMPT_CHARACTERS_MAX, description="A prompt with `{names}` of variables."
    )
    variables: dict[str, list[str]] | None = Field(
        None, description="Each variable's values; every combination is an item."
    )
    max_outputs: int | None = Field(
        None, ge=1, le=BATCH_ITEMS_MAX, description="At most so many of the combinations."
    )
    model: str | None = Field(None, description="For items that name none.")
    retries: Retries | None = Field(None, description="How often a failed item is retried, or a policy.")


class NewBatch(Quote):
    """A quote's body and what concerns only a batch."""

    request_id: str | None = Field(
        None,
        min_length=1,
        max_length=REQUEST_ID_CHARACTERS_MAX,
        pattern=_PRINTABLE,
        description="Makes a repeat harmless: the same id and body are the same batch.",
    )
    webhook_url: str | None = Field(None, max_length=2048, description="Gets the batch's events.")


class NewVideo(Closed):
    """As the OpenAI SDK sends it."""

    prompt: str = Field(
        min_length=1, max_length=PROMPT_CHARACTERS_MAX, pattern=_PROMPT, description="What shall be seen."
    )
    model: str | None = Field("sora-2", description="A model's name, or an alias.")
    seconds: str | int | None = Field(None, description="4, 8 and 12 become the next length on offer.")
    size: Literal["720x1280", "1280x720", "1024x1792", "1792x1024"] | None = Field(
        None, description="Upright or wide; the larger ones are Sora's `large`."
    )
    input_reference: str | dict[str, Any] | None = Field(
        None, description="An image's URL, or `{image_url}`."
    )


# --- answers --------------------------------------------------------------------------------------------


class AcceptedBatch(Closed):
    """The new batch, or the one that an earlier request with the same id made."""

    ok: Ok
    batch_id: str
    request_id: str
    status: BatchStatusName
    total_count: Count
    cost_per_video: Count | None
    required_credits: Count
    available_credits: Count
    idempotent_replay: bool


class BatchCounts(Closed):
    """A batch's counts and credits."""

    batch_id: str
    request_id: str
    status: BatchStatusName
    total_count: Count
    succeeded_count: Count
    failed_count: Count
    processing_count: Count
    pending_count: Count
    cost_per_video: Count | None
    credits_reserved: Count
    credits_settled: Count
    credits_refunded: Count
    created_at: str
    completed_at: str | None


class BatchFacts(BatchCounts):
    """A batch."""

    eta_seconds: float | None


class Batch(BatchFacts):
    """A batch, as asked for by its id."""

    ok: Ok


class BatchPage(Closed):
    """Batches, newest first."""

    ok: Ok
    data: list[BatchFacts]
    has_more: bool


class Archive(Closed):
    """What is kept of a video: `due` is still to be fetched, the others are final."""

    state: Literal["due", "stored", "expired", "refused", "removed"]
    reason: str | None
    bytes: Count | None
    sha256: str | None
    width: Count | None
    height: Count | None
    duration_seconds: float | None
    stored_at: str | None
    spritesheet_url: str | None


class ItemFacts(Closed):
    """One item of a batch, as an event tells it: without its prompt, and with the provider's own link."""

    item_id: str
    index: Count
    custom_id: str | None
    status: Status
    progress: Annotated[int, Field(ge=0, le=100)]
    model: str
    alias: Annotated[str | None, Field(description="What was asked for, if that names several models.")]
    held_reason: Annotated[str | None, Field(description="Why a pending item is not sent for now.")]
    video_url: str | None
    thumbnail_url: str | None
    error: str | None
    failure_type: str | None
    attempt: Count
    metadata: dict[str, Any] | None
    created_at: str
    completed_at: str | None


class Item(ItemFacts):
    """One item of a batch, as it is after its newest try."""

    prompt: str
    archive: Archive | None


class ItemPage(Closed):
    """Items in their order."""

    ok: Ok
    items: list[Item]
    total: Count
    limit: Count
    offset: Count


class Attempt(Closed):
    """One attempt of an item: `resubmitted` ones were given up without ending their try."""

    index: Count
    try_: Annotated[int, Field(ge=1, alias="try")]
    attempt: Count
    status: Literal["pending", "processing", "succeeded", "failed", "resubmitted"]
    model: str
    provider: str
    api_model: str
    remote_task_id: str | None
    credits: Count
    error: str | None
    failure_type: str | None
    video_url: str | None
    created_at: str
    dispatched_at: str | None
    completed_at: str | None


class ItemAttempts(Closed):
    """All attempts of an item, oldest first."""

    ok: Ok
    batch_id: str
    item_id: str
    attempts: list[Attempt]


class BatchRerolls(Closed):
    """What a batch's tries have come to; `credits_used` is what re-rolls cost that have not failed."""

    ok: Ok
    batch_id: str
    policy: RetryPolicy | None
    rerolls_count: Count
    credits_used: Count
    stopped_at: str | None
    tries_ended: Count
    tries_passed: Count
    pass_rate: float | None


class ModelPassRate(Closed):
    """How often tries of a model pass."""

    model: str
    tries: Count
    passed: Count
    failed: Count
    pass_rate: float | None
    failures: dict[str, int]
    credits_settled: Count


class PromptPassRate(Closed):
    """How often tries of a prompt pass."""

    prompt: str
    tries: Count
    passed: Count
    pass_rate: float | None


class PassRates(Closed):
    """The account's pass rates; `is_cut_short` tells that only the newest tries were counted."""

    ok: Ok
    since: str
    tries: Count
    is_cut_short: bool
    models: list[ModelPassRate]
    prompts: list[PromptPassRate]


class CancelledBatch(Closed):
    """What was not at a provider yet has failed CANCELLED; the rest runs on to its verdict."""

    ok: Ok
    batch_id: str
    status: Literal["cancelled"]
    credits_refunded: Count


class RetriedItem(Closed):
    """A failed item that waits again, with a new reservation."""

    ok: Ok
    batch_id: str
    item_id: str
    status: Literal["pending"]
    required_credits: Count
    available_credits: Count


class QuotedModel(Closed):
    """A model's share."""

    model: str
    count: Count
    credits_per_video: Count
    credits: Count


class ExpectedFinish(Closed):
    """When the last video is done, in half and in 95 of 100 cases."""

    p50_seconds: Count
    p95_seconds: Count
    p50_at: str
    p95_at: str


class QuoteAnswer(Closed):
    """What the batch would cost, and when it would be done."""

    ok: Ok
    total_count: Count
    required_credits: Count
    available_credits: Count
    sufficient: bool
    cost_per_video: Count | None
    models: list[QuotedModel]
    expected_finish: ExpectedFinish


class Lot(Closed):
    """Credits of one kind and expiry."""

    kind: Literal["permanent", "bonus"]
    remaining: Count
    expires_at: str | None


class Balance(Closed):
    """The account's credits."""

    ok: Ok
    account: str
    available: Count
    reserved: Count
    total: Count
    lots: list[Lot]


class LedgerEntry(Closed):
    """One line; `delta` and `balance_after` speak of available credits, so a settle has delta 0."""

    id: Count
    type: Literal["reserve", "settle", "refund", "purchase", "bonus", "expire", "adjust"]
    delta: int
    balance_after: Count
    batch_id: str | None
    item_id: str | None
    description: str
    created_at: str


class LedgerPage(Closed):
    """Entries, newest first."""

    ok: Ok
    entries: list[LedgerEntry]
    total: Count
    limit: Count
    offset: Count


class VideoError(Closed):
    """Why a video failed."""

    code: str
    message: str


class Video(Closed):
    """A video in the shape of OpenAI's."""

    id: str
    object: Literal["video"]
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: Annotated[int, Field(ge=0, le=100)]
    model: str
    prompt: str
    seconds: str | None
    size: str
    created_at: int
    completed_at: int | None
    expires_at: int | None
    remixed_from_video_id: str | None
    error: VideoError | None


class VideoPage(Closed):
    """Videos, newest first."""

    object: Literal["list"]
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedVideo(Closed):
    """The video is gone from this list, and its file with it; its batch and its ledger entries stay."""

    id: str
    object: Literal["video.deleted"]
    deleted: Literal[True]


class Delivery(Closed):
    """One event on its way to one webhook; the id is its `webhook-id`."""

    delivery_id: str
    type: str
    batch_id: str
    url: str
    status: Literal["pending", "delivered", "failed", "disabled"]
    attempts: Count
    http_status: int | None
    error: str | None
    created_at: str
    delivered_at: str | None
    next_attempt_at: str | None


class DeliveryAnswer(Closed):
    """A delivery that is sent again."""

    ok: Ok
    delivery: Delivery


class DeliveryPage(Closed):
    """Deliveries, newest first."""

    ok: Ok
    data: list[Delivery]
    has_more: bool


class WebhookSecret(Closed):
    """The account's signing secret."""

    ok: Ok
    secret: str


class Healthy(Closed):
    """The process answers."""

    ok: Ok


class Ready(Closed):
    """The service can do its work."""

    ok: Ok
    database: Literal["ok"]
    schema_revision: str
    live_worker: Literal[True]


class CallbackTaken(Closed):
    """What every well-formed callback is answered."""

    success: Literal[True]


class Tick(Closed):
    """What one bounded pass did."""

    ok: Ok
    dispatch: dict[str, int]
    poll: dict[str, int]
    settle: dict[str, int]
    archive: dict[str, int]
    duration_ms: Count
