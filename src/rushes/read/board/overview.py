"""What an operator sees first: the installation's numbers and what is in trouble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.read.board.batch_list import ListFilter, batch_list
from rushes.read.forecasts import Forecaster
from rushes.read.holding import Hold, held_models
from rushes.read.installation.gauges import Gauges, read_gauges
from rushes.store.database import Rows
from rushes.store.tasks import waiting
from rushes.store.tasks.pauses import Pause, all_pauses

IN_FLIGHT_LOOKED_AT_MAX: Final = 20_000
"""Tasks in flight among which overdue and unconfirmed ones are looked for."""

TROUBLED_TASKS_MAX: Final = 20
"""Overdue or unconfirmed tasks that are named one by one."""

_DEADLINES = Rows(model=str, before_ms=int)


def troubled_tasks(
    connection: Connection, *, soft_deadline_seconds: Mapping[str, float], now_ms: int
) -> dict[str, Any]:
    """Tasks in flight past their model's soft deadline, and submits of unknown outcome.

    `overdue_count, unconfirmed_count`, and `tasks`: the oldest of them, at most `TROUBLED_TASKS_MAX`.
    """
    troubled = (
        "WITH troubled AS (SELECT t.batch_id, t.item_index, t.model, t.dispatched_at_ms, t.unconfirmed_at_ms"
        " FROM (SELECT batch_id, item_index, model, dispatched_at_ms, unconfirmed_at_ms FROM video_tasks"
        f"  WHERE status = 'processing' LIMIT :looked_at) t LEFT JOIN {_DEADLINES.sql(connection)}"
        " ON v.model = t.model"
        " WHERE t.unconfirmed_at_ms IS NOT NULL OR t.dispatched_at_ms < COALESCE(v.before_ms, 0))"
    )
    # of those that render alone: SQLite goes through the list for each task
    models = set(waiting.models_in_flight(connection, IN_FLIGHT_LOOKED_AT_MAX))
    before = [(name, now_ms - int(s * 1000)) for name, s in soft_deadline_seconds.items() if name in models]
    parameters = {
        **_DEADLINES.parameters(connection, before),
        "looked_at": IN_FLIGHT_LOOKED_AT_MAX,
        "named": TROUBLED_TASKS_MAX,
    }
    counts = text(f"{troubled} SELECT COUNT(*), COUNT(unconfirmed_at_ms) FROM troubled")
    all_count, unconfirmed_count = connection.execute(counts, parameters).one()
    oldest = text(
        f"{troubled} SELECT b.public_id, t.* FROM (SELECT * FROM troubled ORDER BY dispatched_at_ms"
        " LIMIT :named) t JOIN batches b ON b.id = t.batch_id ORDER BY t.dispatched_at_ms"
    )
    return {
        "overdue_count": all_count - unconfirmed_count,
        "unconfirmed_count": unconfirmed_count,
        "tasks": [
            {
                "batch_id": row.public_id,
                "index": row.item_index,
                "model": row.model,
                "kind": "overdue" if row.unconfirmed_at_ms is None else "unconfirmed",
                "since_ms": row.dispatched_at_ms if row.unconfirmed_at_ms is None else row.unconfirmed_at_ms,
            }
            for row in (connection.execute(oldest, parameters) if all_count else ())
        ],
    }


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many tasks a provider has, and how many it may have; None where that has no limit."""

    count: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the overview shows, but for the charts."""

    gauges: Gauges
    trouble: Mapping[str, Any]
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
        troubled_tasks(
            connection,
            soft_deadline_seconds={model.name: model.soft_deadline_seconds for model in catalogue},
            now_ms=now_ms,
        ),
        held_models(connection, catalogue, now_ms),
        recent.batches,
        all_pauses(connection),
        {
            provider: InFlight(count, forecaster.in_flight_tasks_max(provider))
            for provider, count in waiting.in_flight_by_provider(connection).items()
        },
        now_ms,
    )
