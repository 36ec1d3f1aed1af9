"""How large the installation is, how fast it grows, and when that will be too much."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select

from rushes.domain.archive import ArchiveState
from rushes.store.connections.sizes import database_bytes
from rushes.store.tables import schema

DAY_MS: Final = 86_400_000
GROWTH_DAYS: Final = 7
"""Growth is what was made in the last days, of this number."""

TASKS_MIN: Final = 1000
"""With fewer tasks nothing can be said of what one takes: an empty database has its size too."""

YEAR_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class Growth:
    """One kind of storage: bytes now, a day lately, and in a year at that pace; None where not known."""

    bytes: int
    bytes_a_day: int | None
    bytes_in_a_year: int | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """The installation's sizes. `videos` are those that the archive holds."""

    tasks: int
    tasks_a_day: float
    database: Growth
    stored_videos: int
    videos: Growth

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def sizes(connection: Connection, *, now_ms: int) -> Sizes:
    """Counted now. Each count is of one index: about a second for ten million tasks."""
    tasks, files = schema.video_tasks.c, schema.archived_files.c
    since_ms = now_ms - GROWTH_DAYS * DAY_MS
    count = connection.scalar(select(func.count()).select_from(schema.video_tasks)) or 0
    made = connection.scalar(select(func.count()).where(tasks.created_at_ms >= since_ms)) or 0
    is_stored = files.state == ArchiveState.STORED.value
    stored, stored_bytes = connection.execute(
        select(func.count(), func.coalesce(func.sum(files.bytes), 0)).where(is_stored)
    ).one()
    stored_lately = connection.scalar(
        select(func.coalesce(func.sum(files.bytes), 0)).where(is_stored, files.stored_at_ms >= since_ms)
    )
    in_use = database_bytes(connection)
    a_day = made / GROWTH_DAYS
    return Sizes(
        tasks=count,
        tasks_a_day=round(a_day, 1),
        database=_growth(in_use, in_use / count * a_day if count >= TASKS_MIN else None),
        stored_videos=stored,
        videos=_growth(int(stored_bytes), int(stored_lately or 0) / GROWTH_DAYS),
    )


def _growth(in_use: int, a_day: float | None) -> Growth:
    if a_day is None:
        return Growth(in_use, None, None)
    return Growth(in_use, round(a_day), round(in_use + a_day * YEAR_DAYS))
