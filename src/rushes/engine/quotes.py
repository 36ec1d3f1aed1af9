"""What a batch would cost and when it would be done, before anything is written.

The forecast is plain: a model's render times are taken as log-normal around its typical time, submits go
out at the provider's rate, and where a provider takes only so many tasks at a time, they go in waves behind
those that are already open. A batch is done when its last video is: the chance of that by a time is the
product of all its videos' chances.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from rushes.domain.catalogue import Model
from rushes.domain.prompts import PricedDraft
from rushes.engine.views import iso_time
from rushes.store import ledger
from rushes.store.ledger import account_id

RENDER_TIME_SIGMA: Final = 0.4
"""Spread of the log-normal render times: what the learned ones of Sora and Veo come to, roughly."""

STARTS_MAX: Final = 64
"""Starting times that stand for those of all videos of a model."""

FORECAST_SECONDS_MAX: Final = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class ProviderPace:
    """What a provider allows; None where no limit is known."""

    submits_per_second: float | None = None
    in_flight_tasks_max: int | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Videos of one model: when they start, in seconds from now, each standing for `weight` videos."""

    median_seconds: float
    starts: Sequence[float]
    weight: float


def open_tasks_by_provider(connection: Connection) -> dict[str, int]:
    """Tasks of all accounts that are pending or at a provider."""
    rows = connection.execute(
        text(
            "SELECT provider, COUNT(*) FROM video_tasks WHERE status = 'pending' GROUP BY provider"
            " UNION ALL"
            " SELECT provider, COUNT(*) FROM video_tasks WHERE status = 'processing' GROUP BY provider"
        )
    )
    found: Counter[str] = Counter()
    for provider, count in rows:
        found[provider] += count
    return dict(found)


def quote(
    connection: Connection,
    drafts: Sequence[PricedDraft],
    *,
    account: str,
    pace_of: Mapping[str, ProviderPace],
    now_ms: int,
) -> dict[str, Any]:
    """The quote as the API answers it (without `ok`). Reads only."""
    counts = Counter(draft.asked_for for draft in drafts)
    model_of = {draft.asked_for: draft.model for draft in drafts}
    price_of = {draft.asked_for: draft.credits for draft in drafts}
    required = sum(draft.credits for draft in drafts)
    lots = ledger.lots(connection, account_id(connection, account))
    available = sum(lot.remaining for lot in lots if lot.is_live(now_ms))
    ahead = (
        open_tasks_by_provider(connection)
        if any(pace.in_flight_tasks_max is not None for pace in pace_of.values())
        else {}
    )
    groups = [
        _group(model_of[name], count, ahead.get(model_of[name].provider, 0), pace_of)
        for name, count in counts.items()
    ]
    p50, p95 = (finish_seconds(groups, chance) for chance in (0.5, 0.95))
    prices = {draft.credits for draft in drafts}
    return {
        "total_count": len(drafts),
        "required_credits": required,
        "available_credits": available,
        "sufficient": required <= available,
        "cost_per_video": prices.pop() if len(prices) == 1 else None,
        "models": [
            {
                "model": name,
                "count": count,
                "credits_per_video": price_of[name],
                "credits": price_of[name] * count,
            }
            for name, count in counts.items()
        ],
        "expected_finish": {
            "p50_seconds": p50,
            "p95_seconds": p95,
            "p50_at": iso_time(now_ms + p50 * 1000),
            "p95_at": iso_time(now_ms + p95 * 1000),
        },
    }


def finish_seconds(groups: Sequence[_Group], chance: float) -> int:
    """The time by which all videos are done with that chance, in whole seconds from now."""
    low, high = 0.0, FORECAST_SECONDS_MAX
    target = math.log(chance)
    for _ in range(50):
        middle = (low + high) / 2
        if sum(_log_chance_done(group, middle) for group in groups) < target:
            low = middle
        else:
            high = middle
    return math.ceil(high)


def _group(model: Model, count: int, ahead: int, pace_of: Mapping[str, ProviderPace]) -> _Group:
    pace = pace_of.get(model.provider, ProviderPace())
    sampled = min(count, STARTS_MAX)
    starts = []
    for i in range(sampled):
        place = (i + 0.5) * count / sampled
        start = place / pace.submits_per_second if pace.submits_per_second else 0.0
        if pace.in_flight_tasks_max:
            wave = int((ahead + place) // pace.in_flight_tasks_max)
            start = max(start, wave * model.render_time_p50_seconds)
        starts.append(start)
    return _Group(model.render_time_p50_seconds, starts, weight=count / sampled)


def _log_chance_done(group: _Group, by_seconds: float) -> float:
    total = 0.0
    for start in group.starts:
        age = by_seconds - start
        if age <= 0:
            return -math.inf
        deviation = math.log(age / group.median_seconds) / RENDER_TIME_SIGMA
        done = 0.5 * math.erfc(-deviation / math.sqrt(2))
        if done <= 0:
            return -math.inf
        total += group.weight * math.log(done)
    return total
