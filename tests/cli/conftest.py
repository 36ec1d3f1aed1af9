"""A shell in an empty folder, and a simulated service."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rushes.simulator import SimulatorKnobs, SimulatorThread, running_simulator
from tests.cli.process import QUICK, Shell

NewSimulator: TypeAlias = Callable[..., SimulatorThread]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder and no service: nothing answers at its address."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Shell(folder, {**QUICK, "GRSAI_HOST": "http://127.0.0.1:1"})


@pytest.fixture
def new_simulator() -> Iterator[NewSimulator]:
    """Makes simulators with the given knobs; they render in a moment unless told otherwise."""
    with ExitStack() as running:

        def make(**knobs: Any) -> SimulatorThread:
            return running.enter_context(
                running_simulator(SimulatorKnobs(**{"render_seconds": 0.2, **knobs}))
            )

        yield make


@pytest.fixture
def shell_at(tmp_path: Path) -> Callable[[SimulatorThread], Shell]:
    """A shell in an empty folder whose service is this simulator."""

    def make(simulator: SimulatorThread) -> Shell:
        folder = tmp_path / "work"
        folder.mkdir()
        return Shell(folder, {**QUICK, "GRSAI_HOST": simulator.base_url})

    return make
