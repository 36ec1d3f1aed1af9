"""What is known of a task: when it is claimed, while it is in flight, and when it has just ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rushes.domain.task import TaskStatus
from rushes.domain.trouble import Trouble

REMOTE_TEXT_CHARACTERS_MAX = 4000
"""How much of a provider's error message is stored. A URL is stored whole: cut, it leads nowhere."""


def storable(remote_text: str, *, whole: bool = False) -> str:
    """A provider's text without what a database refuses (NUL, lone surrogates), bounded unless `whole`."""
    kept = remote_text[: None if whole else REMOTE_TEXT_CHARACTERS_MAX]
    if kept.isascii() and kept.isprintable():
        return kept
    return kept.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task whose intent to submit is committed, with all that the submission needs.

    `submit_key` names the attempt at the provider, see `rushes.domain.task.submit_key`.
    """

    task_id: int
    batch_id: int
    attempt: int
    provider: str
    model: str
    api_model: str
    prompt: str
    options: dict[str, Any]
    dispatched_at_ms: int
    submit_key: str = ""


class OwnedTask(NamedTuple):
    """A task in flight as its owner needs to know it."""

    task_id: int
    attempt: int
    provider: str
    model: str
    remote_task_id: str | None
    progress: int
    dispatched_at_ms: int
    unconfirmed_at_ms: int | None
    host: str | None = None
    trouble: Trouble | None = None

    @property
    def is_unanswered(self) -> bool:
        """Whether no outcome of its submit is stored."""
        return self.remote_task_id is None and self.unconfirmed_at_ms is None


def owned_task_from_row(row: Sequence[Any]) -> OwnedTask:
    """From a row with the columns of `OwnedTask`, in its order, and those of its trouble."""
    return OwnedTask(*(*row[:9], None if row[-1] is None else Trouble(*row[9:])))


class FinishedTask(NamedTuple):
    """A task that this transaction has just ended, and whose credits it must now resolve."""

    task_id: int
    batch_id: int
    account_id: int
    attempt: int
    credits: int
    status: TaskStatus
    was: TaskStatus
    provider: str
    retry_number: int = 0
