"""The judges of a mutant, in a copy of the project: its room's tests, then the simulation.

The copy is complete, so that neither an installed package nor the current folder can lend the unchanged source.
Only what executes the changed statement is run: the shortest tests first.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutation import lines
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
TIMEOUT_FACTOR, TIMEOUT_EXTRA_SECONDS = 4.0, 10.0
"""A test gets so many times the time that it took for the unchanged source, and some seconds on top; the simulation,
which never waits, of processor time: other work does not end it."""

START_SECONDS_MAX = 120.0
"""How long a process may take for all but its tests."""

TRACED_SECONDS_MAX = 1800.0
"""How long the unchanged source may take while it is looked at line by line."""

TOO_SLOW_SHARE_MAX = 0.05
"""How many of a room's tests may fail unchanged while they are looked at line by line, which takes several times as
long: they have a time to keep, and judge nothing. Neither do those that take longer than `TEST_SECONDS_MAX` then."""

TEST_SECONDS_MAX = 30.0

TESTS_AT_ONCE = 4
"""Of the unchanged source, which mostly wait."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class BaselineFailed(Exception):
    """A judge refuses the unchanged source, or judges another source than the copy's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a mutant. `by` names the test or the broken promise; without it the mutant has survived.

    `stage` is `tests` or `simulation`: which judge was the last. `log_differs` tells whether the simulation's log
    was another one, None when it did not run to its end. `tests` is how many tests were run, or to be run.
    """

    survived: bool
    stage: str
    by: str
    seconds: float
    log_differs: bool | None = None
    tests: int | None = None


Ran = frozenset[tuple[str, int]]
"""Lines that were executed: of which file, relative to the project's folder, and which."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the unchanged source is judged: by room its tests, the shortest first, with the seconds that each takes
    and the lines that it executes; the same of the simulation, whose seconds are of processor time, and its log."""

    tests: dict[str, list[tuple[str, float, Ran]]]
    simulation_seconds: float
    simulation_ran: Ran
    log: str


