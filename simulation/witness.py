"""What really happened on the network: every request of every worker, and what the service made of it.

The engine must be right about it without seeing it. Promise 3 (at most once), promise 7 (limits) and the
times of polls are checked here, at the moment a request leaves; the verdicts of promise 4 in life.py.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf

from rushes.engine.nudges import CONFIRMATIONS_AT_ONCE_MAX
from rushes.providers.base import ProviderLimits
from rushes.providers.simulator.work import SimTask
from simulation.broken import broken

Attempt = tuple[int, int]
"""A task's id and the number of its attempt."""

WINDOW_SECONDS = 1.0
_ROUNDING = 1e-6


@dataclass(slots=True)
class Submission:
    """One attempt on its way. Times are virtual seconds."""

    left_at: float
    provider: str
    remote: SimTask | None = None
    answered_status: int | None = None


@dataclass(slots=True)
class Traffic:
    """The requests of one worker identity to one provider."""

    submits: deque[float] = field(default_factory=deque)
    polls: deque[float] = field(default_factory=deque)
    submits_under_way: int = 0
    polls_under_way: int = 0
    in_flight: set[str] = field(default_factory=set)


class Witness:
    """Sees all requests. `resubmits` tells whether the operator's policy allows a second purchase."""

    def __init__(self, *, limits: ProviderLimits, poll_gap_min_seconds: float, resubmits: bool) -> None:
        self.submissions: dict[Attempt, Submission] = {}
        self.attempt_of_remote: dict[str, Attempt] = {}
        self.remote_by_id: dict[str, SimTask] = {}
        self.last_poll_at: dict[str, float] = {}
        self._limits = limits
        self._poll_gap_min_seconds = poll_gap_min_seconds
        self._resubmits = resubmits
        self._accepted_of_task: dict[int, int] = {}
        self._traffic: dict[Hashable, Traffic] = {}
        self._polled_at: dict[tuple[str, str], float] = {}
        self._nudges: dict[str, int] = {}

    def traffic(self, worker_id: str, provider: str) -> Traffic:
        """The requests of that worker identity to that provider."""
        return self._traffic.setdefault((worker_id, provider), Traffic())

    # --- submits ------------------------------------------------------------------------------------

    def submit_leaves(self, worker_id: str, provider: str, attempt: Attempt, now: float) -> Submission:
        """A request for this attempt is handed to the network."""
        if attempt in self.submissions:
            before = self.submissions[attempt].left_at
            broken("SENT_TWICE", f"task {attempt[0]}, attempt {attempt[1]} was sent at {before:.3f} already")
        submission = self.submissions[attempt] = Submission(now, provider)
        traffic = self.traffic(worker_id, provider)
        self._hold_rate("submits", traffic.submits, self._limits.submits_per_second, now)
        traffic.submits_under_way += 1
        self._hold("submits under way", traffic.submits_under_way, self._limits.connections_max)
        in_flight = len(traffic.in_flight) + traffic.submits_under_way
        self._hold("tasks in flight", in_flight, self._limits.in_flight_tasks_max)
        return submission

    def submit_ends(self, worker_id: str, provider: str) -> None:
        """Its answer arrived, or its failure was noticed."""
        self.traffic(worker_id, provider).submits_under_way -= 1

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

    def named(self, worker_id: str, provider: str, remote_task_id: str) -> None:
        """The worker has read the acceptance: the task counts as in flight there."""
        self.traffic(worker_id, provider).in_flight.add(remote_task_id)

    def ended(self, remote_task_id: str) -> None:
        """The end of the remote task's attempt is committed."""
        for traffic in self._traffic.values():
            traffic.in_flight.discard(remote_task_id)

    def was_bought(self, attempt: Attempt) -> bool:
        """Whether the service has taken the attempt."""
        submission = self.submissions.get(attempt)
        return submission is not None and submission.remote is not None

    # --- polls --------------------------------------------------------------------------------------

    def poll_leaves(self, worker_id: str, provider: str, remote_task_id: str, now: float) -> None:
        """A poll is handed to the network."""
        traffic = self.traffic(worker_id, provider)
        self._hold_rate("polls", traffic.polls, self._limits.polls_per_second, now)
        traffic.polls_under_way += 1
        under_way_max = self._limits.connections_max + CONFIRMATIONS_AT_ONCE_MAX
        self._hold("polls under way", traffic.polls_under_way, under_way_max)
        self.last_poll_at[remote_task_id] = now
        before = self._polled_at.get((worker_id, remote_task_id), -inf)
        self._polled_at[worker_id, remote_task_id] = now
        if now - before < self._poll_gap_min_seconds - _ROUNDING:
            nudges = self._nudges.get(remote_task_id, 0)
            if not nudges:
                broken(
                    "POLLED_EARLY", f"{remote_task_id} was polled {now - before:.3f} s after its last poll"
                )
            self._nudges[remote_task_id] = nudges - 1

    def poll_ends(self, worker_id: str, provider: str) -> None:
        """Its answer arrived, or its failure was noticed."""
        self.traffic(worker_id, provider).polls_under_way -= 1

    def nudged(self, remote_task_id: str) -> None:
        """A callback came: one poll more may come before its time."""
        self._nudges[remote_task_id] = self._nudges.get(remote_task_id, 0) + 1

    # --- limits -------------------------------------------------------------------------------------

    def _hold_rate(self, what: str, times: deque[float], per_second_max: float | None, now: float) -> None:
        if per_second_max is None:
            return
        times.append(now)
        while times[0] <= now - WINDOW_SECONDS + _ROUNDING:
            times.popleft()
        if len(times) > per_second_max:
            broken("LIMIT", f"{len(times)} {what} in a second, {per_second_max:g} are allowed")

    @staticmethod
    def _hold(what: str, count: int, count_max: int | None) -> None:
        if count_max is not None and count > count_max:
            broken("LIMIT", f"{count} {what}, {count_max} are allowed")
