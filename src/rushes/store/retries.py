"""What batches asked for when their items fail, and what their re-rolls have come to.

The counters are changed under the lock of the batch's row, which every settling transaction holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from rushes.domain.retries import RETRIED_UNASKED, LastModel, RetryPolicy, StopLoss
from rushes.domain.task import FailureType
from rushes.store import schema
from rushes.store.database import Rows, statement

_IDS = Rows(id=int)
_COUNTED = Rows(batch_id=int, rerolls=int, credits=int)

_SELECT = (
    "SELECT r.*, b.succeeded_count, b.failed_count FROM batch_retries r JOIN batches b ON b.id = r.batch_id"
)


@dataclass(slots=True)
class Rerolls:
    """A batch's policy and its counters.

    `credits_used` is what those re-rolls cost that have not failed; `passed` and `ended` are tries of the
    batch, first ones and re-rolls.
    """

    batch_id: int
    policy: RetryPolicy
    rerolls_count: int
    credits_used: int
    stopped_at_ms: int | None
    passed: int
    ended: int

    @property
    def is_lossy(self) -> bool:
        """Whether the stop-loss is met."""
        stop_loss = self.policy.stop_loss
        return stop_loss is not None and stop_loss.is_met(passed=self.passed, ended=self.ended)

    def may_spend(self, price: int) -> bool:
        """Whether the cap has room for a re-roll of that price."""
        return self.policy.credits_max is None or self.credits_used + price <= self.policy.credits_max


def ask_for(connection: Connection, batch_id: int, policy: RetryPolicy) -> None:
    """Try failed items of this new batch again as the policy says; its `max` is 1 to 5."""
    stop_loss, last = policy.stop_loss, policy.last_model
    connection.execute(
        schema.batch_retries.insert().values(
            batch_id=batch_id,
            retries_max=policy.max,
            reasons=None
            if policy.reasons == RETRIED_UNASKED
            else ",".join(sorted(reason.value for reason in policy.reasons)),
            credits_max=policy.credits_max,
            pass_rate_min_ppm=None if stop_loss is None else stop_loss.pass_rate_min_ppm,
            pass_rate_after=None if stop_loss is None else stop_loss.after,
            last_model=None if last is None else last.name,
            last_provider=None if last is None else last.provider,
            last_api_model=None if last is None else last.api_model,
            last_credits=None if last is None else last.credits,
        )
    )


def asked_for(connection: Connection, batch_ids: Iterable[int]) -> dict[int, Rerolls]:
    """Those of the given batches that asked, as they stand now."""
    rows = connection.execute(
        statement(f"{_SELECT}, {_IDS.sql(connection)} WHERE r.batch_id = v.id"),
        _IDS.parameters(connection, [(batch_id,) for batch_id in sorted(set(batch_ids))]),
    )
    return {row.batch_id: _rerolls(row) for row in rows}


def _rerolls(row: Row[Any]) -> Rerolls:
    stop_loss = None
    if row.pass_rate_min_ppm is not None:
        stop_loss = StopLoss(row.pass_rate_min_ppm, row.pass_rate_after)
    last = None
    if row.last_model is not None:
        last = LastModel(row.last_model, row.last_provider, row.last_api_model, row.last_credits)
    reasons = RETRIED_UNASKED
    if row.reasons is not None:
        reasons = frozenset(FailureType(name) for name in row.reasons.split(","))
    return Rerolls(
        row.batch_id,
        RetryPolicy(row.retries_max, reasons, row.credits_max, stop_loss, last),
        row.rerolls_count,
        row.credits_used,
        row.stopped_at_ms,
        # each re-roll took the place of a try that had failed
        passed=row.succeeded_count,
        ended=row.succeeded_count + row.failed_count + row.rerolls_count,
    )


def count(connection: Connection, changes: Mapping[int, tuple[int, int]]) -> None:
    """Add `(re-rolls, credits)` to the batches' counters; batches that asked for nothing have none."""
    connection.execute(
        statement(
            "UPDATE batch_retries SET rerolls_count = rerolls_count + v.rerolls,"
            f" credits_used = credits_used + v.credits FROM {_COUNTED.sql(connection)}"
            " WHERE batch_retries.batch_id = v.batch_id"
        ),
        _COUNTED.parameters(
            connection, [(batch_id, *change) for batch_id, change in sorted(changes.items())]
        ),
    )


def stop(connection: Connection, batch_id: int, now_ms: int) -> None:
    """The batch's stop-loss: no re-roll any more."""
    c = schema.batch_retries.c
    connection.execute(
        schema.batch_retries.update()
        .where(c.batch_id == batch_id, c.stopped_at_ms.is_(None))
        .values(stopped_at_ms=now_ms)
    )


def of_batch(connection: Connection, batch_id: int) -> Rerolls | None:
    """One batch's, or None when it asked for nothing."""
    return asked_for(connection, [batch_id]).get(batch_id)


def counted(connection: Connection, batch_id: int) -> tuple[int, int]:
    """`(re-rolls, credits of those that have not failed)` of a batch without a policy, from its rows."""
    row = connection.execute(
        statement(
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = 'failed' THEN 0 ELSE credits END), 0)"
            " FROM video_tasks WHERE batch_id = :batch_id AND retry_number > 0"
        ),
        {"batch_id": batch_id},
    ).one()
    return int(row[0]), int(row[1])
