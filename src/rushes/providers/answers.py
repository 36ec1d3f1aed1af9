"""What providers share: which task an answer is about, its facts, its words, and outcomes of HTTP statuses.

An id, a status and a video's URL are decoded strictly: a wrong type, a missing field or an unknown status is
no answer at all, and never ends a task. Everything beside them (progress, error texts) is read as far as it
can be and dropped where it cannot: an odd form never costs a fact. Unknown fields are ignored.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from rushes.domain.task import (
    FURTHER_FILES_MAX,
    QUEUE_POSITION_MAX,
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    OutputFile,
    OutputKind,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.http.transport import Response, retry_after_seconds

MESSAGE_CHARACTERS_MAX: Final = 1000
REMOTE_TASK_ID_CHARACTERS_MAX: Final = 500
"""LiteLLM packs its route and the upstream's id into one of about 250 characters."""
VIDEO_URL_CHARACTERS_MAX: Final = 8192

SECRET_CHARACTERS_MIN: Final = 8
"""A shorter key is not masked where the service repeats it: it could be any word."""

TOKENS_MAX: Final = 4
"""Tokens that are remembered to be masked, of those that replace each other."""

AMOUNT_MAX: Final = 1e9
"""What a service may say that one video was charged, in any unit; more is no amount."""

NO_SUCH_ID: Final = NoAnswer("the remote task id is none that can be asked about")

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the expected JSON."""

Progress = Annotated[int, msgspec.Meta(ge=0, le=100)]
"""A progress that is exactly one; `progress_of` reads the others too."""

QUEUED: Final = Processing(None, is_queued=True)
"""It waits for its turn, and more is not said."""

RENDERING: Final = Processing(None)
RENDERING_AT: Final[Mapping[int | None, Processing]] = {
    None: RENDERING,
    **{progress: Processing(progress) for progress in range(101)},
}
"""By progress. Most polls are answered by one of these: making it anew is a tenth of reading an answer."""

ABOUT_ANOTHER_TASK: Final = "the answer is about another task"

RemoteId = str | int
"""An id in an answer: a text, or a number that stands for its text."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""Some gateways write it before their JSON (RFC 8259 lets a reader ignore it)."""


# --- which task it is about -----------------------------------------------------------------------------


class AboutAnotherTask(Exception):
    """Raised by what reads an answer to a poll: it names another task. `HttpProvider` makes it no answer,
    and closes the connection that it came over."""


def require_same_task(asked: str, named: RemoteId | None) -> None:
    """Raises `AboutAnotherTask` when the answer names another id than the one asked; None names none."""
    if named != asked and named is not None and str(named) != asked:
        raise AboutAnotherTask


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A verdict whose answer does not say which task it is about, such as a bare error code.

    `HttpProvider.send_poll` takes it only from a fresh connection: on one that was used before it may be the
    late answer to another question.
    """

    verdict: PollResult


# --- facts ----------------------------------------------------------------------------------------------


def accepted(remote_task_id: RemoteId) -> Accepted | Unknown:
    """`Accepted`, unless the id is none that could ever be polled. A number is taken as its text."""
    remote_task_id = str(remote_task_id)
    if is_remote_task_id(remote_task_id):
        return Accepted(remote_task_id)
    return Unknown("accepted without a usable id")


def progress_of(value: object) -> int | None:
    """A progress in per cent as services write it (a number, a fraction of one, `"40"`, `"40%"`), clamped to
    0..100; None for anything else. It never decides anything."""
    if type(value) is int:
        return value if 0 <= value <= 100 else min(max(value, 0), 100)
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            return None
    if isinstance(value, float) and value == value:  # not NaN
        return int(min(max(value, 0.0), 100.0))
    return None


def queue_position_of(value: object) -> int | None:
    """A position in a queue, a whole number; None for anything else. It never decides anything."""
    return value if type(value) is int and 0 <= value <= QUEUE_POSITION_MAX else None


def amount_in(value: object) -> float | None:
    """An amount as services write it (a number, or a decimal text); None for anything else.

    It is what was charged, and never decides anything: a truth, a negative or an endless number, and one
    above `AMOUNT_MAX` are none.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        return None
    return amount if 0 <= amount < AMOUNT_MAX else None


def is_remote_task_id(text: str) -> bool:
    """Whether it can be an id: not empty, printable and not too long to be stored."""
    return 0 < len(text) <= REMOTE_TASK_ID_CHARACTERS_MAX and text.isprintable()


