"""What choices of models may still spend, and its reservation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.errors import DayCapReached
from rushes.domain.input.auto import Candidate
from rushes.money.day_caps import Budget
from rushes.money.reserving import grant_missing, reserve
from rushes.store import batches, installation, ledger
from rushes.store.batches import BatchCounters
from rushes.store.tasks import retries
from rushes.store.tasks.retries import Rerolls


def price_of(row: Row[Any], candidate: Candidate) -> int:
    """What the clip costs with that model: never less than its task has reserved."""
    return max(candidate.charge.credits, int(row.credits))


@dataclass(slots=True)
class Purse:
    """What may still be spent for one batch: the account's credits, the day's caps, the cap of its re-rolls.

    `left` is None for who runs rushes alone: that account is granted what it takes.
    """

    left: int | None
    budget: Budget
    rerolls: Rerolls | None
    taken: int = 0
    rerolled: int = 0

    @classmethod
    def of(
        cls, connection: Connection, batch: BatchCounters, candidates: Sequence[Candidate], now_ms: int
    ) -> "Purse":
        """What the batch's account has, whose row is locked."""
        account_id, batch_id = batch.account_id, batch.batch_id
        is_alone = installation.has_one_user(connection, account_id)
        budget = Budget(
            connection,
            account_id=account_id,
            request_scope=batches.request_scope(connection, batch_id),
            models={each.model.name for each in candidates},
            now_ms=now_ms,
        )
        left = None if is_alone else ledger.available_credits(connection, account_id, now_ms)
        return cls(left, budget, retries.of_batch(connection, batch_id))

    def pay(self, row: Row[Any], candidate: Candidate) -> bool:
        """Take what the candidate costs beyond what the task has; False where that cannot be."""
        more = price_of(row, candidate) - row.credits
        rerolls = self.rerolls if row.number > 0 else None
        if rerolls is not None and not rerolls.may_spend(more):
            return False
        if self.left is not None and more > self.left:
            return False
        try:
            self.budget.spend(
                candidate.model.name, row.credits + more, candidate.charge.cost, held=row.credits
            )
        except DayCapReached:
            return False
        if self.left is not None:
            self.left -= more
        if rerolls is not None:
            rerolls.credits_used += more
            self.rerolled += more
        self.taken += more
        return True

    def write(self, connection: Connection, batch: BatchCounters, now_ms: int) -> None:
        """Reserve what was taken."""
        account_id, batch_id = batch.account_id, batch.batch_id
        if self.left is None:
            grant_missing(connection, account_id, required=self.taken, now_ms=now_ms)
        book = ledger.Book(connection, [account_id])
        reserve(connection, book, account_id=account_id, batch_id=batch_id, amount=self.taken, now_ms=now_ms)
        batch.credits_reserved += self.taken
        batches.write_counters(connection, [batch])
        if self.rerolled:
            retries.count(connection, {batch_id: (0, self.rerolled)})
