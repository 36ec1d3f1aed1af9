"""What needs somebody, grouped: how many, since when, and how many credits are at stake."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN
from rushes.read.holding import Hold
from rushes.read.installation.gauges import Gauges
from rushes.read.views import item_id
from rushes.store.database import Rows, statement
from rushes.store.tasks import waiting

Kind: TypeAlias = Literal[
    "no_worker",
    "provider_down",
    "unconfirmed",
    "overdue",
    "possibly_bought",
    "trouble",
    "archive",
    "deliveries_failed",
    "deliveries_disabled",
    "held",
]

ITEM_KINDS: Final[tuple[Kind, ...]] = ("unconfirmed", "overdue", "possibly_bought", "trouble")
"""Alerts that are about items, which can be looked at one by one."""

IN_FLIGHT_LOOKED_AT_MAX: Final = 20_000
FAILURES_LOOKED_AT_MAX: Final = 20_000
BOUGHT_DAYS: Final = 7
"""For how long a failure of unknown outcome is an alert."""

ITEMS_MAX: Final = 200
ARCHIVE_SECONDS: Final = 7200
"""A file to fetch whose link dies within that time is an alert."""

_DAY_MS: Final = 86_400_000
_DOWN: Final = frozenset({"open", "paused"})
_DEADLINES = Rows(model=str, before_ms=int)

_UNCONFIRMED: Final = (
    "SELECT batch_id, item_index, model, provider, credits, unconfirmed_at_ms AS since_ms,"
    " trouble_reason AS reason FROM video_tasks WHERE status = 'processing' AND unconfirmed_at_ms IS NOT NULL"
)
_BOUGHT: Final = (
    "SELECT batch_id, item_index, model, provider, credits, completed_at_ms AS since_ms,"
    " trouble_reason AS reason FROM (SELECT * FROM video_tasks WHERE completed_at_ms >= :bought_since"
    " AND status = 'failed' ORDER BY completed_at_ms DESC LIMIT :failures) f"
    " WHERE is_current = 1 AND error = :unknown"
)
_TROUBLED: Final = (
    "SELECT batch_id, item_index, model, provider, credits, trouble_since_ms AS since_ms,"
    " trouble_reason AS reason FROM video_tasks WHERE trouble_at_ms IS NOT NULL"
    " AND status IN ('pending', 'processing')"
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One line of the inbox. `subject` tells alerts of a kind apart, such as by provider; `words` are a
    provider's own, `hold` is what holds tasks. `until_ms` is when it gets worse."""

    kind: Kind
    subject: str = ""
    count: int = 0
    credits: int = 0
    since_ms: int | None = None
    until_ms: int | None = None
    words: str | None = None
    hold: Hold | None = None

    @property
    def is_bad(self) -> bool:
        """Whether something is lost or stands still, or soon will."""
        return self.kind in ("no_worker", "provider_down", "possibly_bought", "archive")


def alerts(
    connection: Connection,
    gauges: Gauges,
    held: Sequence[tuple[Hold, int]],
    catalogue: Catalogue,
    now_ms: int,
) -> list[Alert]:
    """The inbox, what is worst first."""
    found = [] if gauges.workers else [Alert("no_worker")]
    found += _providers(gauges)
    kinds: tuple[Kind, ...] = ("possibly_bought", "unconfirmed", "overdue")
    for kind in kinds:
        query, parameters = _items_query(connection, kind, catalogue, now_ms)
        row = connection.execute(
            statement(
                "SELECT COUNT(*), CAST(COALESCE(SUM(credits), 0) AS bigint), MIN(since_ms)"
                f" FROM ({query}) AS items"
            ),
            parameters,
        ).one()
        if row[0]:
            found.append(Alert(kind, "", int(row[0]), int(row[1]), int(row[2])))
    for group in gauges.troubles:
        if group.is_alert:
            found.append(
                Alert(
                    "trouble",
                    f"{group.provider}: {group.question}",
                    group.task_count,
                    since_ms=group.since_ms,
                    words=group.reason,
                )
            )
    found += _archive(connection, gauges, now_ms)
    for status in ("failed", "disabled"):
        if count := gauges.deliveries.get(status, 0):
            is_failed = status == "failed"
            found.append(Alert("deliveries_failed" if is_failed else "deliveries_disabled", "", count))
    found += [Alert("held", hold.model, count, hold=hold) for hold, count in held]
    return found


