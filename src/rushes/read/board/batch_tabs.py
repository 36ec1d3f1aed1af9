"""A batch as its tabs show it, each in one read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.margin import NO_VALUATION, Valuation
from rushes.files.links import FileLinks
from rushes.read.batches import batch_and_eta, failure_counts
from rushes.read.board.failures import FailureGroup, failure_groups
from rushes.read.events import events_after
from rushes.read.forecasts import Forecaster
from rushes.read.holding import Hold, Holding
from rushes.read.items import ItemFilter, item_page
from rushes.read.ledger import LedgerFilter, credit_proof, ledger_entries
from rushes.read.margins import batch_margin
from rushes.read.scope import OPERATOR, Span
from rushes.read.tries import batch_rerolls


@dataclass(frozen=True, slots=True)
class Looking:
    """With what a batch is read."""

    public_id: str
    catalogue: Catalogue
    links: FileLinks
    forecaster: Forecaster
    now_ms: int


def batch_of(connection: Connection, looking: Looking) -> dict[str, Any]:
    """The batch, with its `account`, whether it `is_cancelled` and its `waits`. Raises `NotFound`."""
    found, eta = batch_and_eta(
        connection, OPERATOR, looking.public_id, forecaster=looking.forecaster, now_ms=looking.now_ms
    )
    return found | {"waits": eta.waits}


@dataclass(frozen=True, slots=True)
class ItemsTab:
    """A page of a batch's items, and its failures by type."""

    batch: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]
    total: int
    failures: Mapping[str, int]


def items_tab(connection: Connection, looking: Looking, wanted: ItemFilter, span: Span) -> ItemsTab:
    """The items that the filter lets through. Raises `NotFound`."""
    found = batch_of(connection, looking)
    items, total = item_page(
        connection,
        OPERATOR,
        looking.public_id,
        wanted,
        limit=span.limit,
        offset=span.offset,
        catalogue=looking.catalogue,
        links=looking.links,
        now_ms=looking.now_ms,
    )
    failures = failure_counts(connection, OPERATOR, looking.public_id) if found["failed_count"] else {}
    if wanted.failure_type is not None:
        total = failures.get(wanted.failure_type, 0)
    return ItemsTab(found, with_holds(connection, items, looking.catalogue, looking.now_ms), total, failures)


def with_holds(
    connection: Connection, items: Sequence[Mapping[str, Any]], catalogue: Catalogue, now_ms: int
) -> list[dict[str, Any]]:
    """The items with their `hold`: what `held_reason` says in English."""
    if not any(item["held_reason"] for item in items):
        return [{**item, "hold": None} for item in items]
    holding = Holding(connection, catalogue, now_ms)

    def hold(item: Mapping[str, Any]) -> Hold | None:
        known = catalogue.find(item["model"])
        return holding.hold("" if known is None else known.provider, item["model"])

    return [{**item, "hold": hold(item) if item["held_reason"] else None} for item in items]


@dataclass(frozen=True, slots=True)
class FailuresTab:
    """A batch's failures by reason and model, and its re-rolls."""

    batch: Mapping[str, Any]
    groups: Sequence[FailureGroup]
    rerolls: Mapping[str, Any]


def failures_tab(connection: Connection, looking: Looking) -> FailuresTab:
    """The failures of a batch. Raises `NotFound`."""
    return FailuresTab(
        batch_of(connection, looking),
        failure_groups(connection, looking.public_id, looking.catalogue.charge),
        batch_rerolls(connection, OPERATOR, looking.public_id),
    )


@dataclass(frozen=True, slots=True)
class CreditsTab:
    """A batch's credits with their proof and margin, and a page of its ledger entries."""

    batch: Mapping[str, Any]
    proof: Mapping[str, Any]
    margin: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]


def credits_tab(
    connection: Connection, looking: Looking, span: Span, valuation: Valuation = NO_VALUATION
) -> CreditsTab:
    """The credits of a batch. Raises `NotFound`."""
    found = batch_of(connection, looking)
    entries = ledger_entries(
        connection, OPERATOR, LedgerFilter(batch_id=looking.public_id), limit=span.limit, offset=span.offset
    )
    margin = batch_margin(connection, OPERATOR.batch_id(connection, looking.public_id), valuation)
    return CreditsTab(found, credit_proof(connection, OPERATOR, looking.public_id), margin, entries)


@dataclass(frozen=True, slots=True)
class EventsTab:
    """A batch's events from a number on, each with its number."""

    batch: Mapping[str, Any]
    events: Sequence[tuple[int, Mapping[str, Any]]]


def events_tab(connection: Connection, looking: Looking, *, after: int, limit: int) -> EventsTab:
    """The events of a batch, oldest first. Raises `NotFound`."""
    found = batch_of(connection, looking)
    batch_id = OPERATOR.batch_id(connection, looking.public_id)
    return EventsTab(found, events_after(connection, batch_id, after, limit=limit))
