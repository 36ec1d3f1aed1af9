"""What the proofs of clean stops share: a slow provider without faults of its own, and submits under way."""

import time
from collections.abc import Sequence

from proofs.processes import Process, wait_until
from proofs.result import ProofResult
from proofs.stage import START_SECONDS_MAX, Pace, Stage
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN

UNDER_WAY_MIN = 3
"""Submits that must be under way when the signal comes."""

SPARE_SECONDS = 20.0
"""How much longer than a submit a stop may take on a busy machine."""


def slow_weather(submit_seconds: float) -> Sequence[str]:
    """Every answer takes that long; nothing else is wrong."""
    return (f"latency_min_seconds={submit_seconds}", f"latency_max_seconds={submit_seconds + 0.2}")


def environment(submit_seconds: float) -> dict[str, str]:
    """A request may take twice as long as the provider does."""
    return {"RUSHES_REQUEST_TIMEOUT_SECONDS": str(2 * submit_seconds)}


def pace() -> Pace:
    """So many in flight that every new batch is submitted at once."""
    return Pace(in_flight_max=1000)


def wait_for_submits(on: Stage, process: Process) -> int:
    """Wait until submits of this process are under way, or it has ended; returns how many they are."""
    wait_until(
        lambda: not process.running or on.peek.registered(process.pid),
        "a worker's registration",
        seconds_max=START_SECONDS_MAX,
    )
    wait_until(
        lambda: not process.running or len(on.peek.under_way(process.pid)) >= UNDER_WAY_MIN,
        "submits under way",
        seconds_max=START_SECONDS_MAX,
        every=0.02,
    )
    time.sleep(0.2)  # so that they have left
    return len(on.peek.under_way(process.pid))


def ended(process: Process, result: ProofResult, *, code: int, seconds_max: float) -> float:
    """Wait for the process's end with that exit code; returns how long it took."""
    started = time.monotonic()
    process.codes_expected = frozenset({code})
    found = process.wait(seconds_max)
    if found != code:
        result.differ([f"{process.arguments} ended with exit code {found}, not {code}"])
    return time.monotonic() - started


def unknown_now(on: Stage) -> int:
    """Tasks that failed because nobody knows what became of their submit."""
    return sum(task.error == SUBMIT_OUTCOME_UNKNOWN for task in on.peek.books().tasks)
