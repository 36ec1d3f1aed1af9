"""Memory and recovery: 100,000 tasks in flight in one worker, how fast it adopts them, and what a poll costs.

Each worker runs in a process of its own. Its memory is the growth of its resident set over the same process
before it started to work, after every task was polled.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks._installation import fresh_database, postgresql_server, seed_in_flight
from benchmarks._server import ALWAYS_RUNNING, RunningServer, running_server
from benchmarks.report import write_section
from rushes.store.database import Database

TASKS = 100_000
FEW_TASKS = 1_000
SECONDS = 4.0
BYTES_PER_TASK_MAX = 500.0
ADOPT_SECONDS_MAX = 2.5
COST_RATIO_MAX = 1.15
"""Above this a poll among many tasks is not as cheap as among few."""


def run(
    *,
    tasks: int = TASKS,
    few: int = FEW_TASKS,
    seconds: float = SECONDS,
    dialects: tuple[str, ...] = ("sqlite", "postgresql"),
) -> dict[str, Any]:
    """Print the table and write the section `memory`; returns it."""
    data: dict[str, Any] = {}
    with postgresql_server() as uri:
        for dialect in dialects:
            with running_server(running_answers=ALWAYS_RUNNING) as server:
                many_found = _run_one(dialect, uri, server, tasks, seconds)
                few_found = _run_one(dialect, uri, server, few, seconds)
            ratio = many_found["cpu_us_per_poll"] / few_found["cpu_us_per_poll"]
            data[dialect] = {"many": many_found, "few": few_found, "cost_ratio": ratio}
            for name, value, limit in (
                ("bytes per task", many_found["polled_bytes_per_task"], BYTES_PER_TASK_MAX),
                (f"adopting {tasks:,} tasks, s", many_found["adopt_seconds"], ADOPT_SECONDS_MAX),
                (f"CPU per poll, {tasks:,} to {few:,}", ratio, COST_RATIO_MAX),
            ):
                verdict = "met" if value <= limit else "MISSED"
                print(f"  {dialect:10} {name:34} {value:10,.2f}  at most {limit:,g}: {verdict}", flush=True)
    write_section("memory", data | {"tasks": tasks, "few_tasks": few})
    return data


def _run_one(dialect: str, uri: str, server: RunningServer, tasks: int, seconds: float) -> dict[str, float]:
    with fresh_database(dialect, server_uri=uri) as database:
        seed_in_flight(database, tasks, batch_tasks=min(tasks, 10_000))
        url = _url(database)
        database.engine.dispose()
        found = subprocess.run(
            [sys.executable, "-m", "benchmarks._lone_worker", url, server.base_url, str(tasks), str(seconds)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
            env={**os.environ, "PYTHONPATH": ""},
            timeout=300,
        )
    result: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return result


def _url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)
