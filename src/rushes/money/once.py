"""Once for the same items: the batch that an earlier run of them made, and the id of the next one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from rushes.domain.input.prompts import TaskDraft
from rushes.money.accept import request_hash
from rushes.store import batches


@dataclass(frozen=True, slots=True)
class Runs:
    """The batches that runs of the same items made for an account, the newest first."""

    start: str
    rows: Sequence[dict[str, Any]]

    @property
    def earlier(self) -> dict[str, Any] | None:
        """The one that a new run of these items means: the newest open one, else the newest with a success.

        A cancelled batch and one of which every item failed do not count: nothing came of them.
        """
        kept = [row for row in self.rows if row["cancelled_at_ms"] is None]
        unfinished = [row for row in kept if row["finalized_at_ms"] is None]
        done = [row for row in kept if row["succeeded_count"]]
        return next(iter([*unfinished, *done]), None)

    @property
    def next_request_id(self) -> str:
        """The request id of one more."""
        numbers = [int(row["request_id"].removeprefix(self.start)) for row in self.rows]
        return f"{self.start}{max(numbers, default=0) + 1}"


def runs_of(connection: Connection, request_scope: str, drafts: Sequence[TaskDraft]) -> Runs:
    """The runs of these items. What they cost, how they are retried and until when they may be sent does not
    count, only what is made."""
    made = [draft if draft.deadline is None else replace(draft, deadline=None) for draft in drafts]
    start = f"run:{request_hash(made)}:"
    return Runs(start, batches.requests_like(connection, request_scope, start))
