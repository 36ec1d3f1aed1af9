"""The state machine of a video task, and the closed sets of answers that drive it.

Read this file first. A task is `pending` until a worker commits the intent to submit it, `processing`
while its attempt is at the provider, and then `succeeded` or `failed` for good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final, Literal, TypeAlias, assert_never


class TaskStatus(StrEnum):
    """The four states of a row in `video_tasks`; the last two are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        # dispatched (the intent is committed) · cancelled before it was · took the file of an equal item
        TaskStatus.PENDING: frozenset({TaskStatus.PROCESSING, TaskStatus.FAILED, TaskStatus.SUCCEEDED}),
        # verdict · verdict, deadline or unconfirmed submit · the provider certainly has no such task yet
        TaskStatus.PROCESSING: frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.PENDING}),
        TaskStatus.SUCCEEDED: frozenset(),
        TaskStatus.FAILED: frozenset(),
    }
)

FINAL_STATUSES = frozenset(status for status, followers in TRANSITIONS.items() if not followers)


class BatchStatus(StrEnum):
    """The states of a batch; `pending` and `processing` are open, the others closed."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FailureType(StrEnum):
    """Why a task failed, for statistics; derived from typed facts first, from text last."""

    INPUT_MODERATION = "input_moderation"
    """The prompt was refused before anything was rendered."""
    OUTPUT_MODERATION = "output_moderation"
    """The video was rendered and then refused."""
    MODEL_ERROR = "model_error"
    """The model failed, or delivered no video."""
    PARAM_ERROR = "param_error"
    """The provider did not take the options."""
    TIMEOUT = "timeout"
    """Something took too long: the provider says so, or no verdict came before the model's hard deadline."""
    NETWORK = "network"
    """The provider names its own network as the cause."""
    NOT_FOUND = "not_found"
    """The provider does not know the task."""
    CANCELLED = "cancelled"
    """It was cancelled, its deadline passed, or its chain stopped, before the provider had started it."""
    UNKNOWN = "unknown"
    """Nothing tells the cause."""


# Error messages that rushes itself writes into `video_tasks.error`; all others are the provider's words.
REMOTE_ERROR = "REMOTE_ERROR"
"""The provider answered with an error, without a word about it."""
REMOTE_TASK_FAILED = "REMOTE_TASK_FAILED"
"""The provider's verdict is that the task failed, without a word about it."""
SUCCEEDED_WITHOUT_VIDEO_URL = "SUCCEEDED_WITHOUT_VIDEO_URL"
"""The provider's verdict is success, but it names no video."""
SUBMIT_OUTCOME_UNKNOWN = "SUBMIT_OUTCOME_UNKNOWN"
"""Nobody knows whether the submit arrived, and the time of grace is over; see RUSHES_UNCONFIRMED_POLICY."""
ID_OF_ANOTHER_ATTEMPT = "the id belongs to another attempt"
"""Why an attempt that was given a remote id does not carry it, and is unconfirmed."""
TIMEOUT = "TIMEOUT"
"""There was no verdict before the model's hard deadline, nor from a last poll."""
CANCELLED = "CANCELLED"
"""The batch, or the item, was cancelled before the task was submitted, or while it waited at the provider."""
DEADLINE = "DEADLINE"
"""The task's deadline passed before it was submitted."""
CHAIN_BROKEN = "CHAIN_BROKEN"
"""With the item and the reason after a colon: the task has no first frame, as its chain stopped before it."""


# --- what one poll of a remote task can answer -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The network or the answer was bad: nothing is known, the task is left for the next poll.

    `is_about_another_task` says that the answer names another task than the one that was asked about.
    """

    ok: ClassVar[Literal[False]] = False

    error: str
    http_status: int | None = None
    retry_after_seconds: float | None = None
    is_about_another_task: bool = False


QUEUE_POSITION_MAX: Final = 1_000_000
"""No queue is longer; a position above is none."""


@dataclass(frozen=True, slots=True)
class Processing:
    """The provider is still rendering. `progress` is 0..100, or None when the provider did not say.

    `is_queued` is set when it says that it has not started yet. `queue_position` is then how many tasks are
    before this one, 0 to `QUEUE_POSITION_MAX`, or None when the provider did not say. Both serve the schedule
    alone: answers that differ in nothing else are equal.
    """

    ok: ClassVar[Literal[True]] = True
    status: ClassVar[TaskStatus] = TaskStatus.PROCESSING

    progress: int | None
    is_queued: bool = field(default=False, compare=False)
    queue_position: int | None = field(default=None, compare=False)


class OutputKind(StrEnum):
    """What a file is that a success brings besides its video."""

    VIDEO = "video"
    LAST_FRAME = "last_frame"
    IMAGE = "image"
    AUDIO = "audio"
    FILE = "file"


FURTHER_FILES_MAX: Final = 16
"""Files besides the video that are kept of one success."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a success brings besides its video."""

    kind: OutputKind
    url: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The provider delivered a video; `video_url` is never empty. `further_files` are what came besides it.

    `provider_cost` is what the provider says that it charged, None where it says nothing, and
    `provider_cost_unit` what it counts in: a currency (`USD`), or its own unit (`credits`).
    """

    ok: ClassVar[Literal[True]] = True
    status: ClassVar[TaskStatus] = TaskStatus.SUCCEEDED

    video_url: str
    progress: int = 100
    provider_cost: float | None = None
    provider_cost_unit: str | None = None
    further_files: tuple[OutputFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider's final refusal; `error_message` is never empty. Some are charged: see `Succeeded`.

    `names_task` says of a `NOT_FOUND` that the answer has the asked id in a field of its own.
    """

    ok: ClassVar[Literal[True]] = True
    status: ClassVar[TaskStatus] = TaskStatus.FAILED

    error_message: str
    failure_type: FailureType
    provider_cost: float | None = None
    provider_cost_unit: str | None = None
    names_task: bool = False