def path_segment(remote_task_id: str) -> str:
    """The id quoted for a URL's path; raises `ValueError` for one that cannot stand there."""
    if remote_task_id in ("", ".", ".."):  # clients take dots for the way up
        raise ValueError("it names no task")
    return quote(remote_task_id, safe="")


def succeeded(
    video_url: str,
    progress: int,
    provider_cost: float | None = None,
    provider_cost_unit: str | None = None,
    further_files: Iterable[tuple[OutputKind, object]] = (),
) -> PollResult:
    """`Succeeded`, or what a success without a usable URL is.

    `further_files` are kinds and URLs; what is no URL there is no file, and costs no verdict.
    """
    if not video_url:
        return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR, provider_cost, provider_cost_unit)
    if not is_video_url(video_url):
        return NoAnswer("the video URL is not a URL", http_status=200)
    files = tuple(
        OutputFile(kind, url) for kind, url in further_files if isinstance(url, str) and is_video_url(url)
    )
    return Succeeded(video_url, progress, provider_cost, provider_cost_unit, files[:FURTHER_FILES_MAX])


def text_in(json: msgspec.Raw, name: str | None = None) -> str | None:
    """The text that the JSON is, or that stands in it under that name; None for all else. Raises nothing."""
    try:
        found = msgspec.json.decode(json)
    except UNDECODABLE:
        return None
    if name is not None:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def kind_of_file(name: object) -> OutputKind:
    """What a file is, by the service's word for it, its content type or its address; `FILE` for all else."""
    if not isinstance(name, str):
        return OutputKind.FILE
    text = name.lower().partition("?")[0]
    ending = text.rpartition(".")[2]
    if "last_frame" in text:
        return OutputKind.LAST_FRAME
    if "video" in text or ending in ("mp4", "mov", "webm"):
        return OutputKind.VIDEO
    if "image" in text or "thumbnail" in text or ending in ("png", "jpg", "jpeg", "webp", "gif"):
        return OutputKind.IMAGE
    if "audio" in text or ending in ("mp3", "wav", "flac", "ogg", "m4a"):
        return OutputKind.AUDIO
    return OutputKind.FILE


def is_video_url(text: str) -> bool:
    """Whether it can be a URL to fetch from: not empty, printable and not too long to be stored."""
    return 0 < len(text) <= VIDEO_URL_CHARACTERS_MAX and text.isprintable()


def no_answer(response: Response, said: str = "") -> NoAnswer:
    """What a poll answered with an HTTP status other than 2xx is; `said` is what its body says."""
    error = f"HTTP {response.status}: {said}" if said else f"HTTP {response.status}"
    return NoAnswer(error, response.status, retry_after_seconds(response))


class Words:
    """Texts of the service, made fit to be kept: one printable line, bounded, without our key."""

    def __init__(self, *secrets: str) -> None:
        # a secret that holds another one is masked whole
        self._secrets = sorted(
            (secret for secret in secrets if len(secret) >= SECRET_CHARACTERS_MIN), key=len, reverse=True
        )
        self._tokens: deque[str] = deque(maxlen=TOKENS_MAX)

    def keep(self, token: str) -> None:
        """A secret that will be replaced by another one: the newest few are masked, too."""
        if len(token) >= SECRET_CHARACTERS_MIN and token not in self._tokens:
            self._tokens.append(token)

    def clean(self, text: str) -> str:
        """Control characters (PostgreSQL refuses NUL) become spaces; an echoed key is masked."""
        for secret in (*self._tokens, *self._secrets):
            if secret in text:
                text = text.replace(secret, "***")
        text = text[:MESSAGE_CHARACTERS_MAX]
        return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)

    def undecodable(self, error: Exception) -> str:
        """Why an answer is none; names the field, for msgspec does."""
        return self.clean(f"undecodable answer: {error}")

    def failure(self, failure_reason: object, error: object, *, moderated: bool = False) -> Failed:
        """A remote task that ended badly; `moderated` when its status alone says so.

        The words are read from whatever form they have: see `words_in`.
        """
        failure_reason, error = words_in(failure_reason), words_in(error)
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


