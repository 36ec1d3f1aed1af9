"""`sigterm-slow`: workers are stopped while submits are under way that take six seconds; none is lost."""

import argparse
import signal
import time

from proofs.result import ProofResult
from proofs.stage import Stage, stage
from proofs.stops import (
    SPARE_SECONDS,
    ended,
    environment,
    pace,
    slow_weather,
    unknown_now,
    wait_for_submits,
)

TASKS = 20
SECOND_SIGNAL_SECONDS_MAX = 2.0
"""How long a process may take to end after the second signal."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How slow, and how often."""
    parser.add_argument("--submit-seconds", type=float, default=6.0, help="default: %(default)s")
    parser.add_argument("--stops", type=int, default=3, help="with one signal (default: %(default)s)")


def run(options: argparse.Namespace) -> ProofResult:
    """Stop with one signal some times, then once with two; let another finish, compare."""
    seconds = options.submit_seconds
    with stage(
        "sigterm-slow",
        options,
        database_url=None,
        pace=pace(),
        weather=slow_weather(seconds),
        environment=environment(seconds),
    ) as on:
        under_way = longest = 0.0
        for _ in range(options.stops):
            on.work.accept(on.site.environment)
            worker = on.site.start("worker")
            under_way += wait_for_submits(on, worker)
            worker.popen.send_signal(signal.SIGTERM)
            longest = max(longest, ended(worker, on.result, code=0, seconds_max=seconds + SPARE_SECONDS))
        cut, quickly = _cut_short(on)
        on.finish_with_a_last_worker()
        counted = on.compare(lossless=False)
        on.result.fact("stops with one signal", options.stops)
        on.result.fact("· submits under way then", int(under_way))
        on.result.fact("· seconds until the end, at most", longest)
        on.result.fact("submits under way at the second signal", cut)
        on.result.fact("· seconds until the end", quickly)
        if counted.unknown > cut:
            on.result.differ([f"{counted.unknown} submits of unknown outcome; {cut} were on the wire"])
        on.result.headline = f"{options.stops} stops with {int(under_way)} submits under way: 0 unknown"
        return on.result


def _cut_short(on: Stage) -> tuple[int, float]:
    """One more stop, cut short by a second signal; what is under way then is the price."""
    on.work.accept(on.site.environment)
    worker = on.site.start("worker")
    wait_for_submits(on, worker)
    if unknown_now(on):
        on.result.differ([f"{unknown_now(on)} submits were lost by stops with one signal"])
    worker.popen.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    cut = len(on.peek.under_way(worker.pid))
    worker.popen.send_signal(signal.SIGTERM)
    seconds_max = SECOND_SIGNAL_SECONDS_MAX
    return cut, ended(worker, on.result, code=128 + signal.SIGTERM, seconds_max=seconds_max)
