"""What batches asked for when their items fail, and what their re-rolls have come to.

The counters are changed under the lock of the batch's row, which every settling transaction holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.acceptance.repairs import Rule
from rushes.domain.retries import BAD_FILE, RETRIED_UNASKED, LastModel, RetryPolicy, StopLoss
from rushes.domain.task import FailureType
from rushes.store.database import Rows, statement
from rushes.store.tables import schema

_IDS = Rows(id=int)
_COUNTED = Rows(batch_id=int, rerolls=int, credits=int)

REROLLS_OF_TASK = (
    "COALESCE(t.rerolls, t.retry_number - (SELECT COUNT(*) FROM batch_gates g JOIN video_tasks p"
    " ON p.batch_id = g.batch_id AND p.item_index = t.item_index AND p.status = 'succeeded'"
    " AND p.retry_number < t.retry_number JOIN clip_verdicts c ON c.task_id = p.id AND c.verdict = 'rejected'"
    " WHERE g.batch_id = t.batch_id AND g.clips_max IS NOT NULL))"
)
"""How many re-rolls the item of task `t` has used: what best of n bought is none.

Of tries made before that was kept it follows from the verdicts: a rejected clip was followed by a bought one.
"""

_SELECT = (
    "SELECT r.*, b.succeeded_count, b.failed_count, (SELECT COUNT(*) FROM batch_gates g JOIN clip_verdicts c"
    " ON c.batch_id = g.batch_id AND c.state = 'decided' AND c.verdict = 'rejected' JOIN video_tasks t"
    " ON t.id = c.task_id AND t.is_current = 1 WHERE g.batch_id = r.batch_id AND g.clips_max IS NOT NULL)"
    " AS rejected_count FROM batch_retries r JOIN batches b ON b.id = r.batch_id"
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
    """Try items of this new batch again as the policy says.

    With `max` 0 no failure is retried: cap and stop-loss are those of clips that are bought again.
    """
    stop_loss, last = policy.stop_loss, policy.last_model
    connection.execute(
        schema.batch_retries.insert().values(
            batch_id=batch_id,
            retries_max=max(1, policy.max),
            reasons=_reasons_text(policy),
            credits_max=policy.credits_max,
            pass_rate_min_ppm=None if stop_loss is None else stop_loss.pass_rate_min_ppm,
            pass_rate_after=None if stop_loss is None else stop_loss.after,
            last_model=None if last is None else last.name,
            last_provider=None if last is None else last.provider,
            last_api_model=None if last is None else last.api_model,
            last_credits=None if last is None else last.credits,
            repairs=msgspec.json.encode(policy.repairs).decode() if policy.repairs else None,
        )
    )


def _reasons_text(policy: RetryPolicy) -> str | None:
    """NULL for those of a batch that named none, and no text for a batch that retries no failure."""
    if policy.max == 0:
        return ""
    if policy.reasons == RETRIED_UNASKED and not policy.on_bad_file:
        return None
    names = sorted(reason.value for reason in policy.reasons)
    return ",".join([*names, BAD_FILE] if policy.on_bad_file else names)


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
    reasons, names = RETRIED_UNASKED, (row.reasons or "").split(",")
    if row.reasons is not None:
        reasons = frozenset(FailureType(name) for name in names if name and name != BAD_FILE)
    on_bad_file = BAD_FILE in names
    return Rerolls(
        row.batch_id,
        RetryPolicy(
            row.retries_max if reasons or on_bad_file else 0,
            reasons,
            row.credits_max,
            stop_loss,
            last,
            on_bad_file,
            () if row.repairs is None else msgspec.json.decode(row.repairs, type=tuple[Rule, ...]),
        ),
        row.rerolls_count,
        row.credits_used,
        row.stopped_at_ms,
        # each re-roll took the place of a try that had not passed
        passed=row.succeeded_count - row.rejected_count,
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


def goes_on(connection: Connection, rerolls: Rerolls, now_ms: int) -> bool:
    """Whether the batch's re-rolls go on; once its stop-loss is met, that is noted, and they do not."""
    if rerolls.stopped_at_ms is None and rerolls.is_lossy:
        c = schema.batch_retries.c
        connection.execute(
            schema.batch_retries.update()
            .where(c.batch_id == rerolls.batch_id, c.stopped_at_ms.is_(None))
            .values(stopped_at_ms=now_ms)
        )
        rerolls.stopped_at_ms = now_ms
    return rerolls.stopped_at_ms is None


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
