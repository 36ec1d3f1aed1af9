"""One question to a provider, and when its answer that there is no such task counts."""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rushes import telemetry
from rushes.domain.task import Failed, NoAnswer, PollResult
from rushes.providers.base import Provider
from rushes.run.lane.remote_task import RemoteTask

NOT_FOUND_IN_A_ROW = 5
"""How often "there is no such task" must be said by answers that do not name the task. From a gateway that
gives one answer of ten to another question, twice in a row came to one task of 3,600."""

ID_CHARACTERS_MIN = 6
"""A shorter id may stand in an answer's words by chance, as a status or a count does."""

T = TypeVar("T")
log = telemetry.logger()


async def ask(provider: Provider | None, remote_task_id: str, *, name: str, host: str | None) -> PollResult:
    """One poll. None cannot be asked."""
    if provider is None:
        return cannot_be_asked(host)
    try:
        return await provider.poll_remote_task(remote_task_id)
    except Exception as error:
        return raised(name, error)


async def contained(ask_it: Callable[[], Awaitable[T]], *, name: str) -> T | NoAnswer:
    """The answer to any other question."""
    try:
        return await ask_it()
    except Exception as error:
        return raised(name, error)


def raised(name: str, error: Exception) -> NoAnswer:
    """A provider must not raise; one that does is contained and named."""
    log.error(telemetry.PROVIDER_RAISED, provider=name, error=type(error).__name__)
    return NoAnswer(f"the provider raised {type(error).__name__}")


def cannot_be_asked(host: str | None) -> NoAnswer:
    """What there is of a task at a host where its provider is not any more."""
    return NoAnswer(f"it was sent to {host}, which cannot be asked now")


def is_gone(task: RemoteTask, answer: Failed, asked_at: float) -> bool:
    """Whether "there is no such task" counts: after the grace or at the last poll, when it names the task or
    is said often enough in a row.
    """
    return asked_at >= min(task.not_found_from, task.hard_deadline) and (
        answer.names_task
        or _has_word(answer.error_message, task.remote_task_id)
        or task.misses >= NOT_FOUND_IN_A_ROW - 1
    )


def _has_word(text: str, remote_task_id: str) -> bool:
    """Whether the text names the id: all of it, and not as a part of another one."""
    if len(remote_task_id) < ID_CHARACTERS_MIN:
        return False
    return re.search(rf"(?<![\w-]){re.escape(remote_task_id)}(?![\w-])", text) is not None
