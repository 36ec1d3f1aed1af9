"""What providers share: answers that are fit to be kept, and outcomes of HTTP statuses.

Answers are decoded strictly: a wrong type, a missing field or an unknown status is no answer at all, and
never ends a task. Fields that a protocol does not have are ignored.
"""

from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.transport import Response, retry_after_seconds

MESSAGE_CHARACTERS_MAX: Final = 1000
REMOTE_TASK_ID_CHARACTERS_MAX: Final = 200
VIDEO_URL_CHARACTERS_MAX: Final = 8192

SECRET_CHARACTERS_MIN: Final = 8
"""A shorter key is not masked where the service repeats it: it could be any word."""

NO_SUCH_ID: Final = NoAnswer("the remote task id is none that can be asked about")

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the expected JSON."""

Progress = Annotated[int, msgspec.Meta(ge=0, le=100)]


def accepted(remote_task_id: str) -> Accepted | Unknown:
    """`Accepted`, unless the id is none that could ever be polled."""
    if is_remote_task_id(remote_task_id):
        return Accepted(remote_task_id)
    return Unknown("accepted without a usable id")


def is_remote_task_id(text: str) -> bool:
    """Whether it can be an id: not empty, printable and not too long to be stored."""
    return 0 < len(text) <= REMOTE_TASK_ID_CHARACTERS_MAX and text.isprintable()


def path_segment(remote_task_id: str) -> str:
    """The id quoted for a URL's path; raises `ValueError` for one that cannot stand there."""
    if remote_task_id in ("", ".", ".."):  # clients take dots for the way up
        raise ValueError("it names no task")
    return quote(remote_task_id, safe="")


def succeeded(video_url: str, progress: int, provider_cost: float | None = None) -> PollResult:
    """`Succeeded`, or what a success without a usable URL is."""
    if not video_url:
        return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR, provider_cost)
    if not is_video_url(video_url):
        return NoAnswer("the video URL is not a URL", http_status=200)
    return Succeeded(video_url, progress, provider_cost)


def is_video_url(text: str) -> bool:
    """Whether it can be a URL to fetch from: not empty, printable and not too long to be stored."""
    return 0 < len(text) <= VIDEO_URL_CHARACTERS_MAX and text.isprintable()


def no_answer(response: Response) -> NoAnswer:
    """What a poll answered with an HTTP status other than 2xx is."""
    return NoAnswer(f"HTTP {response.status}", response.status, retry_after_seconds(response))


class Words:
    """Texts of the service, made fit to be kept: one printable line, bounded, without our key."""

    def __init__(self, *, secret: str) -> None:
        self._secret = secret

    def clean(self, text: str) -> str:
        """Control characters (PostgreSQL refuses NUL) become spaces; an echoed key is masked."""
        if len(self._secret) >= SECRET_CHARACTERS_MIN and self._secret in text:
            text = text.replace(self._secret, "***")
        text = text[:MESSAGE_CHARACTERS_MAX]
        return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)

    def undecodable(self, error: Exception) -> str:
        """Why an answer is none; names the field, for msgspec does."""
        return self.clean(f"undecodable answer: {error}")

    def failure(self, failure_reason: str | None, error: str | None, *, moderated: bool = False) -> Failed:
        """A remote task that ended badly; `moderated` when its status alone says so."""
        message = self.clean(failure_reason or error or REMOTE_TASK_FAILED)
        match failure_reason:
            case "input_moderation":
                return Failed(message, FailureType.INPUT_MODERATION)
            case "output_moderation":
                return Failed(message, FailureType.OUTPUT_MODERATION)
            case _ if moderated:
                return Failed(message, FailureType.OUTPUT_MODERATION)
            case _:
                by_text = failure_type_of_text(f"{failure_reason or ''} {error or ''}")
                return Failed(message, by_text or FailureType.MODEL_ERROR)


_TELLING_WORDS: Final[tuple[tuple[FailureType, tuple[str, ...]], ...]] = (
    # The account's trouble has no kind of its own. It comes first: "invalid api key" is no bad parameter.
    (
        FailureType.UNKNOWN,
        ("api key", "apikey", "api_key", "insufficient", "balance", "quota", "disabled", "余额", "密钥"),
    ),
    (
        FailureType.OUTPUT_MODERATION,
        (
            *("third-party", "third party", "similarity", "moderation", "content policy", "policies"),
            *("violat", "guardrail", "sensitive", "违规", "敏感", "审核"),
        ),
    ),
    (FailureType.PARAM_ERROR, ("parameter", "invalid", "required", "unsupported", "not support", "参数")),
)


def failure_type_of_text(text: str) -> FailureType | None:
    """The last resort for statistics: the first row of the table with a word that `text` contains."""
    text = text.lower()
    for failure_type, words in _TELLING_WORDS:
        if any(word in text for word in words):
            return failure_type
    return None


def failure_type_of_refusal(text: str) -> FailureType:
    """The same for a refused submit: nothing was made yet, so what is moderated is the input."""
    match failure_type_of_text(text):
        case FailureType.OUTPUT_MODERATION:
            return FailureType.INPUT_MODERATION
        case None if "prompt" in text.lower():
            return FailureType.INPUT_MODERATION
        case found:
            return found or FailureType.UNKNOWN


_KEY_REFUSED: Final = frozenset({401, 402, 403})
_WRONG_HOST: Final = frozenset({404, 405})
_BAD_REQUEST: Final = frozenset({400, 413, 414, 415, 422})


def outcome_of_http_status(response: Response, words: Words, said: str | None) -> SubmitOutcome:
    """What a submit answered with an HTTP status other than 2xx is; `said` is the body's complaint, if any.

    `NotSent` and a pause for what is wrong with the account or the host: all tasks would meet it. A 404
    counts as a wrong host, for the path is the API's own. `Unknown` for 5xx and for every status that
    does not say that the request was refused: whatever answered may stand in front of a service that
    took the task.
    """
    status = response.status
    reason = words.clean(f"HTTP {status}: {said}" if said else f"HTTP {status}")
    if status == 429:
        return Throttled(reason, retry_after_seconds(response))
    if status in _KEY_REFUSED:
        return NotSent(f"the key was refused ({reason})", pauses_provider=True, key_refused=True)
    if status in _WRONG_HOST or 300 <= status < 400:
        return NotSent(f"no such API at this host ({reason})", pauses_provider=True)
    if status in _BAD_REQUEST:
        return Rejected(words.clean(said) if said else reason, FailureType.PARAM_ERROR)
    return Unknown(reason)
