"""The protocols that the simulator speaks, side by side on one port. One line for each."""

from rushes.simulator.families.ark import ArkWire
from rushes.simulator.families.dashscope import DashScopeWire
from rushes.simulator.families.fal import FalWire
from rushes.simulator.families.google import GoogleWire
from rushes.simulator.families.grsai import GrsaiWire, UnifiedWire
from rushes.simulator.families.kling import KlingWire
from rushes.simulator.families.minimax import MiniMaxWire
from rushes.simulator.families.openai import OpenAIWire
from rushes.simulator.families.replicate import ReplicateWire
from rushes.simulator.families.runway import RunwayWire
from rushes.simulator.families.vertex import VertexWire
from rushes.simulator.families.wire import Wire
from rushes.simulator.families.xai import XaiWire


def all_wires() -> tuple[Wire, ...]:
    """One of each, in the order in which they are asked whether a request is theirs."""
    return (
        GrsaiWire(),
        UnifiedWire(),
        FalWire(),
        RunwayWire(),
        KlingWire(),
        ReplicateWire(),
        OpenAIWire(),
        VertexWire(),
        GoogleWire(),
        ArkWire("ark-cn", base="/api/v3", word="doubao"),
        ArkWire(
            "ark-intl",
            base="/intl/api/v3",
            word="dreamina",
            variables=("BYTEPLUS_HOST", "BYTEPLUS_API_KEY"),
        ),
        MiniMaxWire(),
        XaiWire(),
        DashScopeWire("dashscope-cn", base="/api/v1", variables=("DASHSCOPE_HOST", "DASHSCOPE_API_KEY")),
        DashScopeWire(
            "dashscope-intl",
            base="/intl/api/v1",
            variables=("DASHSCOPE_INTL_HOST", "DASHSCOPE_INTL_API_KEY"),
        ),
    )
