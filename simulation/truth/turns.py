"""Whose turn it is: no account with tasks that could be sent is passed over for long.

An account with pending tasks at a provider, of a model that the claiming worker knows, is passed over by a claim
that takes tasks of others and none of its own. Models with limits of their own come first, and are no part of it.
Nobody's clock counts here, only the order of the claims.
"""

from collections import Counter
from collections.abc import Collection

from rushes.domain.catalogue.catalogue import Catalogue
from simulation.truth.broken import broken
from simulation.truth.journal import TaskRow

Place = tuple[str, int]
"""A provider and an account."""


class Turns:
    """Counts for each account and provider how many claims have passed it over since its last."""

    def __init__(self, accounts: int, limited: Collection[str] = ()) -> None:
        self.passed_over_max = 2 * accounts + 2
        self.most_passed_over = 0
        self._pending: dict[Place, Counter[str]] = {}
        self._waiting: set[int] = set()
        self._passed: Counter[Place] = Counter()
        self._claimed: set[Place] = set()
        self._limited = frozenset(limited)
        self._of_limited: set[Place] = set()

    def waits(self, task: TaskRow) -> None:
        """The task is pending now, and may be sent."""
        if task.model in self._limited:
            return  # it waits for its model's room, and comes before all others then
        self._waiting.add(task.id)
        self._pending.setdefault((task.provider, task.account_id), Counter())[task.model] += 1

    def waits_no_more(self, task: TaskRow) -> None:
        """The task, as it was, is pending no more."""
        if task.id not in self._waiting:
            return
        self._waiting.remove(task.id)
        place = (task.provider, task.account_id)
        self._pending[place][task.model] -= 1
        if not self._pending[place].total():
            del self._pending[place]
            self._passed.pop(place, None)

    def claimed(self, task: TaskRow) -> None:
        """The task is claimed by the transaction in hand."""
        place = (task.provider, task.account_id)
        (self._of_limited if task.model in self._limited else self._claimed).add(place)

    def committed(self, catalogue: Catalogue | None) -> None:
        """The transaction in hand is over; `catalogue` has the models that its worker knows."""
        claimed, self._claimed = self._claimed, set()
        providers = {provider for provider, _ in claimed}
        claimed |= self._of_limited
        self._of_limited.clear()
        if not claimed:
            return
        for place, models in self._pending.items():
            if place in claimed or place[0] not in providers:
                continue
            if not any(n > 0 and (catalogue is None or catalogue.find(m)) for m, n in models.items()):
                continue
            self._passed[place] += 1
            self.most_passed_over = max(self.most_passed_over, self._passed[place])
            if self._passed[place] > self.passed_over_max:
                broken("PASSED_OVER", f"{self._passed[place]} claims have passed over account {place[1]}")
        for place in claimed:
            self._passed.pop(place, None)
