"""What a kill may cost: each attempt left unknown must have been on the wire, by the provider's own account.

For runs at a low rate of submits, at providers that are told a callback URL: it marks each attempt, so the
provider can say of each whether it ever came, and when. No submit is refused or lost by the provider here.
"""

import argparse
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from proofs.stage import Stage

MODELS = ("sora-2", "veo-flash", "veo-pro")
"""Models whose submits carry a callback URL."""

ANSWER_SECONDS = 0.3
"""How long the provider takes to answer a submit: at ten a second, three are on the wire."""

WEATHER = (
    f"latency_min_seconds={ANSWER_SECONDS}",
    f"latency_max_seconds={ANSWER_SECONDS}",
    "output_moderation=0.05",
    "poll_server_error=0.03",
    "poll_reset_after=0.02",
)
"""No fault of a submit: an attempt that never came was never sent."""

STORING_SECONDS = 0.15
"""An answer that was written so shortly before a kill counts as on the wire: it was on its way into the
database."""

ARRIVAL_SECONDS = 0.3
"""What had left before a kill has arrived after so long."""


@dataclass(slots=True)
class Wire:
    """Counts over all kills of a run; `faults` are attempts that are unknown and were not on the wire.

    Attempts that had been `claimed` and not sent at a kill must go back.
    """

    unknown: int = 0
    on_the_wire: int = 0
    being_stored: int = 0
    claimed: set[tuple[int, int]] = field(default_factory=set)
    unknown_at_a_kill_max: int = 0
    faults: list[str] = field(default_factory=list)

    def judge(self, on: Stage, unknown: Collection[tuple[int, int]], killed_at: float) -> None:
        """Ask the provider of each attempt `(task_id, attempt)` that a kill at that monotonic time left unknown."""
        if not unknown:
            return
        time.sleep(max(0.0, killed_at + ARRIVAL_SECONDS - time.monotonic()))
        report = on.service.report()
        kill_there = report.uptime_seconds - (time.monotonic() - killed_at)
        came_at = {task.marker: task.submitted_at for task in report.tasks or ()}
        sent = 0
        for task_id, attempt in unknown:
            came = came_at.get(on.marker(task_id, attempt))
            if came is None:
                self.claimed.add((task_id, attempt))
                continue
            sent += 1
            answered = came + ANSWER_SECONDS
            if answered >= kill_there:
                self.on_the_wire += 1
            elif answered >= kill_there - STORING_SECONDS:
                self.being_stored += 1
            else:
                self.faults.append(
                    f"task {task_id}, attempt {attempt}: answered {kill_there - answered:.3f} s before a kill,"
                    " and unknown after it"
                )
        self.unknown += sent
        self.unknown_at_a_kill_max = max(self.unknown_at_a_kill_max, sent)

    def tell(self, on: Stage) -> None:
        """Into the result, once all tasks have ended."""
        left = {(task.task_id, task.attempt) for task in on.peek.books().tasks}
        never_sent = sorted(self.claimed & left)
        self.faults += [
            f"task {task}, attempt {attempt}: never sent, and unknown" for task, attempt in never_sent
        ]
        on.result.fact("unknown after a kill", self.unknown)
        on.result.fact("· most of one kill", self.unknown_at_a_kill_max)
        on.result.fact("· on the wire at the kill", self.on_the_wire)
        on.result.fact(f"· answered less than {STORING_SECONDS:g} s before it", self.being_stored)
        on.result.fact("claimed at a kill and not sent, given back", len(self.claimed) - len(never_sent))
        on.result.fact("never sent, and unknown", len(never_sent))
        on.result.differ(self.faults)


def add_option(parser: argparse.ArgumentParser) -> None:
    """The rate, which turns the judging on."""
    parser.add_argument(
        "--submits-per-second",
        type=float,
        default=None,
        help="at this rate, judge each kill: what is unknown after it must have been on the wire",
    )


def stage_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What `stage` takes for a run at a rate; nothing without one."""
    if options.submits_per_second is None:
        return {}
    return {
        "weather": WEATHER,
        "models": MODELS,
        "environment": {"RUSHES_SUBMITS_PER_SECOND": str(options.submits_per_second)},
    }
