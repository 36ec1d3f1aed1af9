"""What services' own error codes mean, as data: a family's table says it, and this turns it into outcomes.

A code has dotted parts (`Throttling.RateQuota`); an entry is for a code that is it, or starts with its parts.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    Failed,
    FailureType,
    NotSent,
    Rejected,
    SubmitOutcome,
    Throttled,
)
from rushes.providers.answers import Complaint, Words, complaint_of, failure_type_of_text, words_in
from rushes.providers.http.transport import Response, retry_after_seconds


class Meaning(Enum):
    """What a code says of the request that it answers."""

    KEY = "the key is not accepted"
    ACCOUNT = "the account cannot buy: everything has to wait"
    MODEL = "this account cannot use this model"
    BUSY = "too much at once"
    PARAMETER = "a parameter is wrong"
    INPUT_MODERATION = "the prompt or a picture was refused"
    OUTPUT_MODERATION = "the video was refused"
    MODEL_ERROR = "the service failed"


Meanings: TypeAlias = Mapping[str, Meaning]

_FAILURES: Final[Mapping[Meaning, FailureType]] = {
    Meaning.MODEL: FailureType.PARAM_ERROR,
    Meaning.PARAMETER: FailureType.PARAM_ERROR,
    Meaning.INPUT_MODERATION: FailureType.INPUT_MODERATION,
    Meaning.OUTPUT_MODERATION: FailureType.OUTPUT_MODERATION,
    Meaning.MODEL_ERROR: FailureType.MODEL_ERROR,
}


def meaning_of(code: str, meanings: Meanings) -> Meaning | None:
    """The meaning of the longest entry that the code starts with, in dotted parts; None without one."""
    parts = code.split(".")
    for length in range(len(parts), 0, -1):
        found = meanings.get(".".join(parts[:length]))
        if found is not None:
            return found
    return None


def failure_type_of_code(code: str, meanings: Meanings) -> FailureType | None:
    """What kind of failure a code is; None for one that is in no table, and for troubles of the account."""
    found = meaning_of(code, meanings)
    return None if found is None else _FAILURES.get(found)


def coded_refusal(
    response: Response, meanings: Meanings, words: Words, hints: Mapping[str, str] = MappingProxyType({})
) -> SubmitOutcome | None:
    """The outcome of a submit that was refused with a code of the table, and an HTTP status of 400 to 499.

    None otherwise; see `refusal_that_says`.
    """
    said = complaint_of(response.body)
    if said is None or not 400 <= response.status < 500:
        return None
    http = f"HTTP {response.status}: "
    found = refusal_that_says(said, meanings, words, hints, http=http)
    if isinstance(found, Throttled):
        return Throttled(found.reason, retry_after_seconds(response))
    return found


def refusal_that_says(
    said: Complaint,
    meanings: Meanings,
    words: Words,
    hints: Mapping[str, str] = MappingProxyType({}),
    *,
    http: str = "",
) -> SubmitOutcome | None:
    """The outcome of a submit that was answered with this complaint.

    `hints` say what to do about some codes, by how these start: the reason starts with it. None where the
    code alone is not certain: one in no table, and a failure that may come after the service took the task.
    """
    meaning = meaning_of(said.code, meanings)
    hint = next((text for start, text in hints.items() if f"{said.code}.".startswith(f"{start}.")), "")
    text = f"{said.message} ({said.code})" if said.message and said.code else said.text
    reason = words.clean(f"{hint}: {text}" if hint else text)
    return None if meaning is None else _refusal(meaning, reason, http)


def _refusal(meaning: Meaning, reason: str, http: str) -> SubmitOutcome | None:
    match meaning:
        case Meaning.KEY:
            why = f"the key was refused ({http}{reason})"
            return NotSent(why, pauses_provider=True, key_refused=True)
        case Meaning.ACCOUNT:
            return NotSent(reason, pauses_provider=True)
        case Meaning.BUSY:
            return Throttled(reason)
        case Meaning.MODEL | Meaning.PARAMETER:
            return Rejected(reason, FailureType.PARAM_ERROR)
        case Meaning.INPUT_MODERATION | Meaning.OUTPUT_MODERATION:
            return Rejected(reason, FailureType.INPUT_MODERATION)
        case Meaning.MODEL_ERROR:
            return None
        case other:
            assert_never(other)


def failed_with_code(error: object, meanings: Meanings, words: Words) -> Failed:
    """A remote task that failed with `{code, message}`: its kind by the code, else by the words."""
    message = words_in(error) or ""
    code = error.get("code") if isinstance(error, dict) else None
    code = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    by_text = failure_type_of_text(message) or FailureType.MODEL_ERROR
    failure_type = failure_type_of_code(code, meanings) or by_text
    return Failed(words.clean(message or code or REMOTE_TASK_FAILED), failure_type)
