"""Learned render times in the database: one row per provider and model, to which all workers add.

A worker saves what it has learned since it last saved, and gets back the whole, with what the others have
learned. Saving the same twice, after a commit of unknown outcome, counts some tasks twice and harms
nothing else.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.model import Model
from rushes.domain.polling.learned_schedule import LearnedTimes
from rushes.domain.polling.progress import ProgressTimes
from rushes.domain.polling.render_times import LAYOUT, Estimate, RenderTimes, typical_task
from rushes.store.database import statement
from rushes.store.tables import schema

DECIMALS = 6
"""To how many decimals the counts are stored: a millionth of a task."""

MODELS_MAX = 10_000
"""How many rows are read at most."""

LEARNED_TASKS_MIN: Final = 8
"""From this many ended tasks on, what was learned of a model counts for more than the catalogue."""

LATE_SHARE: Final = 0.95
"""The share of a model's videos that are there by the age after which one is late."""

table = schema.render_times

_Numbers = list[float]


def load(connection: Connection) -> list[LearnedTimes]:
    """Everything that is stored. A row that makes no sense counts as nothing learned."""
    c = table.c
    rows = connection.execute(
        select(c.provider, c.model, c.tasks, c.exposed, c.ended, c.progress)
        .where(c.layout == LAYOUT)
        .order_by(c.provider, c.model)
        .limit(MODELS_MAX)
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
        c = table.c
        is_row = (c.provider == news.provider) & (c.model == news.model) & (c.layout == LAYOUT)
        row = connection.execute(
            select(c.tasks, c.exposed, c.ended, c.progress).where(is_row).with_for_update()
        ).one()
        stored = LearnedTimes(news.provider, news.model, *_decoded(*row))
        values = _encoded(stored.followed_by(news))
        connection.execute(table.update().where(is_row).values(**values, updated_at_ms=now_ms))
    return load(connection)


def _ensure_row(connection: Connection, news: LearnedTimes, now_ms: int) -> None:
    empty = _encoded(LearnedTimes(news.provider, news.model, RenderTimes(), ProgressTimes()))
    connection.execute(
        statement(
            "INSERT INTO render_times (provider, model, layout, tasks, exposed, ended, progress,"
            " updated_at_ms) VALUES (:provider, :model, :layout, :tasks, :exposed, :ended, :progress, :now)"
            " ON CONFLICT DO NOTHING"
        ),
        {"provider": news.provider, "model": news.model, "layout": LAYOUT, "now": now_ms, **empty},
    )


def _encoded(learned: LearnedTimes) -> dict[str, int | str]:
    tenths = [tenth[:-1] for tenth in learned.progress.tenths]
    return {
        "tasks": learned.times.count,
        "exposed": _json(learned.times.exposed),
        "ended": _json(learned.times.ended),
        "progress": f"[{','.join(_json(tenth) for tenth in tenths)}]",
    }


def _json(numbers: Sequence[float]) -> str:
    return msgspec.json.encode([round(number, DECIMALS) for number in numbers]).decode()


def _decoded(tasks: int, exposed: str, ended: str, progress: str) -> tuple[RenderTimes, ProgressTimes]:
    try:
        return (
            RenderTimes.checked(
                tasks,
                exposed=msgspec.json.decode(exposed, type=_Numbers),
                ended=msgspec.json.decode(ended, type=_Numbers),
            ),
            ProgressTimes.checked(msgspec.json.decode(progress, type=list[_Numbers])),
        )
    except (ValueError, msgspec.DecodeError):
        return RenderTimes(), ProgressTimes()
