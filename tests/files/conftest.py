"""What several of the engine's tests start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.store.database import Database
from tests.books import Books
from tests.files.file_host import FileHost
from tests.files.vault import Vault


@pytest.fixture
def vault(database: Database, tmp_path: Path) -> Iterator[Vault]:
    """An account with credits, a host of files, an empty archive."""
    books = Books(database, now_ms=1_000_000_000)
    account_id = books.account("an/../odd name")
    books.grant(account_id, 1000)
    with FileHost().running() as host:
        yield Vault(books, host, tmp_path / "archive", account_id)
