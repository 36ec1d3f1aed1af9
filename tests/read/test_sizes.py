"""Sizes of the installation on both databases."""

from rushes.read.installation.sizes import DAY_MS, sizes
from rushes.store.database import Database

NOW = 1_800_000_000_000


def test_an_empty_database_has_a_size_and_no_growth(database: Database) -> None:
    found = database.run_reading(sizes, now_ms=NOW)
    assert (found.tasks, found.tasks_a_day, found.stored_videos) == (0, 0.0, 0)
    assert found.database.bytes > 100_000
    assert found.database.bytes_in_a_year is None
    assert (found.videos.bytes, found.videos.bytes_a_day) == (0, 0)
    assert DAY_MS == 24 * 3600 * 1000