# --- what a refusal says --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the body of a refusal says. `message` is for people; `code` is the service's own word or number
    for it, as text. Either may be empty, not both."""

    message: str
    code: str = ""

    @property
    def text(self) -> str:
        """What to keep: the message, else the code."""
        return self.message or self.code


def complaint_of(body: bytes) -> Complaint | None:
    """What an error body says, in any of the shapes that services use; None when it says nothing readable.

    `error` may be a text or an object, `detail` a text, an object or a list of them, `errors` a list; message
    and code may stand at the top (`{code, message, data}`, `{code, msg}`, `{title, detail}`). It tells words,
    never whether a body is the service's own: a proxy writes such bodies too.
    """
    try:
        said = _decode_any(body.removeprefix(BYTE_ORDER_MARK))
    except UNDECODABLE:
        return None
    message, code = words_in(said), _code_in(said)
    return Complaint(message or "", code) if message or code else None


_decode_any: Final = msgspec.json.Decoder().decode
_MESSAGE_FIELDS: Final = (
    *("error", "errors", "detail", "details", "message", "msg", "error_message", "errorMessage"),
    *("failure_reason", "failure", "reason", "title", "description"),
)
_CODE_FIELDS: Final = ("code", "error_code", "errorCode", "status", "type", "error_type")
_DEPTH_MAX: Final = 4
_PROBLEMS_MAX: Final = 5


def words_in(value: object, depth: int = 0) -> str | None:
    """The words of a message in any form: a text, an object with one, a list of them; None without any."""
    match value:
        case str():
            return value.strip() or None
        case dict() if depth < _DEPTH_MAX:
            found = (words_in(value.get(name), depth + 1) for name in _MESSAGE_FIELDS)
            return next(filter(None, found), None)
        case list() if depth < _DEPTH_MAX:
            found = (words_in(each, depth + 1) for each in value[:_PROBLEMS_MAX])
            return "; ".join(filter(None, found)) or None
        case _:
            return None


def _code_in(value: object, depth: int = 0) -> str:
    """The code of an error, the innermost first: `{code: 400, error: {code: "flagged"}}` is `flagged`."""
    if isinstance(value, list):
        return next(filter(None, (_code_in(each, depth + 1) for each in value[:_PROBLEMS_MAX])), "")
    if not isinstance(value, dict) or depth >= _DEPTH_MAX:
        return ""
    for name in ("error", "errors", "detail", "details"):
        if code := _code_in(value.get(name), depth + 1):
            return code
    for name in _CODE_FIELDS:
        match value.get(name):
            case str(text) if text.strip():
                return text.strip()[:MESSAGE_CHARACTERS_MAX]
            case int(number) if number and number is not True:
                return str(number)
    return ""


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
            *("content_policy", "violat", "guardrail", "sensitive", "flagged", "违规", "敏感", "审核"),
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
_ASK_ELSEWHERE: Final = frozenset({307, 308})
_MOVED: Final = frozenset({301, 302})
_BAD_REQUEST: Final = frozenset({400, 413, 414, 415, 422})


def _is_sent_elsewhere(response: Response) -> bool:
    """Whether a redirect says that nothing was done here.

    307 and 308 ask for the same request at another place. 303 means that it was dealt with and that the
    result is elsewhere; services use 301 and 302 for that too, with JSON about what they took (RFC 9110).
    """
    if response.status in _ASK_ELSEWHERE:
        return True
    return response.status in _MOVED and not response.body.lstrip().startswith((b"{", b"["))


def outcome_of_http_status(response: Response, words: Words, said: Complaint | str | None) -> SubmitOutcome:
    """What a submit answered with an HTTP status other than 2xx is; `said` is the body's complaint, if any.

    Its words are kept whatever the outcome, and they tell a moderated prompt from a bad parameter.

    `NotSent` and a pause for what is wrong with the account or the host: all tasks would meet it. A 404
    counts as a wrong host, for the path is the API's own; so does a redirect that asks the same elsewhere.
    `Unknown` for 5xx, 303 and for every status that does not say that the request was refused: whatever
    answered may stand in front of a service that took the task.
    """
    said = Complaint(said) if isinstance(said, str) else said
    status = response.status
    reason = words.clean(f"HTTP {status}: {said.text}" if said else f"HTTP {status}")
    if status == 429:
        return Throttled(reason, retry_after_seconds(response))
    if status in _KEY_REFUSED:
        return NotSent(f"the key was refused ({reason})", pauses_provider=True, key_refused=True)
    if status in _WRONG_HOST or _is_sent_elsewhere(response):
        return NotSent(f"no such API at this host ({reason})", pauses_provider=True)
    if status in _BAD_REQUEST:
        if said is None:
            return Rejected(reason, FailureType.PARAM_ERROR)
        moderated = failure_type_of_text(f"{said.code} {said.message}") is FailureType.OUTPUT_MODERATION
        kind = FailureType.INPUT_MODERATION if moderated else FailureType.PARAM_ERROR
        return Rejected(words.clean(said.text), kind)
    return Unknown(reason)
