"""The shapes of answers, for the OpenAPI document. `read` builds them; the tests hold them against these."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from rushes.api.shapes.files import Archive, FurtherFile
from rushes.api.shapes.files import Count as Count
from rushes.api.shapes.requests import Closed, RetryPolicy
from rushes.api.shapes.verdicts import VerdictFacts

Status = Literal["pending", "processing", "succeeded", "failed"]
StatusFilter = Literal["pending", "processing", "running", "succeeded", "failed"]
BatchStatusName = Literal["pending", "processing", "succeeded", "partial", "failed", "cancelled"]
BatchStatusFilter = Literal["pending", "processing", "running", "succeeded", "partial", "failed", "cancelled"]
EARLIER_STATUSES: Final[Mapping[str | None, str]] = {"running": "processing"}
"""Words of the earlier service's clients for a status, in filters."""

Ok = Literal[True]


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
    name: str | None
    metadata: dict[str, Any] | None
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

    eta_seconds: Annotated[
        float | None,
        Field(description="Seconds until it is done, half of the time sooner; null if it cannot be known."),
    ]
    eta_reason: Annotated[
        str | None,
        Field(description="What it waits for, such as `1 unconfirmed, decided by 21:40 UTC`."),
    ]


class Batch(BatchFacts):
    """A batch, as asked for by its id."""

    ok: Ok


class BatchPage(Closed):
    """Batches, newest first."""

    ok: Ok
    data: list[BatchFacts]
    has_more: bool


class Unanswered(Closed):
    """The last answer of the provider about an item that was not understood."""

    kind: Annotated[str, Field(description="One of a small set, such as http_503, timeout or undecodable.")]
    reason: str
    count: Annotated[int, Field(ge=1, description="How many such answers there were in a row, of any kind.")]
    since: str
    at: str


LastSubmit = Annotated[
    Unanswered | None,
    Field(description="Why its submit was not taken, or is not known to be, while no remote id is known."),
]
LastPoll = Annotated[
    Unanswered | None,
    Field(description="The last poll, while it brought no answer that is understood."),
]


class ItemFacts(VerdictFacts):
    """One item of a batch, as an event tells it: without its prompt, and with the provider's own link."""

    item_id: str
    index: Count
    custom_id: str | None
    status: Status
    progress: Annotated[int, Field(ge=0, le=100)]
    model: str
    alias: Annotated[str | None, Field(description="What was asked for, if that names several models.")]
    model_choice: Annotated[
        str | None, Field(description="Why it has this model, where the model was left open (`auto`).")
    ]
    held_reason: Annotated[str | None, Field(description="Why a pending item is not sent for now.")]
    follows: Annotated[
        str | None, Field(description="The `custom_id` of the item from whose last frame it starts.")
    ]
    waits_for: Annotated[str | None, Field(description="The same, while it waits for that frame.")]
    video_url: str | None
    expires_at: Annotated[str | None, Field(description="When `video_url` stops working, if it is known.")]
    content_url: Annotated[
        str | None,
        Field(description="The video at this service, for your key; a path where it has no public address."),
    ]
    thumbnail_url: str | None
    error: str | None
    failure_type: str | None
    attempt: Count
    metadata: dict[str, Any] | None
    deadline: Annotated[str | None, Field(description="When it is cancelled unless a provider has it.")]
    created_at: str
    completed_at: str | None
    archive: Archive | None


class ReusedFrom(Closed):
    """The item whose file another one takes; the id is null until that one has ended."""

    item_id: str | None
    index: Annotated[Count | None, Field(description="Of the same batch; null for an item of another one.")]


class NearEqual(Closed):
    """An earlier item of the batch, and in how many of 320 bits the looks of the two clips differ."""

    index: Count
    bits: Count


class Item(ItemFacts):
    """One item of a batch, as it is after its newest try."""

    prompt: str
    further_files: list[FurtherFile]
    options: Annotated[dict[str, Any], Field(description="As the model takes them: its own length, say.")]
    last_submit: LastSubmit
    last_poll: LastPoll
    reused_from: Annotated[
        ReusedFrom | None, Field(description="The equal item whose file it takes, with `reuse`.")
    ]
    near_equal: Annotated[
        NearEqual | None, Field(description="An earlier item whose clip looks the same, if one does.")
    ]


class ItemPage(Closed):
    """Items in their order."""

    ok: Ok
    items: list[Item]
    total: Count
    limit: Count
    offset: Count


class Attempt(VerdictFacts):
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
    last_submit: LastSubmit
    last_poll: LastPoll
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


class RepairedTries(Closed):
    """Tries that ended, with a rule or without it."""

    tries: Count
    passed: Annotated[int, Field(ge=0, description="Successes; where there is a gate, accepted ones.")]
    share: float | None
    share_interval: Annotated[list[float], Field(description="At 95 %, by Wilson.")]
    credits: Count
    cost_per_passed: float | None


class RepairGain(Closed):
    """What a repair has gained, beside tries that were left without it."""

    rule: Annotated[str, Field(description="`frozen:shorter`.")]
    after: str
    do: str
    with_: Annotated[RepairedTries, Field(alias="with")]
    without: RepairedTries
    gain: Annotated[float | None, Field(description="The difference of the shares.")]
    gain_interval: Annotated[list[float], Field(description="At 95 %, by Newcombe.")]
    pays: Literal["yes", "no", "not known"]


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
    repairs: list[RepairGain]


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


class CancelledItem(Closed):
    """An item that no provider had: it has failed CANCELLED."""

    ok: Ok
    batch_id: str
    item_id: str
    status: Literal["failed"]
    credits_refunded: Count


class RetriedItem(Closed):
    """A failed item that waits again, with a new reservation."""

    ok: Ok
    batch_id: str
    item_id: str
    status: Literal["pending"]
    required_credits: Count
    available_credits: Count


class Lot(Closed):
    """Credits of one kind and expiry."""

    kind: Literal["permanent", "bonus"]
    remaining: Count
    expires_at: str | None


class Balance(Closed):
    """The account's credits. Its lots are those that are spent next, 50 at most; the rest is counted."""

    ok: Ok
    account: str
    available: Count
    reserved: Count
    total: Count
    lots: list[Lot]
    further_lots: Count
    further_credits: Count


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
    challenge: Annotated[str | None, Field(description="What a service tried the address with.")] = None


class ProviderState(Closed):
    """Whether a provider takes new tasks from here. `changed`: this request made it so."""

    ok: Ok
    provider: str
    paused: bool
    reason: str | None
    changed: bool


class Tick(Closed):
    """What one bounded pass did."""

    ok: Ok
    dispatch: dict[str, int]
    poll: dict[str, int]
    settle: dict[str, int]
    archive: dict[str, int]
    duration_ms: Count
