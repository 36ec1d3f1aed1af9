"""How often tries pass, by model and by prompt: reads over the newest tries of a span of time.

A try is one row of `video_tasks`, so an item that was tried three times counts three times. Tries that
somebody cancelled count as none.
"""

from collections import Counter
from typing import Any, Final

from sqlalchemy import Connection

from rushes.engine.views import iso_time
from rushes.store.database import statement

TRIES_LOOKED_AT_MAX: Final = 100_000
"""The newest tries of the span that are counted."""

PROMPTS_MAX: Final = 1000
"""Prompts that one answer names."""

DAY_MS: Final = 86_400_000
DAYS_MAX: Final = 365


def pass_rates(
    connection: Connection, *, days: int, now_ms: int, prompts_max: int, account_id: int | None = None
) -> dict[str, Any]:
    """Pass rates of the last days, of one account or of all, as the API answers them (without `ok`).

    `models` come by name, `prompts` by the number of their tries, most first. `is_cut_short` tells that
    the span has more tries than are counted.
    """
    since_ms = now_ms - days * DAY_MS
    parameters = {"since": since_ms, "limit": TRIES_LOOKED_AT_MAX, "account_id": account_id}
    newest = _newest(account_id)
    failures: dict[str, Counter[str]] = {}
    found: dict[str, dict[str, Any]] = {}
    for model, status, failure_type, count, price in connection.execute(
        statement(
            "SELECT model, status, failure_type, COUNT(*), CAST(SUM(credits) AS bigint)"
            f" FROM ({newest}) AS newest GROUP BY model, status, failure_type ORDER BY model"
        ),
        parameters,
    ):
        one = found.setdefault(
            model, {"model": model, "tries": 0, "passed": 0, "failed": 0, "credits_settled": 0}
        )
        one["tries"] += count
        if status == "succeeded":
            one["passed"] += count
            one["credits_settled"] += price
        else:
            one["failed"] += count
            failures.setdefault(model, Counter())[failure_type] += count
    models = [
        one
        | {
            "pass_rate": _rate(one["passed"], one["tries"]),
            "failures": dict(failures.get(model, Counter()).most_common()),
        }
        for model, one in found.items()
    ]
    tries = sum(one["tries"] for one in models)
    return {
        "since": iso_time(since_ms),
        "tries": tries,
        "is_cut_short": tries >= TRIES_LOOKED_AT_MAX,
        "models": models,
        "prompts": _prompts(connection, newest, parameters, prompts_max) if prompts_max else [],
    }


def _newest(account_id: int | None) -> str:
    """The newest tries: one account's are found through its batches, all through the index of ends."""
    ended = "t.status IN ('succeeded', 'failed') AND COALESCE(t.failure_type, '') <> 'cancelled'"
    columns = "SELECT t.model, t.status, t.failure_type, t.credits, t.prompt FROM video_tasks t"
    if account_id is None:
        return (
            f"{columns} WHERE t.completed_at_ms >= :since AND {ended}"
            " ORDER BY t.completed_at_ms DESC LIMIT :limit"
        )
    # by itself, a planner may walk the index of ends, through all accounts' tasks
    completed = "(t.completed_at_ms + 0)"
    return (
        f"{columns} WHERE t.batch_id IN (SELECT id FROM batches WHERE account_id = :account_id)"
        f" AND {completed} >= :since AND {ended} ORDER BY t.completed_at_ms DESC LIMIT :limit"
    )


def _prompts(
    connection: Connection, newest: str, parameters: dict[str, Any], prompts_max: int
) -> list[dict[str, Any]]:
    rows = connection.execute(
        statement(
            "SELECT prompt, COUNT(*) AS tries,"
            " SUM(CASE WHEN status = 'succeeded' THEN 1 ELSE 0 END) AS passed"
            f" FROM ({newest}) AS newest GROUP BY prompt ORDER BY tries DESC, prompt LIMIT :prompts"
        ),
        {**parameters, "prompts": prompts_max},
    )
    return [
        {"prompt": prompt, "tries": tries, "passed": passed, "pass_rate": _rate(passed, tries)}
        for prompt, tries, passed in rows
    ]


def _rate(passed: int, tries: int) -> float | None:
    return round(passed / tries, 6) if tries else None
