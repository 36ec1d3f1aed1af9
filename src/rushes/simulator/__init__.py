"""A simulated video service that speaks the protocols of all providers, for tests, demos and simulations.

`running_simulator` and `SimulatorServer` serve it over real HTTP, `SimulatorTransport` in process; both
host a `SimulatorCore`, which is pure and deterministic from its seed. See docs/simulator.md.
"""

from rushes.simulator.callbacks import Callback, CallbackKind
from rushes.simulator.core import SimulatorCore
from rushes.simulator.families.wire import Wire
from rushes.simulator.families.wires import all_wires
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.knobs import SimulatorKnobs, describe_knobs, parse_knobs
from rushes.simulator.message import Delivery, SimRequest, SimResponse
from rushes.simulator.presets import PRESETS
from rushes.simulator.report import SimulatorReport, TaskReport
from rushes.simulator.serving.server import (
    SimulatorServer,
    SimulatorThread,
    run_simulator,
    running_simulator,
    serve_simulator,
)
from rushes.simulator.serving.transport import SimulatorTransport

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
