"""What a batch would cost and when it would be done, before anything is written."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.domain.acceptance.best_of import BestOf
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.price import Money, decimal_of_micros, total
from rushes.domain.forecast import Pace, RenderTime, ToBeSent, seconds_until_done
from rushes.domain.input.duplicates import LATELY_MS, duplicates
from rushes.domain.input.priced import PricedDraft
from rushes.domain.notation import iso_time
from rushes.money.accept import priced_tasks
from rushes.money.reuse import reusing
from rushes.read.acceptance.expected import expected
from rushes.read.forecasts import Forecaster, ProviderPace
from rushes.read.views import item_id
from rushes.store import ledger
from rushes.store.acceptance import reuse as reuse_rows
from rushes.store.ledger import account_id


def quote(
    connection: Connection,
    drafts: Sequence[PricedDraft],
    *,
    account: str,
    forecaster: Forecaster,
    now_ms: int,
    reuse: bool = False,
    best_of: BestOf | None = None,
) -> dict[str, Any]:
    """The quote as the API answers it (without `ok`). Reads only.

    With `reuse` items that would take another's file cost nothing, and are not waited for.
    """
    owner = account_id(connection, account)
    bought, free = bought_before(connection, owner, drafts, now_ms=now_ms)
    saved = sum(drafts[index].credits for index in free)
    price = {index: 0 if reuse and index in free else draft.credits for index, draft in enumerate(drafts)}
    to_buy = [draft for index, draft in enumerate(drafts) if not (reuse and index in free)]
    required = sum(price.values())
    available = ledger.available_credits(connection, owner, now_ms)
    p50, p95 = forecast_seconds(
        to_buy,
        lambda model: forecaster.render_time(connection, model.name, now_ms),
        lambda provider: forecaster.pace(connection, provider),
    )
    return {
        "total_count": len(drafts),
        "required_credits": required,
        "credits_max": sum(draft.credits_max for draft in to_buy),
        "available_credits": available,
        "sufficient": required <= available,
        "cost_per_video": _only_price(price.values()),
        "models": _by_model(drafts, price),
        "items": [
            {"index": index, "model": draft.asked_for, "credits": price[index]}
            for index, draft in enumerate(drafts)
        ],
        "duplicates": named_duplicates(drafts),
        "bought_before": bought,
        "reuse_saves_credits": saved,
        "accept": expected(connection, owner, to_buy, best_of, forecaster.catalogue, now_ms),
        "expected_finish": {
            "p50_seconds": p50,
            "p95_seconds": p95,
            "p50_at": iso_time(now_ms + p50 * 1000),
            "p95_at": iso_time(now_ms + p95 * 1000),
        },
        "finish_seconds": {"p50": p50, "p95": p95},
    }


def _by_model(drafts: Sequence[PricedDraft], price: Mapping[int, int]) -> list[dict[str, Any]]:
    by_name: dict[str, list[int]] = {}
    for index, draft in enumerate(drafts):
        by_name.setdefault(draft.asked_for, []).append(price[index])
    return [
        {
            "model": name,
            "count": len(prices),
            "credits_per_video": _only_price(prices),
            "credits": sum(prices),
        }
        for name, prices in by_name.items()
    ]


def operator_quote(drafts: Sequence[PricedDraft], pace_of: Mapping[str, ProviderPace]) -> dict[str, Any]:
    """The same for the operator, with what the providers are expected to charge; nothing is asked.

    Amounts are text, so that no digit is lost. A model's cost is null where it is not known for every item;
    the sums of `provider_cost` are those that are known.
    """
    paces = {name: Pace(pace.submits_per_second, pace.in_flight_tasks_max) for name, pace in pace_of.items()}
    p50, p95 = forecast_seconds(
        drafts,
        lambda model: RenderTime(model.render_time_p50_seconds),
        lambda provider: paces.get(provider, Pace()),
    )
    by_model: dict[str, list[PricedDraft]] = {}
    for draft in drafts:
        by_model.setdefault(_named(draft), []).append(draft)
    return {
        "credits": sum(draft.credits for draft in drafts),
        "credits_max": sum(draft.credits_max for draft in drafts),
        "total": len(drafts),
        "items": [
            {
                "index": index,
                "model": _named(draft),
                "credits": draft.credits,
                "provider_cost": None if draft.money is None or draft.choices else draft.money.document(),
            }
            for index, draft in enumerate(drafts)
        ],
        "models": {
            name: {
                "items": len(named),
                "credits": sum(draft.credits for draft in named),
                "provider_cost": _sum_of(named),
            }
            for name, named in by_model.items()
        },
        "provider_cost": {
            currency: f"{decimal_of_micros(micros):f}"
            for currency, micros in total(
                [draft.money for draft in drafts if draft.money is not None and not draft.choices]
            ).items()
        },
        "duplicates": named_duplicates(drafts),
        "finish_seconds": {"p50": p50, "p95": p95},
    }


def _named(draft: PricedDraft) -> str:
    """The model that is bought; `auto` where it is chosen later, and its cost is not known yet."""
    return draft.asked_for if draft.choices else draft.model.name


def named_duplicates(drafts: Sequence[PricedDraft]) -> list[dict[str, int]]:
    """The items that ask for the same as an earlier one, and which that is."""
    return [{"index": index, "same_as": earlier} for index, earlier in duplicates(drafts)]


def bought_before(
    connection: Connection, owner: int, drafts: Sequence[PricedDraft], *, now_ms: int
) -> tuple[list[dict[str, Any]], set[int]]:
    """`index, item_id, completed_at, is_stored` of each item that asks for what was bought lately,
    and the indexes of all items that would reuse a file.
    """
    tasks = priced_tasks(drafts)
    keys = {task.request_key for task in tasks if task.request_key is not None}
    since_ms = now_ms - LATELY_MS
    of_key = {
        row.request_key: row for row in reuse_rows.bought_lately(connection, owner, keys, since_ms=since_ms)
    }
    found = [
        {
            "index": task.item_index,
            "item_id": item_id(row.public_id, row.item_index),
            "completed_at": iso_time(row.completed_at_ms),
            "is_stored": bool(row.is_stored),
        }
        for task in tasks
        if (row := of_key.get(task.request_key)) is not None
    ]
    free = {task.item_index for task in reusing(connection, owner, tasks, now_ms=now_ms) if task.source}
    return found, free


def _only_price(found: Iterable[int]) -> int | None:
    prices = set(found)
    return prices.pop() if len(prices) == 1 else None


def _sum_of(drafts: Sequence[PricedDraft]) -> dict[str, str] | None:
    amounts = [draft.money for draft in drafts if draft.money is not None and not draft.choices]
    if len(amounts) < len(drafts):
        return None
    ((currency, micros),) = total(amounts).items()  # one model's costs have one currency
    return Money(micros, currency).document()


def forecast_seconds(
    drafts: Sequence[PricedDraft],
    render_time_of: Callable[[Model], RenderTime],
    pace_of: Callable[[str], Pace],
) -> tuple[int, int]:
    """When the last video is done, in half and in 95 of 100 cases."""
    counts = Counter(draft.model.name for draft in drafts)
    model_of = {draft.model.name: draft.model for draft in drafts}
    groups = [
        ToBeSent(count, render_time_of(model_of[name]), pace_of(model_of[name].provider))
        for name, count in counts.items()
    ]
    p50, p95 = (math.ceil(seconds_until_done(groups, chance)) for chance in (0.5, 0.95))
    return p50, p95
