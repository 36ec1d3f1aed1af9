"""What really happened on the network: every request of every worker, and what the service made of it.

The engine must be right about it without seeing it. Promise 3 (at most once), promise 7 (limits) and the
times of polls are checked here, at the moment a request leaves; the verdicts of promise 4 in life.py.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from rushes.providers.base import ProviderLimits
from rushes.run.lane.asking_once import NOT_FOUND_IN_A_ROW
from rushes.run.nudges import CONFIRMATIONS_AT_ONCE_MAX
from rushes.simulator.families.wire import Refusal
from rushes.simulator.work import SimTask
from simulation.truth.broken import broken

Attempt = tuple[int, int]
"""A task's id and the number of its attempt."""

WINDOW_SECONDS = 1.0
ANSWER_SECONDS_MAX = 110.0
"""How late the answer to a commit may come."""

_ROUNDING = 1e-6


@dataclass(slots=True)
class Submission:
    """One attempt on its way. Times are virtual seconds."""

    left_at: float
    provider: str
    remote: SimTask | None = None
    refusal: Refusal | None = None
    is_refusal_told: bool = False
    """Whether the answer that says why it was refused came to the worker whole: one that is late does not."""
    named_to: str | None = None
    """The worker identity that got the whole answer with the remote id."""
    host: str = ""
    """Where it was sent."""
    has_left: bool = False
    """Whether anything of it was written."""


@dataclass(slots=True)
class Traffic:
    """The requests to one provider: of one worker identity, or when they left of all that share a limit."""

    submits_under_way: int = 0
    polls_under_way: int = 0
    submits: deque[float] = field(default_factory=deque)
    polls: deque[float] = field(default_factory=deque)


class Sender(NamedTuple):
    """Who sends: the worker identity, and the group of workers that keep the provider's limits together."""

    worker_id: str
    group: str


