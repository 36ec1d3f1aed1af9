"""The protocols that the simulator speaks, side by side on one port. One line for each."""

from rushes.providers.simulator.wire import Wire
from rushes.providers.simulator.wire_fal import FalWire
from rushes.providers.simulator.wire_google import GoogleWire
from rushes.providers.simulator.wire_grsai import GrsaiWire
from rushes.providers.simulator.wire_openai import OpenAIWire
from rushes.providers.simulator.wire_runway import RunwayWire
from rushes.providers.simulator.wire_unified import UnifiedWire


def all_wires() -> tuple[Wire, ...]:
    """One of each, in the order in which they are asked whether a request is theirs."""
    return (
        GrsaiWire(),
        UnifiedWire(),
        FalWire(),
        RunwayWire(),
        OpenAIWire(),
        GoogleWire(),
    )
