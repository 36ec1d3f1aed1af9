"""The shapes of requests' bodies, for the OpenAPI document.

Batches are checked by `domain.input.prompts`, which the command line uses too: these models describe it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rushes.domain.acceptance.best_of import CLIPS_MAX
from rushes.domain.acceptance.judging import REASON_CHARACTERS_MAX
from rushes.domain.acceptance.repairs import NEXT_MODELS_MAX
from rushes.domain.catalogue.media import FILES_MAX
from rushes.domain.catalogue.options import URL_CHARACTERS_MAX
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.input.auto import AMONG_MAX, SEED_MAX
from rushes.domain.input.event_filter import EventType
from rushes.domain.input.prompts import (
    BATCH_ITEMS_MAX,
    CUSTOM_ID_CHARACTERS_MAX,
    PROMPT_CHARACTERS_MAX,
    REQUEST_ID_CHARACTERS_MAX,
)
from rushes.domain.retries import RETRIES_MAX, TRIES_MAX

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
_PROMPT = r"[^\s\x00-\x1f\x7f-\x9f]"


class Closed(BaseModel):
    """An object without fields beyond those named."""

    model_config = ConfigDict(extra="forbid")


class Options(Closed):
    """What a model may be given beside the prompt; which of them it takes depends on the model."""

    aspect_ratio: Literal["16:9", "9:16"] | None = Field(None, description="Wide or upright.")
    duration: int | None = Field(None, ge=1, description="Seconds; Sora takes 10 or 15.")
    size: Literal["small", "large"] | None = Field(None, description="Sora's two sizes.")
    resolution: Literal["360p", "480p", "720p", "768p", "1080p", "4k"] | None = Field(
        None, description="Lines of the picture."
    )
    first_frame: str | None = Field(
        None, max_length=URL_CHARACTERS_MAX, description="An image to start with: its URL or `upl_…` id."
    )
    last_frame: str | None = Field(
        None, max_length=URL_CHARACTERS_MAX, description="An image to end with: its URL or `upl_…` id."
    )
    references: list[str] | None = Field(
        None, min_length=1, max_length=FILES_MAX, description="Images to go by: URLs or `upl_…` ids."
    )
    source_video: str | None = Field(
        None, max_length=URL_CHARACTERS_MAX, description="A video to work on: its URL or `upl_…` id."
    )
    audio: bool | str | list[str] | None = Field(
        None, description="Sounds to go by, as URLs or `upl_…` ids; of some models, whether there is sound."
    )
    reference_url: str | None = Field(
        None, max_length=URL_CHARACTERS_MAX, description="The URL of one image; now `references`."
    )
    first_frame_url: str | None = Field(None, max_length=URL_CHARACTERS_MAX, description="Now `first_frame`.")
    last_frame_url: str | None = Field(None, max_length=URL_CHARACTERS_MAX, description="Now `last_frame`.")
    reference_urls: list[str] | None = Field(
        None, min_length=1, max_length=9, description="Now `references`."
    )
    audio_urls: list[str] | None = Field(None, min_length=1, max_length=3, description="Now `audio`.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="For models that repeat themselves with it.")


class BatchItem(Options):
    """One video to make."""

    prompt: str = Field(
        min_length=1, max_length=PROMPT_CHARACTERS_MAX, pattern=_PROMPT, description="What the video shows."
    )
    model: str | None = Field(
        None, examples=["sora-2", "veo-flash", "minimax-h3"], description="A model's name, or an alias."
    )
    custom_id: str | None = Field(
        None,
        min_length=1,
        max_length=CUSTOM_ID_CHARACTERS_MAX,
        pattern=_PRINTABLE,
        description="Your own name of the item; no two items of a batch share one.",
    )
    metadata: dict[str, Any] | None = Field(None, description="Up to 4 KiB of JSON, given back as it is.")
    options: dict[str, Any] | None = Field(
        None, description="Options of the model by name, as beside this; those of plug-ins too."
    )
    deadline: int | str | None = Field(
        None,
        description="As the batch's, for this item alone; of the two the earlier one holds.",
    )


EventName = EventType | Literal["batch.*", "video.*", "*"]
"""An event's type, or a group of them."""

RepairReason = Literal[
    "audio_moderation",
    "input_moderation",
    "model_error",
    "network",
    "not_found",
    "output_moderation",
    "timeout",
    "unknown",
    "black",
    "broken",
    "clipped",
    "frame_rate",
    "frozen",
    "length",
    "ratio",
    "resolution",
    "silent",
    "judge",
]


RetryReason = Literal[
    "input_moderation",
    "output_moderation",
    "model_error",
    "timeout",
    "network",
    "not_found",
    "unknown",
    "bad_file",
]


GateReason = Literal[
    "black", "frozen", "silent", "clipped", "length", "ratio", "resolution", "frame_rate", "broken"
]


