"""One service per database for most tests: each test has an account of its own."""

from collections.abc import Callable, Iterator

import pytest

from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import RunningService, Tenant, running_service
from tests.conftest import NewDatabase
from tests.harness import knobs

DIALECTS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorThread]:
    """Renders in a moment, and nothing fails."""
    with running_simulator(knobs(render_seconds=0.3)) as running:
        yield running


@pytest.fixture(scope="session")
def session_database_url(
    copied_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Makes fresh, migrated databases that last as long as the test run."""

    def make(dialect: str) -> str:
        return copied_database(dialect, tmp_path_factory.mktemp("api"))

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
