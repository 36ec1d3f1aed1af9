"""The table of a lane: every attempt that the worker owns at one provider, by the state that it is in.

claim ──> claimed ──> sending ──> polled ──> (ended)
             │           ├──────> unconfirmed ──> polled, when its remote id becomes known
             │           │             └────────> (given up, after the grace period)
             └───────────┴──────> (returned: it certainly did not leave, its task is pending again)
"""

from collections.abc import Iterable
from itertools import chain

from rushes.run.lane.remote_task import RemoteTask
from rushes.store.tasks import ClaimedTask, OwnedTask


class Attempts:
    """The attempts of one worker at one provider, by task id, each in one state.

    - `claimed`: the intent is committed, the request has not left.
    - `sending`: its submit is under way.
    - `unconfirmed`: nobody knows whether the provider took it; it stays reserved until that is known.
    - `polled`: the provider named it; oldest first.

    A task has two entries only while the end of an earlier attempt has been committed and not yet answered
    for. `is_in_doubt` says that there may be attempts of this worker in the database which are not here;
    `adrift` are some of them, `(task_id, attempt)`: the database has refused their ends, or the answer to
    their release was lost.
    """

    __slots__ = ("adrift", "claimed", "is_in_doubt", "polled", "sending", "unconfirmed")

    def __init__(self) -> None:
        self.claimed: dict[int, ClaimedTask] = {}
        self.sending: dict[int, ClaimedTask] = {}
        self.unconfirmed: dict[int, OwnedTask] = {}
        self.polled: dict[int, RemoteTask] = {}
        self.adrift: set[tuple[int, int]] = set()
        self.is_in_doubt = False

    def __contains__(self, task_id: int) -> bool:
        return task_id in self.polled or self.is_submitting(task_id) or task_id in self.unconfirmed

    def is_submitting(self, task_id: int) -> bool:
        """Whether its submit has no answer yet."""
        return task_id in self.claimed or task_id in self.sending

    @property
    def submitting_count(self) -> int:
        """Attempts whose submit has no answer yet."""
        return len(self.claimed) + len(self.sending)

    @property
    def in_flight(self) -> int:
        """Attempts at the provider; one that is unconfirmed may well be there, and takes a place."""
        return len(self.polled) + len(self.unconfirmed)

    def claim(self, task: ClaimedTask) -> None:
        """Its intent is committed."""
        self.claimed[task.task_id] = task

    def start_sending(self, task: ClaimedTask) -> None:
        """Its request may leave from now on."""
        del self.claimed[task.task_id]
        self.sending[task.task_id] = task

    def take_submitting(self, task_id: int) -> bool:
        """Its submit has ended; False when that is known already."""
        claimed = self.claimed.pop(task_id, None)
        return (self.sending.pop(task_id, None) or claimed) is not None

    def known(self) -> set[tuple[int, int]]:
        """The `(task_id, attempt)` of all of them, and of those that are adrift."""
        tables: tuple[Iterable[ClaimedTask | OwnedTask | RemoteTask], ...] = (
            *(self.claimed.values(), self.sending.values()),
            *(self.unconfirmed.values(), self.polled.values()),
        )
        return self.adrift | {(task.task_id, task.attempt) for task in chain.from_iterable(tables)}

    def hold_unconfirmed(self, task: OwnedTask) -> None:
        """Nobody knows whether the provider took it."""
        self.unconfirmed.pop(task.task_id, None)
        self.unconfirmed[task.task_id] = task
