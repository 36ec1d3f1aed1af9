"""Other ways to do the same work: N remote tasks, five polls each, a durable result.

Each runs in a process of its own against a server of its own, polls with the same HTTP client as rushes, and
stores each task's video URL durably. Its state between two polls is as durable as its makers mean it to be:
a poll is a step (DBOS), a job (Procrastinate) or a message (Celery). No waits: the next poll follows at once.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks._installation import new_postgresql_database
from benchmarks._server import running_server

PEER_SECONDS_MAX = 120.0
POLLS_PER_TASK = 5

SEQUENTIAL = "sequential loop, PostgreSQL"
PEERS = {
    SEQUENTIAL: ("benchmarks._peers.sequential", ()),
    "DBOS, PostgreSQL": ("benchmarks._peers.with_dbos", ("dbos",)),
    "Procrastinate, PostgreSQL": ("benchmarks._peers.with_procrastinate", ("procrastinate",)),
    "Celery, Redis": ("benchmarks._peers.with_celery", ("celery", "redis")),
}
PROGRAMS = {"Celery, Redis": "redis-server"}


def run_all(
    uri: str, *, tasks: int, only: tuple[str, ...] = tuple(PEERS), latency_seconds: float = 0.0
) -> dict[str, dict[str, Any]]:
    """By name: `polls_per_s`, or why it was `skipped`. `uri` is the PostgreSQL server's."""
    return {name: _run(name, uri, tasks, latency_seconds) for name in only}


def _run(name: str, uri: str, tasks: int, latency_seconds: float) -> dict[str, Any]:
    module, packages = PEERS[name]
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        return {"skipped": f"{', '.join(missing)} not installed; make bench PEERS=1 installs it"}
    program = PROGRAMS.get(name)
    if program is not None and shutil.which(program) is None:
        return {"skipped": f"{program} not found; Debian: apt-get install {program}"}
    with running_server(running_answers=POLLS_PER_TASK - 1, latency_seconds=latency_seconds) as server:
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, new_postgresql_database(uri), server.base_url, str(tasks)],
                check=False,
                capture_output=True,
                text=True,
                timeout=PEER_SECONDS_MAX,
                cwd=Path(__file__).resolve().parents[2],
                env=dict(os.environ),
            )
        except subprocess.TimeoutExpired:
            return {"skipped": f"not done after {PEER_SECONDS_MAX:g} s"}
        stats = server.stats()
    if done.returncode != 0:
        return {"skipped": f"it failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}"}
    if stats["finished"] < tasks:
        return {"skipped": f"it left {tasks - stats['finished']} tasks unfinished"}
    seconds = float(json.loads(done.stdout.splitlines()[-1])["seconds"])
    return {"polls_per_s": stats["requests"] / seconds, "seconds": seconds}


def is_installed(package: str) -> bool:
    """Whether it can be imported here."""
    return importlib.util.find_spec(package) is not None