class Workspace:
    """A copy of the project in `folder`, in which mutants are judged one after the other."""

    def __init__(self, project: Path, folder: Path, *, seeds: int, tasks: int) -> None:
        self._copy = folder / "project"
        self._seeds, self._tasks = seeds, tasks
        self._plugin = folder / "mutation_lines.py"
        shutil.copy(lines.__file__, self._plugin)
        self.baseline: Baseline | None = None
        shutil.copytree(project, self._copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self._require_own_source()

    def _require_own_source(self) -> None:
        code = "import rushes, simulation; print(rushes.__file__); print(simulation.__file__)"
        result = self._run([sys.executable, "-c", code], timeout_seconds=60.0)
        places = [Path(line).resolve() for line in result.output.splitlines()]
        if result.code != 0 or not all(place.is_relative_to(self._copy.resolve()) for place in places):
            raise BaselineFailed(f"the copy's own source is not imported: {result.output.strip()}")

    def measure(self, rooms: Sequence[Room]) -> Baseline:
        """Judge the unchanged source, line by line: everything must pass.

        Raises `BaselineFailed`.
        """
        files = [str(file) for room in rooms for file in room.files(self._copy)]
        judging = {room.tests for room in rooms}
        found = {tests: self._measure_tests(tests, files) for tests in sorted(judging)}
        by_room = {room.name: found[room.tests] for room in rooms}
        result = self._run(self._simulation(), timeout_seconds=TRACED_SECONDS_MAX)
        said = _last_object(result.output)
        if result.code != 0 or said.get("violation") is not None:
            raise BaselineFailed(f"the simulation fails unchanged:\n{result.output[-2000:]}")
        [_, _, *simulation] = self._simulation()
        traced = [sys.executable, "-m", self._plugin.stem, *simulation]
        [(_, passed, ran)] = self._traced(traced, files)[1].values()
        if not passed:
            raise BaselineFailed("the simulation fails line by line")
        self.baseline = Baseline(by_room, float(str(said["seconds"])), ran, str(said["log"]))
        return self.baseline

    def _measure_tests(self, judging: Sequence[str], files: Sequence[str]) -> list[tuple[str, float, Ran]]:
        at_once = ("-n", str(TESTS_AT_ONCE), "--dist", "loadfile")
        command = [*self._pytest(), "-p", self._plugin.stem, *at_once, *judging]
        result, found = self._traced(command, files)
        always = found.pop(lines.IMPORT)[2]
        failed = [name for name, (_, passed, _) in found.items() if not passed]
        if len(failed) > TOO_SLOW_SHARE_MAX * len(found):
            raise BaselineFailed(f"tests fail unchanged ({', '.join(judging)}):\n{result.output[-2000:]}")
        tests = [
            (name, seconds, ran | always)
            for name, (seconds, passed, ran) in found.items()
            if passed and seconds <= TEST_SECONDS_MAX
        ]
        return sorted(tests, key=lambda test: test[1])

    def _traced(
        self, command: Sequence[str], files: Sequence[str]
    ) -> tuple["_Result", dict[str, tuple[float, bool, Ran]]]:
        """What it said, and of each test its seconds, whether it passed, and the lines that it executed."""
        out = self._plugin.with_suffix(".json")
        told = {"MUTATION_LINES": str(out), "MUTATION_FILES": os.pathsep.join(files)}
        result = self._run(command, timeout_seconds=TRACED_SECONDS_MAX, told=told)
        found: dict[str, tuple[float, bool, Ran]] = {}
        for part in out.parent.glob(f"{out.stem}.*{out.suffix}"):
            for name, row in json.loads(part.read_text()).items():
                ran = frozenset(
                    (Path(file).relative_to(self._copy).as_posix(), line) for file, line in row["ran"]
                )
                before = found[name][2] if name in found else frozenset()
                found[name] = row["seconds"], row["passed"], before | ran
            part.unlink()
        if not found:
            raise BaselineFailed(f"nothing was looked at line by line:\n{result.output[-2000:]}")
        return result, found

    def judge(self, mutant: Mutant) -> Verdict:
        """What its room's tests and then the simulation say; the copy is as before afterwards."""
        path = self._copy / mutant.path
        for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            cached.unlink()
        path.write_bytes(mutant.mutated())
        try:
            return self._judge(mutant)
        finally:
            path.write_bytes(mutant.source)

    def _judge(self, mutant: Mutant) -> Verdict:
        assert self.baseline is not None
        changed = {(mutant.path, line) for line in mutant.lines()}
        tests = {name: took for name, took, ran in self.baseline.tests[mutant.room.name] if ran & changed}
        by, seconds = self._noticed_by_tests(tests) if tests else (None, 0.0)
        if by is not None:
            return Verdict(False, "tests", by, seconds, tests=len(tests))
        if not self.baseline.simulation_ran & changed:
            return Verdict(True, "simulation", "", seconds, log_differs=False, tests=len(tests))
        by, log, simulating = self._noticed_by_simulation(self.baseline)
        seconds += simulating
        if by is not None:
            return Verdict(False, "simulation", by, seconds, tests=len(tests))
        return Verdict(
            True, "simulation", "", seconds, log_differs=log != self.baseline.log, tests=len(tests)
        )

    def _noticed_by_tests(self, tests: Mapping[str, float]) -> tuple[str | None, float]:
        """Which of the tests fails, None when all pass, and after how many seconds; `tests` are the seconds that
        each takes unchanged, in the order in which they are run."""
        allowed = TIMEOUT_FACTOR * sum(tests.values()) + START_SECONDS_MAX
        bounds = self._plugin.with_name("bounds.json")
        bounds.write_text(
            json.dumps({name: TIMEOUT_FACTOR * took + TIMEOUT_EXTRA_SECONDS for name, took in tests.items()})
        )
        command = [*self._pytest(), "-x", "-p", self._plugin.stem, *tests]
        result = self._run(command, timeout_seconds=allowed, told={"MUTATION_BOUNDS": str(bounds)})
        if result.code == 0:
            return None, result.seconds
        if result.code is None:
            return "time-out", result.seconds
        failed = _FAILED.search(result.output)
        return failed[1] if failed else f"exit code {result.code}", result.seconds

    def _noticed_by_simulation(self, baseline: Baseline) -> tuple[str | None, str, float]:
        """What is broken, None when nothing is, the log of all seeds, and how many seconds it took."""
        allowed = TIMEOUT_FACTOR * baseline.simulation_seconds + TIMEOUT_EXTRA_SECONDS
        command = [*self._simulation(), "--seconds-max", str(allowed)]
        result = self._run(command, timeout_seconds=TRACED_SECONDS_MAX)
        if result.code is None:
            return "time-out", "", result.seconds
        said = _last_object(result.output)
        if not said:
            return f"exit code {result.code}", "", result.seconds
        seed = "" if said["seed"] is None else f" (seed {said['seed']})"
        by = None if said["violation"] is None else f"{said['violation']}{seed}"
        return by, str(said["log"]), result.seconds

    @staticmethod
    def _pytest() -> list[str]:
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not postgresql"]

    def _simulation(self) -> list[str]:
        size = ("--seeds", str(self._seeds), "--tasks", str(self._tasks))
        return [sys.executable, "-m", "mutation.simulated", *size]

    def _run(
        self, command: Sequence[str], *, timeout_seconds: float, told: Mapping[str, str] | None = None
    ) -> "_Result":
        places = (self._copy / "src", self._copy, self._plugin.parent)
        environment = {
            **os.environ,
            **(told or {}),
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": "",
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