class StopLoss(Closed):
    """Ends a batch's re-rolls when too few of its tries pass."""

    pass_rate_min: float = Field(gt=0, le=1, description="The share of tries that must succeed.")
    after: int = Field(ge=1, le=TRIES_MAX, description="Tries that must have ended before it is looked at.")


class RepairRule(Closed):
    """After a reason, what the next try changes."""

    after: RepairReason = Field(description="A failure, or what a clip was rejected for.")
    do: Literal["sound_off", "seed", "shorter", "lower_resolution", "next_model"] = Field(
        description="What is changed."
    )
    models: list[str] | None = Field(
        None, min_length=1, max_length=NEXT_MODELS_MAX, description="Of `next_model`: the next ones in order."
    )


class RetryPolicy(Closed):
    """When failed items are retried, and what ends that."""

    max: int = Field(ge=0, le=RETRIES_MAX, description="Re-rolls of one item.")
    reasons: list[RetryReason] | None = Field(
        None,
        min_length=1,
        description="All but `input_moderation` and `bad_file` (a success whose file is bad) when absent.",
    )
    credits_max: int | None = Field(
        None, ge=0, le=CREDITS_MAX, description="What re-rolls may cost and hold, together."
    )
    stop_loss: StopLoss | None = Field(None, description="Ends re-rolls when too few tries pass.")
    last_model: str | None = Field(None, description="Makes an item's last try, at its own price.")
    repairs: bool | list[RepairRule] | None = Field(
        None, description="What a next try changes, by reason; true for the usual rules."
    )


Retries = Annotated[int, Field(ge=0, le=RETRIES_MAX)] | RetryPolicy


class GateThresholds(Closed):
    """What an acceptable clip is. A share is a part of the clip's length, from 0 to 1."""

    black_share_max: float | None = Field(None, ge=0, le=1, description="0.3 when absent.")
    frozen_share_max: float | None = Field(
        None, ge=0, le=1, description="Of the longest standstill; 0.5 when absent."
    )
    silent_share_max: float | None = Field(
        None, ge=0, le=1, description="Where sound was asked for; 0.9 when absent."
    )
    clipped_share_max: float | None = Field(
        None, ge=0, le=1, description="Of the samples of sound at full scale; 0.005 when absent."
    )
    sound: bool | None = Field(None, description="Whether clips need sound; the item's own wish when absent.")
    seconds: float | None = Field(None, ge=0.1, le=3600, description="The length, instead of the item's.")
    aspect_ratio: str | None = Field(
        None, pattern=r"^[1-9][0-9]{0,4}:[1-9][0-9]{0,4}$", description="Instead of the item's."
    )
    resolution: Literal["360p", "480p", "540p", "720p", "768p", "1080p", "1440p", "4k"] | None = Field(
        None, description="The least lines, instead of the item's."
    )
    frames_per_second_min: float | None = Field(None, ge=1, le=1000, description="Not looked at when absent.")
    ignore: list[GateReason] | None = Field(None, description="What is no reason to reject a clip.")
    judge: bool | None = Field(None, description="Whether the operator's judge is asked too.")
    score_min: float | None = Field(None, ge=0, le=1, description="The least score that a judge must give.")


class BestOf(Closed):
    """Clips of an item are bought one by one until one is accepted."""

    n_max: int = Field(ge=1, le=CLIPS_MAX, description="Clips that one item may buy.")
    credits_max: int | None = Field(
        None, ge=0, le=CREDITS_MAX, description="What the clips of one item may cost together."
    )
    score_min: float | None = Field(None, ge=0, le=1, description="The least score that a judge must give.")


class AutoRule(Closed):
    """Bounds of the models that are chosen for items whose model is `auto`."""

    among: list[str] | None = Field(
        None, min_length=1, max_length=AMONG_MAX, description="Only these models; all on sale without it."
    )
    credits_max: int | None = Field(None, ge=0, le=CREDITS_MAX, description="What a clip may cost at most.")
    finish_by: str | None = Field(
        None, description="An ISO 8601 time: only models whose videos are there by then, as far as is known."
    )
    seed: int | None = Field(None, ge=0, le=SEED_MAX, description="Makes the draws repeatable.")


class Judgement(Closed):
    """A person's verdict on a clip."""

    verdict: Literal["accepted", "rejected", "accept", "reject"] = Field(
        description="Whether the clip can be used."
    )
    reason: str | None = Field(
        None,
        min_length=1,
        max_length=REASON_CHARACTERS_MAX,
        pattern=_PRINTABLE,
        description="Why, in a few words.",
    )
    score: float | None = Field(None, ge=0, le=1, description="How good it is.")