def _providers(gauges: Gauges) -> list[Alert]:
    down: dict[str, str | None] = {}
    for worker in gauges.workers:
        for provider, state in worker.report.get("providers", {}).items():
            if state.get("state") in _DOWN:
                down[provider] = state.get("reason")
    return [Alert("provider_down", provider, words=reason) for provider, reason in sorted(down.items())]


def _archive(connection: Connection, gauges: Gauges, now_ms: int) -> list[Alert]:
    if not gauges.archive_due_count:
        return []
    dies_at_ms = connection.scalar(
        statement("SELECT MIN(link_dies_at_ms) FROM archived_files WHERE state = 'due'")
    )
    if dies_at_ms is None or dies_at_ms > now_ms + ARCHIVE_SECONDS * 1000:
        return []
    return [Alert("archive", "", gauges.archive_due_count, until_ms=int(dies_at_ms))]


@dataclass(frozen=True, slots=True)
class WantedItem:
    """An item that an alert is about."""

    item_id: str
    batch_id: str
    index: int
    model: str
    provider: str
    credits: int
    since_ms: int
    reason: str | None
    batch_name: str


def items_of_alert(connection: Connection, kind: Kind, catalogue: Catalogue, now_ms: int) -> list[WantedItem]:
    """The items of an alert of `ITEM_KINDS`, the oldest first, at most `ITEMS_MAX`."""
    query, parameters = _items_query(connection, kind, catalogue, now_ms)
    rows = connection.execute(
        statement(
            f"SELECT i.*, b.public_id, COALESCE(b.name, b.request_id) AS batch_name FROM ({query}) i"
            " JOIN batches b ON b.id = i.batch_id ORDER BY i.since_ms, i.batch_id, i.item_index LIMIT :limit"
        ),
        {**parameters, "limit": ITEMS_MAX},
    ).all()
    return [
        WantedItem(
            item_id(row.public_id, row.item_index),
            row.public_id,
            row.item_index,
            row.model,
            row.provider,
            row.credits,
            row.since_ms,
            row.reason,
            row.batch_name,
        )
        for row in rows
    ]


def _items_query(
    connection: Connection, kind: str, catalogue: Catalogue, now_ms: int
) -> tuple[str, dict[str, Any]]:
    match kind:
        case "unconfirmed":
            return _UNCONFIRMED, {}
        case "trouble":
            return _TROUBLED, {}
        case "possibly_bought":
            return _BOUGHT, {
                "bought_since": now_ms - BOUGHT_DAYS * _DAY_MS,
                "failures": FAILURES_LOOKED_AT_MAX,
                "unknown": SUBMIT_OUTCOME_UNKNOWN,
            }
        case _:
            # of those that render alone: SQLite goes through the list for each task
            models = set(waiting.models_in_flight(connection, IN_FLIGHT_LOOKED_AT_MAX))
            before = [
                (model.name, now_ms - int(model.soft_deadline_seconds * 1000))
                for model in catalogue
                if model.name in models
            ]
            query = (
                "SELECT t.batch_id, t.item_index, t.model, t.provider, t.credits,"
                " t.dispatched_at_ms AS since_ms, t.trouble_reason AS reason"
                " FROM (SELECT * FROM video_tasks WHERE status = 'processing' LIMIT :in_flight) t"
                f" JOIN {_DEADLINES.sql(connection)} ON v.model = t.model"
                " WHERE t.unconfirmed_at_ms IS NULL AND t.dispatched_at_ms < v.before_ms"
            )
            parameters = _DEADLINES.parameters(connection, sorted(before))
            return query, {**parameters, "in_flight": IN_FLIGHT_LOOKED_AT_MAX}