PollResult: TypeAlias = NoAnswer | Processing | Succeeded | Failed
Verdict: TypeAlias = Succeeded | Failed
"""The two poll results that end a task."""


def poll_result_as_dict(result: PollResult) -> dict[str, object]:
    """The public JSON form: `ok` and, by kind, `status`, `progress`, `video_url`, `error_message`, …

    `provider_cost` and `further_files` are there only where the provider says them.
    """
    said = _said_of(result)
    if isinstance(result, Succeeded) and result.further_files:
        said["further_files"] = [{"kind": file.kind.value, "url": file.url} for file in result.further_files]
    if isinstance(result, Succeeded | Failed) and result.provider_cost is not None:
        said["provider_cost"] = result.provider_cost
        if result.provider_cost_unit is not None:
            said["provider_cost_unit"] = result.provider_cost_unit
    return said


def _said_of(result: PollResult) -> dict[str, object]:
    match result:
        case NoAnswer(error=error, http_status=http_status):
            return {"ok": False, "error": error, "http_status": http_status}
        case Processing(progress=progress):
            return {"ok": True, "status": result.status.value, "progress": progress}
        case Succeeded(video_url=video_url, progress=progress):
            return {
                "ok": True,
                "status": result.status.value,
                "progress": progress,
                "video_url": video_url,
            }
        case Failed(error_message=error_message, failure_type=failure_type):
            return {
                "ok": True,
                "status": result.status.value,
                "error_message": error_message,
                "failure_type": failure_type.value,
            }
        case other:
            assert_never(other)


# --- how one submission of an attempt can end --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the task and named it."""

    remote_task_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider read this task and will not render it: a final failure, nothing was bought."""

    reason: str
    failure_type: FailureType


@dataclass(frozen=True, slots=True)
class Throttled:
    """The provider is too busy and certainly did not take the task; it may be sent again later."""

    reason: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """The task certainly did not reach the provider's queue; it may be sent again.

    `pauses_provider` tells that the fault is the account's, not the task's: sending the next task would
    fail alike. `key_refused` tells that it is the key, so that waiting alone will not help.
    """

    reason: str
    pauses_provider: bool = False
    key_refused: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may have taken the task: a blind repeat could buy the video twice."""

    reason: str


SubmitOutcome: TypeAlias = Accepted | Rejected | Throttled | NotSent | Unknown


# --- what asking about a submit, or asking to cancel a task, can answer ------------------------------


def submit_key(batch_id: str, item_index: int, retry_number: int, attempt: int) -> str:
    """Our name for one attempt, unique for good: services that take such a name can be asked by it.

    `batch_id` is the public one, which is random: a database that was restored, or another installation with
    the same account, never gives a name twice to two different attempts. At most 64 characters, all of them
    letters, digits, `_` and `-`.
    """
    return f"{batch_id}-{item_index}-{retry_number}-{attempt}"


@dataclass(frozen=True, slots=True)
class NeverTaken:
    """The service has no task by that submit key: the submit did not arrive."""


FindResult: TypeAlias = Accepted | NeverTaken | NoAnswer
"""What a service says of a submit whose answer was lost."""


@dataclass(frozen=True, slots=True)
class CancelTaken:
    """The service drops the task, if that has not started by now; its polls tell how it ended."""


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """The service does not drop the task: it is rendering, or has ended. Do not ask again."""

    reason: str


CancelResult: TypeAlias = CancelTaken | CancelRefused | NoAnswer
"""What a service says when it is asked to drop a task."""
