"""Learned render times in the database: one row per provider and model, to which all workers add.

A worker saves what it has learned since it last saved, and gets back the whole, with what the others have
learned. Saving the same twice, after a commit of unknown outcome, counts some tasks twice and harms
nothing else.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.polling.learned_schedule import LearnedTimes
from rushes.domain.polling.render_times import LAYOUT, Estimate, RenderTimes, typical_task
from rushes.domain.polling.reports import ReportTimes
from rushes.store.database import for_update, statement

DECIMALS = 6
"""To how many decimals the counts are stored: a millionth of a task."""

MODELS_MAX = 10_000
"""How many rows are read at most."""

LEARNED_TASKS_MIN: Final = 8
"""From this many ended tasks on, what was learned of a model counts for more than the catalogue."""

LATE_SHARE: Final = 0.95
"""The share of a model's videos that are there by the age after which one is late."""

_IS_ROW = "provider = :provider AND model = :model AND layout = :layout"

_Numbers = list[float]


def load(connection: Connection) -> list[LearnedTimes]:
    """Everything that is stored. A row that makes no sense counts as nothing learned."""
    rows = connection.execute(
        statement(
            "SELECT provider, model, tasks, exposed, ended, progress FROM render_times"
            " WHERE layout = :layout ORDER BY provider, model LIMIT :limit"
        ),
        {"layout": LAYOUT, "limit": MODELS_MAX},
    )
    return [LearnedTimes(row[0], row[1], *_decoded(*row[2:])) for row in rows]


def estimates(connection: Connection, catalogue: Catalogue) -> Iterator[tuple[Model, Estimate]]:
    """What was learned of the catalogue's models of which enough tasks have ended."""
    for learned in load(connection):
        model = catalogue.find(learned.model)
        is_known = model is not None and model.provider == learned.provider
        if model is not None and is_known and learned.times.count >= LEARNED_TASKS_MIN:
            yield model, Estimate(learned.times, typical=typical_task(model.render_time_p50_seconds))


def merge(connection: Connection, learned: Sequence[LearnedTimes], *, now_ms: int) -> list[LearnedTimes]:
    """Add what was learned, each history after the stored one; returns everything that is then stored.

    Rows are locked in the order of their keys, so that workers which save at the same time wait for each
    other and lose nothing.
    """
    for news in sorted(learned, key=lambda one: (one.provider, one.model)):
        _ensure_row(connection, news, now_ms)
        key = {"provider": news.provider, "model": news.model, "layout": LAYOUT}
        row = connection.execute(
            statement(
                f"SELECT tasks, exposed, ended, progress FROM render_times WHERE {_IS_ROW}"
                f"{for_update(connection)}"
            ),
            key,
        ).one()
        stored = LearnedTimes(news.provider, news.model, *_decoded(*row))
        connection.execute(
            statement(
                "UPDATE render_times SET tasks = :tasks, exposed = :exposed, ended = :ended,"
                f" progress = :progress, updated_at_ms = :now WHERE {_IS_ROW}"
            ),
            {**key, **_encoded(stored.followed_by(news)), "now": now_ms},
        )
    return load(connection)


def _ensure_row(connection: Connection, news: LearnedTimes, now_ms: int) -> None:
    empty = _encoded(LearnedTimes(news.provider, news.model, RenderTimes(), ReportTimes()))
    connection.execute(
        statement(
            "INSERT INTO render_times (provider, model, layout, tasks, exposed, ended, progress,"
            " updated_at_ms) VALUES (:provider, :model, :layout, :tasks, :exposed, :ended, :progress, :now)"
            " ON CONFLICT DO NOTHING"
        ),
        {"provider": news.provider, "model": news.model, "layout": LAYOUT, "now": now_ms, **empty},
    )


def _encoded(learned: LearnedTimes) -> dict[str, int | str]:
    return {
        "tasks": learned.times.count,
        "exposed": _json(learned.times.exposed),
        "ended": _json(learned.times.ended),
        "progress": f"[{','.join(map(_json, learned.reports.stored()))}]",
    }


def _json(numbers: Sequence[float]) -> str:
    return msgspec.json.encode([round(number, DECIMALS) for number in numbers]).decode()


def _decoded(tasks: int, exposed: str, ended: str, progress: str) -> tuple[RenderTimes, ReportTimes]:
    try:
        return (
            RenderTimes.checked(
                tasks,
                exposed=msgspec.json.decode(exposed, type=_Numbers),
                ended=msgspec.json.decode(ended, type=_Numbers),
            ),
            ReportTimes.checked(msgspec.json.decode(progress, type=list[_Numbers])),
        )
    except (ValueError, msgspec.DecodeError):
        return RenderTimes(), ReportTimes()
