"""What the client raises: the errors of `rushes.domain.errors` where the API's code is theirs, and these.

Every error has the API's `code`, `retryable`, and in `facts` the HTTP `status`, the `request_id` (it finds
the request in the service's log) and whatever else the refusal names.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from rushes.domain import errors
from rushes.domain.errors import RushesError

MESSAGE_CHARACTERS_MAX: Final = 1000


class ServiceRefused(RushesError):
    """The service refused with a code that no other class stands for."""

    def __init__(self, message: str, *, code: str = "REFUSED", retryable: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.code = code  # type: ignore[misc] # the API's own, one per error
        self.retryable = retryable  # type: ignore[misc]


class RateLimited(ServiceRefused):
    """More requests than the key may make. `retry_after_seconds` is what the service asked to wait."""

    retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float | None, code: str, **facts: Any) -> None:
        super().__init__(message, code=code, retryable=True, **facts)
        self.retry_after_seconds = retry_after_seconds


class ServiceUnreachable(RushesError):
    """No complete answer came; of an unsafe request nobody knows whether it took effect."""

    code = "SERVICE_UNREACHABLE"
    retryable = True


class UnexpectedAnswer(RushesError):
    """An answer that no rushes service gives: a wrong address, or something in between that answers."""

    code = "UNEXPECTED_ANSWER"


class StillRunning(RushesError, TimeoutError):
    """The time given to `watch` or `wait` is over; the batch runs on."""

    code = "STILL_RUNNING"
    retryable = True


class ClientClosed(RushesError):
    """The client was used after its end."""

    code = "CLIENT_CLOSED"


_PLAIN: Final[Mapping[str, type[RushesError]]] = {
    kind.code: kind
    for kind in (
        errors.IdempotencyKeyReused,
        errors.IdempotencyInProgress,
        errors.NotFound,
        errors.BatchNotCancellable,
        errors.ItemNotRetryable,
        errors.ItemNotAdoptable,
        errors.DatabaseBusy,
        errors.DatabaseUnreachable,
    )
}
_OF_INPUT: Final[Mapping[str, type[errors.InputError]]] = {
    kind.code: kind for kind in (errors.InputError, errors.UnknownModel, errors.ModelRetired)
}


def error_from(status: int, headers: Mapping[str, str], body: bytes) -> RushesError:
    """The error that an answer of 400 and above stands for. `headers` have lower-case names."""
    document = _problem(body)
    if document is None:
        return ServiceRefused(
            f"HTTP {status} from something that is not rushes",
            code="UNEXPECTED_ANSWER",
            retryable=status in (502, 503, 504),
            status=status,
        )
    said = document["error"]  # under the paths of OpenAI's API, OpenAI's own object
    code = str(said.get("code") if isinstance(said, dict) else said)
    message = str(document["message"])[:MESSAGE_CHARACTERS_MAX]
    facts = {
        name: value
        for name, value in document.items()
        if name not in ("ok", "error", "message", "type", "title", "detail")
    }
    error = _error(code, message, status, facts, retry_after_seconds(headers))
    error.facts = {**facts, **error.facts, "status": status}
    return error


def _error(
    code: str, message: str, status: int, facts: Mapping[str, Any], wait_seconds: float | None
) -> RushesError:
    required, available = facts.get("required"), facts.get("available")
    if code == errors.InsufficientCredits.code and isinstance(required, int) and isinstance(available, int):
        return errors.InsufficientCredits(required=required, available=available)
    if code in _OF_INPUT:
        field = facts.get("field")
        where = field if isinstance(field, str) else None
        return _OF_INPUT[code](message.removeprefix(f"{where}: "), field=where)
    if code in _PLAIN:
        return _PLAIN[code](message)
    if status == 401:
        return errors.NotAuthorised(message, error=code)
    if status == 429:
        return RateLimited(message, retry_after_seconds=wait_seconds, code=code)
    return ServiceRefused(message, code=code, retryable=status >= 500 and wait_seconds is not None)


def _problem(body: bytes) -> dict[str, Any] | None:
    """The problem document in these bytes, if they are one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not {"error", "message"} <= document.keys():
        return None
    return document


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds that `Retry-After` asks for; None without one, or when it names a date."""
    value = headers.get("retry-after", "").strip()
    return float(value[:9]) if value.isascii() and value.isdecimal() else None
