"""What an operator sees first: the installation's numbers. What is in trouble is in `attention`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.read.board.batch_list import ListFilter, batch_list
from rushes.read.forecasts import Forecaster
from rushes.read.holding import Hold, held_models
from rushes.read.installation.gauges import Gauges, read_gauges
from rushes.store.tasks import waiting
from rushes.store.tasks.pauses import Pause, all_pauses


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many tasks a provider has, and how many it may have; None where that has no limit."""

    count: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the overview shows, but for the charts."""

    gauges: Gauges
    held: Sequence[tuple[Hold, int]]
    recent: Sequence[Mapping[str, Any]]
    pauses: Mapping[str, Pause]
    in_flight: Mapping[str, InFlight]
    now_ms: int


def read_overview(
    connection: Connection, *, catalogue: Catalogue, forecaster: Forecaster, batches_max: int, now_ms: int
) -> Overview:
    """The whole installation at one moment."""
    recent = batch_list(
        connection, ListFilter(), limit=batches_max, offset=0, forecaster=forecaster, now_ms=now_ms
    )
    return Overview(
        read_gauges(connection, now_ms),
        held_models(connection, catalogue, now_ms),
        recent.batches,
        all_pauses(connection),
        {
            provider: InFlight(count, forecaster.in_flight_tasks_max(provider))
            for provider, count in waiting.in_flight_by_provider(connection).items()
        },
        now_ms,
    )
