"""The seam between the task core and a service's wire format: paths and JSON shapes, nothing else.

To simulate another service, write one `Wire` in a file of its own and add it to wires.py: it says which
requests are its own, reads them into the calls below and puts the core's decisions into its words.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec

from rushes.simulator.fate import Family, Outcome
from rushes.simulator.message import FILES_PREFIX, SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitCall:
    """A well-formed submit. `marker` tells equal prompts apart in the report, where the wire has one;
    `resolution` is the wire's own word, where what a task is charged depends on it. `submit_key` is the
    client's own name for it, where the wire has a field for one: it must be new.
    """

    model: str
    family: Family
    prompt: str
    portrait: bool
    duration_seconds: int
    resolution: str = ""
    input_images: int = 0
    marker: str = ""
    callback_url: str | None = None
    callback_progress: bool = True
    submit_key: str = ""
    videos: int = 1
    wants_last_frame: bool = False
    is_inline: bool = False


@dataclass(frozen=True, slots=True)
class PollCall:
    """A well-formed question for one task; `detail` is the wire's own, for services that ask in two ways.

    Where a poll takes two requests, only one is the `first`, and each `tells` the verdicts of some
    outcomes (None: of all) with a success's URL or a failure's reason; the others it leaves to the second.
    """

    task_id: str
    detail: str = ""
    first: bool = True
    tells: Collection[Outcome] | None = None


@dataclass(frozen=True, slots=True)
class FileCall:
    """A request for a task's file at a path of the wire's own."""

    task_id: str


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Asks for the end of a task."""

    task_id: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FindCall:
    """Asks for the task by the client's own key."""

    submit_key: str


@dataclass(frozen=True, slots=True)
class TokenCall:
    """Asks for a token, with what proves who asks."""


class Cancelling(Enum):
    """What a cancel came to: the task waited and will not start, it runs or has ended, or there is none."""

    DONE = "done"
    RUNNING = "running"
    ENDED = "ended"
    NO_SUCH_TASK = "no_such_task"


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """A request that the service would not understand; `reason` names the field."""

    reason: str
    submit: bool


Call: TypeAlias = SubmitCall | PollCall | FileCall | CancelCall | FindCall | TokenCall | MalformedCall


class Refusal(Enum):
    """Why a submit is not accepted although it was understood, or a request not even read."""

    UNAUTHORISED = "invalid api key"
    KEY_DISABLED = "the api key is disabled"
    BALANCE_EXHAUSTED = "insufficient credits"
    PROMPT = "the prompt was refused"
    MALFORMED = "bad request"
    DUPLICATE = "the submit key was used before"


OUTCOMES_OF_MOST = frozenset(Outcome) - {Outcome.VIOLATION, Outcome.BUSINESS_CODE}


class Wire(Protocol):
    """One service's protocol. All methods are pure; those with a body are what most services do."""

    @property
    def name(self) -> str:
        """Names the wire in the report."""
        ...

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """The outcomes that this protocol can say: all but those that only Grsai has, for most."""
        return OUTCOMES_OF_MOST

    @property
    def answers_name_the_task(self) -> bool:
        """Whether an answer to a poll says which task it is about; else nobody can see that it is swapped."""
        return True

    @property
    def has_dialects(self) -> bool:
        """Whether gateways speak this protocol, each in a way of its own: see gateways.py."""
        return False

    @property
    def token_path(self) -> str:
        """Where a service account gets its tokens, of a service that takes no keys; empty for all others."""
        return ""

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """The environment variables that lead rushes to this wire."""
        ...

    def key(self, request: SimRequest) -> str | None:
        """The key in a request, None without one."""
        return key_after("Bearer", request)

    def video_path(self, task_id: str) -> str:
        """The path of a result file's URL: one that needs no key, unless the wire has its own."""
        return f"{FILES_PREFIX}{task_id}.mp4"

    def match(self, method: str, path: str) -> bool:
        """Whether this request is for this service."""
        ...

    def read(self, request: SimRequest) -> Call:
        """A matching request in the core's words. Raises nothing."""
        ...

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """The answer to an accepted submit; `base_url` is where the service is, without a last slash."""
        ...

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """The answer to a refusal, account-level ones included."""
        ...

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The answer to a poll."""
        ...

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """The answer to a poll for a task that does not exist, or no longer."""
        ...

    def charge_of(self, task: SimTask, outcome: Outcome) -> float | None:
        """What a verdict says that the task is charged, in the service's unit; None where it says nothing."""
        return None

    @property
    def cancels_running_tasks(self) -> bool:
        """Whether a cancel ends a task that renders, too. It is billed all the same."""
        return False

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """The answer to a cancel, for services that have one."""
        return self.refused(Refusal.MALFORMED, f"{call.task_id} cannot be cancelled: {came_to.value}")

    def found(self, call: FindCall, view: TaskView | None) -> SimResponse:
        """The answer to a question by the client's own key, for services that have one; None for no task."""
        return self.refused(Refusal.MALFORMED, "there is no such question")

    def callback_body(self, view: TaskView) -> bytes | None:
        """What is posted to the callback URL, or None when the protocol has no words for it."""
        return None


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a body that is not the expected JSON."""

CALLBACK_URL_CHARACTERS_MAX = 2_000
TASK_ID_CHARACTERS_MAX = 500


def key_after(scheme: str, request: SimRequest) -> str | None:
    """The key of an `Authorization` header of that scheme: `Bearer`, `Key`."""
    given, _, key = request.headers.get("authorization", "").partition(" ")
    return key if given == scheme else None


def is_task_id(text: str) -> bool:
    """Whether a part of a path can be a task's id."""
    return 0 < len(text) <= TASK_ID_CHARACTERS_MAX and "/" not in text


def is_callback_url(url: str) -> bool:
    """Whether the simulator would post to this URL."""
    return url.startswith(("http://", "https://")) and len(url) <= CALLBACK_URL_CHARACTERS_MAX
