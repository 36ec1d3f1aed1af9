"""A simulated video service that speaks the protocols of all providers, for tests, demos and simulations.

`running_simulator` and `SimulatorServer` serve it over real HTTP, `SimulatorTransport` in process; both
host a `SimulatorCore`, which is pure and deterministic from its seed. See docs/simulator.md.
"""

from rushes.providers.simulator.callbacks import Callback, CallbackKind
from rushes.providers.simulator.core import SimulatorCore
from rushes.providers.simulator.fate import Family, Outcome
from rushes.providers.simulator.knobs import SimulatorKnobs, describe_knobs, parse_knobs
from rushes.providers.simulator.message import Delivery, SimRequest, SimResponse
from rushes.providers.simulator.presets import PRESETS
from rushes.providers.simulator.report import SimulatorReport, TaskReport
from rushes.providers.simulator.server import (
    SimulatorServer,
    SimulatorThread,
    run_simulator,
    running_simulator,
    serve_simulator,
)
from rushes.providers.simulator.transport import SimulatorTransport
from rushes.providers.simulator.wire import Wire
from rushes.providers.simulator.wires import all_wires

__all__ = [
    "PRESETS",
    "Callback",
    "CallbackKind",
    "Delivery",
    "Family",
    "Outcome",
    "SimRequest",
    "SimResponse",
    "SimulatorCore",
    "SimulatorKnobs",
    "SimulatorReport",
    "SimulatorServer",
    "SimulatorThread",
    "SimulatorTransport",
    "TaskReport",
    "Wire",
    "all_wires",
    "describe_knobs",
    "parse_knobs",
    "run_simulator",
    "running_simulator",
    "serve_simulator",
]
