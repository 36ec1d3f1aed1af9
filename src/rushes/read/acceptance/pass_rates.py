"""How often tries pass, by model and by prompt: reads over the newest tries of a span of time.

A try is one row of `video_tasks`, so an item that was tried three times counts three times. Tries that
somebody cancelled count as none.
"""

from collections import Counter
from typing import Any, Final

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.notation import iso_time
from rushes.read.scope import Scope
from rushes.store import render_times
from rushes.store.database import statement

TRIES_LOOKED_AT_MAX: Final = 100_000
"""The newest tries of the span that are counted."""

PROMPTS_MAX: Final = 1000
"""Prompts that one answer names."""

DAY_MS: Final = 86_400_000
DAYS_MAX: Final = 365


def pass_rates(
    connection: Connection, scope: Scope, *, days: int, now_ms: int, prompts_max: int
) -> dict[str, Any]:
    """Pass rates of the last days, as the API answers them (without `ok`).

    `models` come by name, `prompts` by the number of their tries, most first. `is_cut_short` tells that
    the span has more tries than are counted.
    """
    since_ms = now_ms - days * DAY_MS
    parameters = {"since": since_ms, "limit": TRIES_LOOKED_AT_MAX, "account_id": scope.account_id}
    newest = _newest(scope)
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


def _newest(scope: Scope) -> str:
    """The newest tries: one account's are found through its batches, all through the index of ends."""
    ended = "t.status IN ('succeeded', 'failed') AND COALESCE(t.failure_type, '') <> 'cancelled'"
    columns = "SELECT t.model, t.status, t.failure_type, t.credits, t.prompt FROM video_tasks t"
    if scope.is_operator:
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


def model_history(
    connection: Connection, scope: Scope, catalogue: Catalogue, *, days: int, now_ms: int
) -> dict[str, dict[str, Any]]:
    """By model: `tries` and `pass_rate` of the last days, and the render times that were learned.

    Of a model without a try in those days, or without enough renders to learn from, the fields are None.
    """
    nothing = {
        "tries": 0,
        "pass_rate": None,
        "render_time_p50_seconds": None,
        "render_time_p95_seconds": None,
    }
    found: dict[str, dict[str, Any]] = {}
    rates = pass_rates(connection, scope, days=days, now_ms=now_ms, prompts_max=0)
    for one in rates["models"]:
        found[one["model"]] = nothing | {"tries": one["tries"], "pass_rate": one["pass_rate"]}
    for model, estimate in render_times.estimates(connection, catalogue):
        found[model.name] = found.get(model.name, nothing) | {
            "render_time_p50_seconds": round(estimate.median_seconds, 1),
            "render_time_p95_seconds": round(estimate.age_by_which_ended(render_times.LATE_SHARE), 1),
        }
    return found
