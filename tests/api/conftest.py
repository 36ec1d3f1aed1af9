"""One service per database for most tests: each test has an account of its own."""

import itertools
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, text

from rushes.simulator import SimulatorThread, running_simulator
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.api.harness import RunningService, Tenant, running_service
from tests.harness import knobs

DIALECTS = ("sqlite", "postgresql")

_numbers = itertools.count()


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorThread]:
    """Renders in a moment, and nothing fails."""
    with running_simulator(knobs(render_seconds=0.3)) as running:
        yield running


@pytest.fixture(scope="session")
def session_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Makes fresh, migrated databases that last as long as the test run."""

    def make(dialect: str) -> str:
        if dialect == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('api') / 'api.db'}"
            database = Database(url)
            migrate.upgrade(database)
            database.close()
            return url
        uri: str = request.getfixturevalue("postgresql_uri")
        template: str = request.getfixturevalue("postgresql_template")
        name = f"api_{next(_numbers)}"
        engine = create_engine(
            uri.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        engine.dispose()
        return uri.replace("/postgres?", f"/{name}?", 1)

    return make


@pytest.fixture(scope="session", params=DIALECTS)
def service(
    request: pytest.FixtureRequest,
    session_database_url: Callable[[str], str],
    simulator: SimulatorThread,
) -> Iterator[RunningService]:
    """A service with a worker, once on SQLite and once on PostgreSQL."""
    with running_service(session_database_url(request.param), simulator.base_url) as running:
        yield running


@pytest.fixture(scope="session", params=DIALECTS)
def idle_service(
    request: pytest.FixtureRequest, session_database_url: Callable[[str], str]
) -> Iterator[RunningService]:
    """A service without a worker: nothing happens but what is asked for."""
    with running_service(session_database_url(request.param), with_worker=False) as running:
        yield running


@pytest.fixture
def tenant(service: RunningService) -> Tenant:
    """An account with credits and a key without a limit."""
    return service.tenant()


@pytest.fixture
def idle_tenant(idle_service: RunningService) -> Tenant:
    """The same, where no worker is."""
    return idle_service.tenant()
