"""The judges of a mutant, in a copy of the project: its room's tests, then the simulation.

The copy is complete, so that neither an installed package nor the current folder can lend the unchanged source.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation.mutants import Mutant
from mutation.rooms import Room

LEFT_OUT = (
    ".git",
    ".venv",
    "build",
    "dist",
    "site",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "node_modules",
)
TIMEOUT_FACTOR, TIMEOUT_EXTRA_SECONDS = 4.0, 20.0
"""A judge gets so many times the time that it took for the unchanged source, and some seconds on top."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class BaselineFailed(Exception):
    """A judge refuses the unchanged source, or judges another source than the copy's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a mutant. `by` names the test or the broken promise; without it the mutant has survived.

    `stage` is `tests` or `simulation`: which judge was the last. `log_differs` tells whether the simulation's log
    was another one, None when it did not run to its end.
    """

    survived: bool
    stage: str
    by: str
    seconds: float
    log_differs: bool | None = None


class Workspace:
    """A copy of the project in `folder`, in which mutants are judged one after the other."""

    def __init__(self, project: Path, folder: Path, *, seeds: int, tasks: int) -> None:
        self._copy = folder / "project"
        self._seeds, self._tasks = seeds, tasks
        self._test_seconds: dict[str, float] = {}
        self._simulation_seconds = 0.0
        self._log = ""
        shutil.copytree(project, self._copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self._require_own_source()

    def _require_own_source(self) -> None:
        code = "import rushes, simulation; print(rushes.__file__); print(simulation.__file__)"
        result = self._run([sys.executable, "-c", code], timeout_seconds=60.0)
        places = [Path(line).resolve() for line in result.output.splitlines()]
        if result.code != 0 or not all(place.is_relative_to(self._copy.resolve()) for place in places):
            raise BaselineFailed(f"the copy's own source is not imported: {result.output.strip()}")

    def measure(self, rooms: Sequence[Room]) -> None:
        """Judge the unchanged source: everything must pass, and its time sets the time-outs.

        Raises `BaselineFailed`.
        """
        for room in rooms:
            if room.name not in self._test_seconds:
                result = self._run(self._tests(room), timeout_seconds=900.0)
                if result.code != 0:
                    raise BaselineFailed(f"tests of {room.name!r} fail unchanged:\n{result.output[-2000:]}")
                self._test_seconds[room.name] = result.seconds
        if not self._log:
            result = self._run(self._simulation(), timeout_seconds=900.0)
            said = _last_object(result.output)
            if result.code != 0 or said.get("violation") is not None:
                raise BaselineFailed(f"the simulation fails unchanged:\n{result.output[-2000:]}")
            self._simulation_seconds, self._log = result.seconds, str(said["log"])

    def judge(self, mutant: Mutant) -> Verdict:
        """What its room's tests and then the simulation say; the copy is as before afterwards."""
        path = self._copy / mutant.path
        for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            cached.unlink()
        path.write_bytes(mutant.mutated())
        try:
            return self._judge(mutant.room)
        finally:
            path.write_bytes(mutant.source)

    def _judge(self, room: Room) -> Verdict:
        allowed = TIMEOUT_FACTOR * self._test_seconds[room.name] + TIMEOUT_EXTRA_SECONDS
        result = self._run(self._tests(room), timeout_seconds=allowed)
        if result.code != 0:
            failed = _FAILED.search(result.output)
            by = "time-out" if result.code is None else failed[1] if failed else f"exit code {result.code}"
            return Verdict(False, "tests", by, result.seconds)
        spent = result.seconds
        allowed = TIMEOUT_FACTOR * self._simulation_seconds + TIMEOUT_EXTRA_SECONDS
        result = self._run(self._simulation(), timeout_seconds=allowed)
        spent += result.seconds
        if result.code is None:
            return Verdict(False, "simulation", "time-out", spent)
        said = _last_object(result.output)
        if not said:
            return Verdict(False, "simulation", f"exit code {result.code}", spent)
        if said["violation"] is not None:
            return Verdict(False, "simulation", f"{said['violation']} (seed {said['seed']})", spent)
        return Verdict(True, "simulation", "", spent, log_differs=said["log"] != self._log)

    @staticmethod
    def _tests(room: Room) -> list[str]:
        options = ("-x", "-q", "-p", "no:cacheprovider", "-k", "not postgresql")
        return [sys.executable, "-m", "pytest", *options, *room.tests]

    def _simulation(self) -> list[str]:
        size = ("--seeds", str(self._seeds), "--tasks", str(self._tasks))
        return [sys.executable, "-m", "mutation.simulated", *size]

    def _run(self, command: Sequence[str], *, timeout_seconds: float) -> "_Result":
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(self._copy / "src"), str(self._copy))),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        started = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=self._copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            code: int | None
            try:
                output, _ = process.communicate(timeout=timeout_seconds)
                code = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with what the tests have started themselves
                output, _ = process.communicate()
                code = None
        return _Result(code, output.decode(errors="replace"), time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Result:
    """`code` is None when the time was up."""

    code: int | None
    output: str
    seconds: float


def _last_object(output: str) -> dict[str, object]:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            said = json.loads(line)
            assert isinstance(said, dict)
            return said
    return {}