class Witness:
    """Sees all requests. `trusts_clocks()` tells whether the clocks agree, on which leases and with them the
    shares of the limits rest. `resubmits` tells whether the operator's policy allows a second purchase,
    `gap_of(task_id, polled_at)` is the least time to its next poll when it was polled then,
    `deadline_of(task_id)` is the earliest time at which its hard deadline may be thought to have come."""

    def __init__(
        self,
        *,
        limits: ProviderLimits,
        poll_gap_min_seconds: float,
        resubmits: bool,
        deadline_of: Callable[[int], float],
        gap_of: Callable[[int, float], float],
        trusts_clocks: Callable[[], bool],
    ) -> None:
        self.submissions: dict[Attempt, Submission] = {}
        self.attempt_of_remote: dict[str, Attempt] = {}
        self.remote_by_id: dict[str, SimTask] = {}
        self.last_poll_at: dict[str, float] = {}
        self.adoptions: Counter[str] = Counter()
        self._limits = limits
        self._poll_gap_min_seconds = poll_gap_min_seconds
        self._resubmits = resubmits
        self._deadline_of = deadline_of
        self._gap_of = gap_of
        self._told_to: dict[str, str] = {}
        self._trusts_clocks = trusts_clocks
        self._accepted_of_task: dict[int, int] = {}
        self._traffic: dict[tuple[str, str], Traffic] = {}
        self._polled_at: dict[str, dict[str, float]] = {}
        self._nudges: dict[int, int] = {}
        self._just_adopted: set[str] = set()
        self._released_by: dict[str, str] = {}
        self._taken_back: dict[str, float] = {}
        self._may_ask_again: Counter[str] = Counter()
        self._missed: set[str] = set()
        self._asked_at_once: Counter[str] = Counter()
        self.drop_asked: set[str] = set()
        self.were_refused_a_name: set[int] = set()
        """Tasks that were unconfirmed for a while, also where the database does not say so."""
        self.mixed_up: set[str] = set()
        """Remote ids that were given to a second attempt as well, which asks for them until that is known."""

    def _traffic_of(self, name: str, provider: str) -> Traffic:
        traffic = self._traffic.get((name, provider))
        if traffic is None:
            traffic = self._traffic[name, provider] = Traffic()
        return traffic

    # --- submits ------------------------------------------------------------------------------------

    def submit_leaves(self, sender: Sender, provider: str, attempt: Attempt, now: float) -> Submission:
        """A request for this attempt is handed to the network."""
        if attempt in self.submissions:
            before = self.submissions[attempt].left_at
            broken("SENT_TWICE", f"task {attempt[0]}, attempt {attempt[1]} was sent at {before:.3f} already")
        submission = self.submissions[attempt] = Submission(now, provider)
        group = self._traffic_of(sender.group, provider)
        self._hold_rate("submits", group.submits, self._limits.submits_per_second, now)
        own = self._traffic_of(sender.worker_id, provider)
        own.submits_under_way += 1
        self._hold("submits under way", own.submits_under_way, self._limits.connections_max)
        return submission

    def submit_ends(self, sender: Sender, provider: str) -> None:
        """Its answer arrived, or its failure was noticed."""
        self._traffic_of(sender.worker_id, provider).submits_under_way -= 1

    def accepted(self, attempt: Attempt, remote: SimTask) -> None:
        """The service has taken it."""
        task_id, number = attempt
        submission = self.submissions[attempt]
        if submission.remote is not None:
            broken("ACCEPTED_TWICE", f"task {task_id}, attempt {number} was accepted twice")
        submission.remote = remote
        self.attempt_of_remote[remote.id] = attempt
        self.remote_by_id[remote.id] = remote
        accepted = self._accepted_of_task[task_id] = self._accepted_of_task.get(task_id, 0) + 1
        if accepted > 1 and not self._resubmits:
            broken("BOUGHT_TWICE", f"attempt {number} of task {task_id} was accepted, as was an earlier one")

    def refused(self, attempt: Attempt, refusal: Refusal) -> None:
        """The service has refused it."""
        self.submissions[attempt].refusal = refusal

    def was_bought(self, attempt: Attempt) -> bool:
        """Whether the service has taken the attempt."""
        submission = self.submissions.get(attempt)
        return submission is not None and submission.remote is not None

    # --- polls --------------------------------------------------------------------------------------

    def poll_leaves(
        self,
        sender: Sender,
        provider: str,
        remote_task_id: str,
        now: float,
        *,
        host: str = "",
        is_asked_again: bool = False,
    ) -> None:
        """A poll is handed to the network. A question about an id that a callback has made up has no plan to
        keep; nor has one that `is_asked_again` over a fresh connection, which is the end of the poll before.
        """
        group = self._traffic_of(sender.group, provider)
        self._hold_rate("polls", group.polls, self._limits.polls_per_second, now)
        traffic = self._traffic_of(sender.worker_id, provider)
        traffic.polls_under_way += 1
        if is_asked_again:
            self._hold_asked_again(remote_task_id)
        under_way_max = self._limits.connections_max + CONFIRMATIONS_AT_ONCE_MAX
        self._hold("polls under way", traffic.polls_under_way, under_way_max)
        if remote_task_id not in self.attempt_of_remote or is_asked_again:
            return
        submission = self.submissions.get(self.attempt_of_remote[remote_task_id])
        if submission is not None and submission.host != host:
            broken("ASKED_ELSEWHERE", f"{remote_task_id} was sent to {submission.host}, not to {host}")
        self.last_poll_at[remote_task_id] = now
        polled_at = self._polled_at.setdefault(remote_task_id, {})
        before = polled_at.get(sender.worker_id, -inf)
        polled_at[sender.worker_id] = now
        if remote_task_id in self.mixed_up:
            return
        had_no_name = self.attempt_of_remote[remote_task_id][0] in self.were_refused_a_name
        if self._told_to.get(remote_task_id) == sender.worker_id and not had_no_name:
            broken(
                "VERDICT_DROPPED",
                f"{remote_task_id} is asked for again by {sender.worker_id}, which was told",
            )
        self._hold_gap(remote_task_id, before, now)

    def _hold_gap(self, remote_task_id: str, before: float, now: float) -> None:
        task_id, _ = self.attempt_of_remote[remote_task_id]
        was_missed = remote_task_id in self._missed
        self._missed.discard(remote_task_id)
        gap_min = max(self._poll_gap_min_seconds, self._gap_of(task_id, before))
        if now - before >= gap_min - _ROUNDING:
            self._asked_at_once[remote_task_id] = 0
            if before > -inf:
                self._just_adopted.discard(remote_task_id)
            return
        if was_missed and self._asked_at_once[remote_task_id] < NOT_FOUND_IN_A_ROW:
            self._asked_at_once[remote_task_id] += 1
            return
        nudges = self._nudges.get(task_id, 0)
        if remote_task_id in self._just_adopted:
            self._just_adopted.discard(remote_task_id)
        elif not nudges and now < self._deadline_of(task_id):  # the last poll comes at the deadline
            code = "POLLED_EARLY" if gap_min == self._poll_gap_min_seconds else "OVERDUE_POLLED_OFTEN"
            broken(code, f"{remote_task_id} was polled {now - before:.3f} s after its last poll")
        self._nudges[task_id] = max(0, nudges - 1)

    def missed(self, remote_task_id: str) -> None:
        """The answer "no such task" has come: asked for at once, until it is said often enough in a row."""
        self._missed.add(remote_task_id)

    def answered_over_used(self, remote_task_id: str) -> None:
        """The answer came over a connection that may bring another's: it may be asked for once more."""
        self._may_ask_again[remote_task_id] += 1

    def _hold_asked_again(self, remote_task_id: str) -> None:
        if not self._may_ask_again[remote_task_id]:
            broken("ASKED_TWICE", f"{remote_task_id} is asked for again, its answer was beyond doubt")
        self._may_ask_again[remote_task_id] -= 1

    def poll_ends(self, sender: Sender, provider: str) -> None:
        """Its answer arrived, or its failure was noticed."""
        self._traffic_of(sender.worker_id, provider).polls_under_way -= 1

    def verdict_reached(self, sender: Sender, remote_task_id: str) -> None:
        """The answer with a task's end has come to the worker whole.

        One that was asked for before the worker gave the task away and took it back may come before it knows
        that the task is its own again; so may one that it asked for in between, before it has heard of either.
        """
        if self._taken_back.pop(remote_task_id, None) is not None:
            return
        if sender.worker_id in self._polled_at.get(remote_task_id, {}):
            self._told_to[remote_task_id] = sender.worker_id

    def verdict_refused(self, remote_task_id: str) -> None:
        """The database does not take the task's end: its worker must ask again, whatever the schedule says."""
        self._told_to.pop(remote_task_id, None)
        self._just_adopted.add(remote_task_id)

    def refusal_refused(self, attempt: Attempt) -> None:
        """The database does not take why the provider refused the attempt: nobody can keep that."""
        if attempt in self.submissions:
            self.submissions[attempt].is_refusal_told = False

    def name_refused(self, attempt: Attempt) -> None:
        """The database does not take the attempt's remote id: nobody can keep it."""
        self.were_refused_a_name.add(attempt[0])
        if attempt in self.submissions:
            self.submissions[attempt].named_to = None

    def nudged(self, task_id: int) -> None:
        """A callback came: one poll more of the task may come before its time."""
        self._nudges[task_id] = self._nudges.get(task_id, 0) + 1

    def may_be_followed_anew(self, remote_task_id: str, now: float) -> bool:
        """Whether its owner has just taken it back, and may not have heard that: it forgets then what it knew."""
        return now < self._taken_back.get(remote_task_id, -inf) + ANSWER_SECONDS_MAX

    def released(self, remote_task_id: str, worker_id: str) -> None:
        """Its owner has given the task away."""
        self._released_by[remote_task_id] = worker_id

    def adopted(self, remote_task_id: str, worker_id: str | None, now: float) -> None:
        """The task has a new owner, which polls it first when it likes, also when it is the old one, which has
        polled it before it heard that it was given away; and once more when a callback has come, for the
        owner before may have died between its poll and forgetting the callback."""
        self.adoptions[remote_task_id] += 1
        self._taken_back.pop(remote_task_id, None)
        if self._released_by.pop(remote_task_id, None) == worker_id:
            self._taken_back[remote_task_id] = now
        self._polled_at.pop(remote_task_id, None)
        self._told_to.pop(remote_task_id, None)
        self._asked_at_once[remote_task_id] = 0
        self._just_adopted.add(remote_task_id)
        task_id, _ = self.attempt_of_remote[remote_task_id]
        if task_id in self._nudges:
            self._nudges[task_id] = max(1, self._nudges[task_id])

    # --- limits -------------------------------------------------------------------------------------

    def _hold_rate(self, what: str, times: deque[float], per_second_max: float | None, now: float) -> None:
        if per_second_max is None:
            return
        times.append(now)
        while times[0] <= now - WINDOW_SECONDS + _ROUNDING:
            times.popleft()
        if len(times) > per_second_max and self._trusts_clocks():
            broken("LIMIT", f"{len(times)} {what} in a second, {per_second_max:g} are allowed")

    @staticmethod
    def _hold(what: str, count: int, count_max: int | None) -> None:
        if count_max is not None and count > count_max:
            broken("LIMIT", f"{count} {what}, {count_max} are allowed")
