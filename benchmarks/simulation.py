"""How long the simulation takes over 100,000 tasks, in as many processes as there are cores, and on what."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import write_section

SEEDS = 100
TASKS = 1_000
SECONDS_MAX = 80.0
WAIT_SECONDS_MAX = 1800.0


def run(*, seeds: int = SEEDS, tasks: int = TASKS) -> dict[str, Any]:
    """Print the line and write the section `simulation`; returns it. `SECONDS_MAX` is for 100,000 tasks."""
    cores = len(os.sched_getaffinity(0))
    sizes = ["--seeds", str(seeds), "--tasks", str(tasks), "--processes", str(cores)]
    ran = subprocess.run(
        [sys.executable, "-m", "simulation", *sizes, "--no-shrink"],
        check=True,  # it fails where a promise was broken
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
        timeout=WAIT_SECONDS_MAX,
    )
    spent = re.search(r"^([\d.]+) s, .*?; ([\d.]+) s of processors", ran.stdout, re.MULTILINE)
    shares = re.search(r"^processor time by \d+ samples: (.*)$", ran.stdout, re.MULTILINE)
    if spent is None or shares is None:
        raise AssertionError(ran.stdout)
    factor = 100_000 / (seeds * tasks)
    seconds, processor_seconds = float(spent[1]) * factor, float(spent[2]) * factor
    print(
        f"  100,000 simulated tasks in {cores} processes: {seconds:.0f} s, {processor_seconds:.0f} s of"
        f" processors ({shares[1]}); at most {SECONDS_MAX:g} s:"
        f" {'met' if seconds <= SECONDS_MAX else 'MISSED'}",
        flush=True,
    )
    data = {"seconds": seconds, "processor_seconds": processor_seconds, "shares": shares[1]}
    write_section("simulation", data)
    return data
