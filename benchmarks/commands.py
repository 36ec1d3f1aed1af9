"""What a command costs before it does anything: processor time, to that of importing SQLAlchemy alone.

Each in a process of its own, in turns; the least of all rounds, as what others do meanwhile only adds.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._installation import new_sqlite_database
from benchmarks.report import write_section
from rushes.library import Rushes
from rushes.settings import Settings

ROUNDS = 7
VERSION_SECONDS_MAX = 0.15
LIST_RATIO_MAX = 2.2
TICK_RATIO_MAX = 3.0

COMMANDS: dict[str, list[str]] = {
    "import sqlalchemy": ["-c", "import sqlalchemy"],
    "rushes --version": ["-m", "rushes", "--version"],
    "rushes run --help": ["-m", "rushes", "run", "--help"],
    "rushes batch list": ["-m", "rushes", "batch", "list"],
    "rushes tick": ["-m", "rushes", "tick"],
}


def run(*, rounds: int = ROUNDS) -> dict[str, Any]:
    """Print the table and write the section `commands`; returns it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUSHES_")}
        environment |= {"RUSHES_DATABASE_URL": new_sqlite_database(Path(folder)), "PYTHONPATH": ""}
        environment |= {"GRSAI_API_KEY": "a-key"}  # of a provider that is not asked
        asyncio.run(_one_batch(environment))
        least = dict.fromkeys(COMMANDS, float("inf"))
        for _ in range(rounds):
            for name, arguments in COMMANDS.items():
                least[name] = min(least[name], _cpu_seconds(arguments, Path(folder), environment))
    base = least["import sqlalchemy"]
    data = {name: {"cpu_seconds": each, "to_sqlalchemy": each / base} for name, each in least.items()}
    aims = {
        "rushes --version": (least["rushes --version"], VERSION_SECONDS_MAX, "s"),
        "rushes batch list": (least["rushes batch list"] / base, LIST_RATIO_MAX, "×"),
        "rushes tick": (least["rushes tick"] / base, TICK_RATIO_MAX, "×"),
    }
    for name, each in least.items():
        line = f"  {name:18} {each:5.2f} s of the processor, {each / base:5.2f} × import sqlalchemy"
        if name in aims:
            value, most, unit = aims[name]
            line += f"; at most {most:g} {unit}: {'met' if value <= most else 'MISSED'}"
        print(line, flush=True)
    write_section("commands", data)
    return data


async def _one_batch(environment: dict[str, str]) -> None:
    """A database with one batch in it, and nothing to do."""
    settings = Settings.load({"RUSHES_DATABASE_URL": environment["RUSHES_DATABASE_URL"]}, env_file=None)
    async with Rushes(settings) as rushes:
        await rushes.grant(10)
        await rushes.cancel((await rushes.create_batch(["a boat"]))["batch_id"])


def _cpu_seconds(arguments: list[str], folder: Path, environment: dict[str, str]) -> float:
    """User and system time of one process."""
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        cwd=folder,
        env=environment,
        timeout=120,
    )
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system
