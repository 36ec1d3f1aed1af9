"""What ended over time, by model, provider or account: how much, how well, how fast, for how many credits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection

from rushes.store.database import statement

OUTCOMES_LOOKED_AT_MAX: Final = 20_000
"""The newest outcomes that a chart is made of."""

TIME_MAX_MS: Final = 10**15
"""Later than any time."""

By: TypeAlias = Literal["model", "provider", "account"]

_COLUMNS: Final[dict[str, str]] = {"model": "n.model", "provider": "n.provider", "account": "a.name"}


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """Tasks of one model, provider or account that ended in one span of time; `bucket` 0 is the oldest.

    `render_ms` adds up what the successes took from their submit to their end, `credits` what they cost.
    """

    bucket: int
    name: str
    succeeded: int
    failed: int
    render_ms: int = 0
    credits: int = 0


def outcomes_by(
    connection: Connection, by: By, *, since_ms: int, bucket_ms: int, until_ms: int = TIME_MAX_MS
) -> Sequence[OutcomeCount]:
    """Outcomes of that time by span, oldest first. What was cancelled says nothing, and is not counted."""
    rows = connection.execute(
        statement(
            f"SELECT (n.completed_at_ms - :since) / :bucket AS bucket, {_COLUMNS[by]} AS name,"
            " SUM(CASE WHEN n.status = 'succeeded' THEN 1 ELSE 0 END) AS succeeded,"
            " SUM(CASE WHEN n.status = 'failed' THEN 1 ELSE 0 END) AS failed,"
            " CAST(SUM(CASE WHEN n.status = 'succeeded' THEN n.completed_at_ms - COALESCE(n.dispatched_at_ms,"
            " n.completed_at_ms) ELSE 0 END) AS bigint) AS render_ms,"
            " CAST(SUM(CASE WHEN n.status = 'succeeded' THEN n.credits ELSE 0 END) AS bigint) AS credits"
            " FROM (SELECT * FROM video_tasks WHERE completed_at_ms >= :since"
            " AND completed_at_ms < :until"
            " ORDER BY completed_at_ms DESC LIMIT :looked_at) n JOIN accounts a ON a.id = n.account_id"
            " WHERE COALESCE(n.failure_type, '') <> 'cancelled' GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"since": since_ms, "until": until_ms, "bucket": bucket_ms, "looked_at": OUTCOMES_LOOKED_AT_MAX},
    ).all()
    return [
        OutcomeCount(
            int(row.bucket),
            row.name,
            int(row.succeeded),
            int(row.failed),
            int(row.render_ms),
            int(row.credits),
        )
        for row in rows
    ]
