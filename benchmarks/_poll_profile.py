"""Where the time of the poll path goes: the functions that hold the interpreter's lock the longest.

    python -m benchmarks._poll_profile [sqlite|postgresql] [http|https] [TASKS]

py-spy (in the bench requirements) samples this process while the engine follows tasks in flight; it needs
the right to trace, so root or CAP_SYS_PTRACE. C functions count for the Python function that called them.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from benchmarks._installation import fresh_database, postgresql_server, require_settled, seed_in_flight
from benchmarks._server import running_server
from benchmarks.poll import POLLS_PER_TASK, engine_polls

TASKS = 40_000
SAMPLES_PER_SECOND = 250
FUNCTIONS_SHOWN = 10


def run(dialect: str, scheme: str, tasks: int) -> None:
    """Print the table."""
    with contextlib.ExitStack() as stack:
        uri = stack.enter_context(postgresql_server()) if dialect == "postgresql" else None
        server = stack.enter_context(
            running_server(running_answers=POLLS_PER_TASK - 1, tls=scheme == "https")
        )
        database = stack.enter_context(fresh_database(dialect, server_uri=uri))
        seed_in_flight(database, tasks)
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "stacks"
        py_spy = Path(sys.executable).with_name("py-spy")
        command = [str(py_spy), "record", "--pid", str(os.getpid()), "--gil", "--format", "raw"]
        command += ["--rate", str(SAMPLES_PER_SECOND), "--output", str(path), "--duration", "3600"]
        spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        polls, spent = uvloop.run(engine_polls(database, server, tasks))
        spy.send_signal(signal.SIGINT)
        spy.wait(timeout=60)
        require_settled(database, tasks)
        print(f"{polls / spent.seconds:,.0f} polls/s, {spent.cpu_seconds / polls * 1e6:.1f} us of CPU each")
        _print_top(path.read_text("utf-8"))


def _print_top(stacks: str) -> None:
    """`stacks` has one line for each stack: its frames, outermost first, and how often it was seen."""
    by_itself, with_callees = Counter[str](), Counter[str]()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        functions = [re.sub(r":\d+\)$", ")", frame) for frame in frames.split(";")]
        by_itself[functions[-1]] += int(count)
        for function in set(functions):
            with_callees[function] += int(count)
    samples = by_itself.total()
    print(f"{samples} samples; share by itself, share with what it calls")
    for function, seen in by_itself.most_common(FUNCTIONS_SHOWN):
        print(f"{seen / samples:6.1%} {with_callees[function] / samples:6.1%}  {function}")


if __name__ == "__main__":
    defaults = ["sqlite", "http", str(TASKS)]
    given = sys.argv[1:]
    dialect, scheme, tasks = given + defaults[len(given) :]
    run(dialect, scheme, int(tasks))
