"""One process checkpoints a SQLite file's WAL; others write without."""

from pathlib import Path

from sqlalchemy import text

from rushes.store.database import Database


def _autocheckpoint(database: Database) -> int:
    return database.run_reading(
        lambda connection: int(connection.scalar(text("PRAGMA wal_autocheckpoint")) or 0)
    )


def test_only_the_first_process_checkpoints_and_a_later_one_takes_over(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    first, second = Database(url), Database(url)
    assert _autocheckpoint(first) > 0
    assert _autocheckpoint(second) == 0
    second.take_over_checkpoints()
    assert _autocheckpoint(second) == 0, "the first one is still there"
    first.close()
    second.take_over_checkpoints()
    assert _autocheckpoint(second) > 0
    second.close()