class NewBatch(Options):
    """Items, or a template with its variables; `model` and options are for items without."""

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
        None, ge=1, le=BATCH_ITEMS_MAX, description="At most this many of the combinations."
    )
    model: str | None = Field(None, description="For items that name none.")
    options: dict[str, Any] | None = Field(
        None, description="Options of the model by name, as beside this; those of plug-ins too."
    )
    retries: Retries | None = Field(None, description="How often a failed item is retried, or a policy.")
    gate: bool | GateThresholds | None = Field(
        None, description="Whether each clip gets a verdict, and what an acceptable one is."
    )
    accept: BestOf | None = Field(None, description="Buys another clip when one is rejected.")
    auto: AutoRule | None = Field(None, description="Bounds the models of items whose model is `auto`.")
    reuse: bool | None = Field(
        None, description="Whether items that ask for the same as another take its file, for 0 credits."
    )
    request_id: str | None = Field(
        None,
        min_length=1,
        max_length=REQUEST_ID_CHARACTERS_MAX,
        pattern=_PRINTABLE,
        description="Makes a repeat harmless: the same id and body are the same batch.",
    )
    webhook_url: str | None = Field(None, max_length=2048, description="Gets the batch's events.")
    webhook_events: list[EventName] | None = Field(
        None, min_length=1, description="Which events `webhook_url` gets; all when absent."
    )
    name: str | None = Field(
        None, min_length=1, max_length=128, pattern=_PRINTABLE, description="Your own name of the batch."
    )
    metadata: dict[str, Any] | None = Field(
        None, description="Up to 4 KiB of JSON, given back as it is; lists of batches can be filtered by it."
    )
    deadline: int | str | None = Field(
        None,
        description="Seconds from now, or an ISO 8601 time: what no provider has by then is cancelled and"
        " refunded.",
    )


class NewVideo(Closed):
    """As the OpenAI SDK sends it."""

    prompt: str = Field(
        min_length=1, max_length=PROMPT_CHARACTERS_MAX, pattern=_PROMPT, description="What the video shows."
    )
    model: str | None = Field(None, description="A model's name, or an alias; the default model without.")
    seconds: str | int | None = Field(None, description="4, 8 and 12 become the next length on offer.")
    size: Literal["720x1280", "1280x720", "1024x1792", "1792x1024"] | None = Field(
        None, description="Upright or wide; the larger ones are Sora's `large`."
    )
    metadata: dict[str, Any] | None = Field(None, description="Up to 4 KiB of JSON, kept with the video.")
    user: str | None = Field(None, max_length=512, description="Taken, and used for nothing.")
    input_reference: str | dict[str, Any] | None = Field(
        None, description="An image's URL, or `{image_url}`."
    )
    options: dict[str, Any] | None = Field(
        None, description="Options of the model by name, as beside this; those of plug-ins too."
    )


class NewFileBatch(Closed):
    """As the OpenAI SDK sends it."""

    input_file_id: str = Field(description="The id of a file that was uploaded.")
    endpoint: Literal["/v1/videos"] = Field(description="Where each request goes.")
    completion_window: str = Field(
        pattern="^[1-9][0-9]{0,3}[hd]$", description="Hours or days, 30 at most, such as `24h`."
    )
    metadata: dict[str, Any] | None = Field(None, description="Up to 4 KiB of JSON, kept with the batch.")
    output_expires_after: dict[str, Any] | None = Field(
        None, description="Taken, and used for nothing: results are there as long as the batch."
    )


class Adoption(Closed):
    """The remote task that an operator found for an item."""

    remote_task_id: str = Field(description="The provider's id of the task.")
    account: str | None = Field(None, description="The item's account; any without.")


class ProviderPause(Closed):
    """Why nothing new is to be sent to a provider."""

    reason: str = Field(
        min_length=1, max_length=200, description="For those who see what waits, and the log."
    )


class NewKey(Closed):
    """What a new key may do."""

    name: str | None = Field(None, max_length=100, description="What it is for.")
    scope: Literal["read", "submit", "admin"] | None = Field(
        None, description="Each may do what the one before may; `submit` when absent."
    )
    rate_limit_per_min: int | None = Field(
        None, ge=1, le=10_000_000, description="Requests a minute; the asking key's when absent, or 600."
    )
    credits_per_day_max: int | None = Field(
        None,
        ge=0,
        le=CREDITS_MAX,
        description="What it may spend in a day (UTC); the asking key's when absent, or no limit.",
    )


class EndpointSettings(Closed):
    """What an endpoint's account decides about it."""

    events: list[EventName] | None = Field(
        None, min_length=1, description="Which events it gets, of all batches; all when absent."
    )
    description: str | None = Field(
        None, min_length=1, max_length=200, pattern=_PRINTABLE, description="Your own words."
    )
    enabled: bool | None = Field(None, description="Whether it is sent anything.")


class NewEndpoint(EndpointSettings):
    """An address for webhooks."""

    url: str = Field(min_length=1, max_length=2048, description="Gets the events by POST; https.")


class ChangedEndpoint(EndpointSettings):
    """What is to change; what is absent stays. `events: null` stands for all."""

    url: str | None = Field(
        None, min_length=1, max_length=2048, description="Gets the events by POST; https."
    )


class EndpointReplay(Closed):
    """From when on what an endpoint did not take is sent again."""

    since: str | None = Field(None, description="An ISO 8601 date or time; without it all of 30 days.")
