"""What best of n is expected to cost, and whether it ends in an accepted clip, by the account's own clips."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from rushes.domain.acceptance.bandit import Record
from rushes.domain.acceptance.best_of import CLIPS_KNOWN_MIN, BestOf, chance_accepted, clips_expected
from rushes.domain.acceptance.intervals import share_interval
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.input.auto import LEARNED_MS
from rushes.domain.input.priced import PricedDraft
from rushes.money.choosing.choose import of_all_lanes
from rushes.store.acceptance import choices


def expected(
    connection: Connection,
    account_id: int | None,
    drafts: Sequence[PricedDraft],
    best_of: BestOf | None,
    catalogue: Catalogue,
    now_ms: int,
) -> dict[str, Any] | None:
    """The field `accept` of a quote; None of a batch that buys one clip for each item.

    An item whose model is still open counts with the known one that costs least per accepted clip. Null is
    what is not known yet: of a model with fewer than `CLIPS_KNOWN_MIN` decided clips in 90 days.
    """
    if best_of is None:
        return None
    records: Mapping[str, Record] = {}
    if account_id is not None:
        found = choices.records(connection, account_id, since_ms=now_ms - LEARNED_MS)
        records = of_all_lanes(found, catalogue)
    return expected_by(records, drafts, best_of)


def expected_by(
    records: Mapping[str, Record], drafts: Sequence[PricedDraft], best_of: BestOf
) -> dict[str, Any]:
    """The same by these records of models."""
    by_model: dict[str, list[int]] = {}
    for draft in drafts:
        name, price = _counted_as(draft, records)
        by_model.setdefault(name, []).append(price)
    models = [
        _of_model(name, prices, records.get(name, Record()), best_of) for name, prices in by_model.items()
    ]
    is_known = all(one["credits_per_item"] is not None for one in models)
    return {
        "n_max": best_of.clips_max,
        "credits_max": best_of.credits_max,
        "expected_credits": round(sum(one["items"] * one["credits_per_item"] for one in models), 1)
        if is_known
        else None,
        "expected_accepted": round(sum(one["items"] * one["chance"] for one in models), 1)
        if is_known
        else None,
        "models": models,
    }


def _counted_as(draft: PricedDraft, records: Mapping[str, Record]) -> tuple[str, int]:
    known = [
        (one.charge.credits * record.clips / record.accepted, one.model.name, one.charge.credits)
        for one in draft.choices
        if (record := records.get(one.model.name, Record())).clips >= CLIPS_KNOWN_MIN and record.accepted
    ]
    if known:
        _, name, price = min(known)
        return name, price
    return (draft.asked_for if draft.choices else draft.model.name), draft.credits


def _of_model(name: str, prices: Sequence[int], record: Record, best_of: BestOf) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": name,
        "items": len(prices),
        "clips": record.clips,
        "accepted": record.accepted,
        "credits_per_item": None,
        "chance": None,
        "chance_interval": None,
    }
    if record.clips < CLIPS_KNOWN_MIN:
        return found
    share, tries = record.accepted / record.clips, [best_of.clips_paid(price) for price in prices]
    spent = sum(price * clips_expected(share, count) for price, count in zip(prices, tries, strict=True))

    def chance(of: float) -> float:
        return round(sum(chance_accepted(of, count) for count in tries) / len(tries), 4)

    return found | {
        "credits_per_item": round(spent / len(prices), 4),
        "chance": chance(share),
        "chance_interval": [chance(of) for of in share_interval(record.accepted, record.clips)],
    }
