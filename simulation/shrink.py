"""Cutting a failing seed down to the shortest list of faults that still breaks the same promise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulation.faults import Fault
from simulation.run import RunResult, run
from simulation.tempo import Patches

RUNS_MAX = 300
"""Simulations that one shrinking may take."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest failing run found; `runs` is what it took, `faults_before` what the seed had."""

    result: RunResult
    runs: int
    faults_before: int

    def regression_test(self) -> str:
        """Python source of a test that replays the failure."""
        result = self.result
        names = sorted({type(fault).__name__ for fault in result.faults})
        imports = f"from simulation.faults import {', '.join(names)}\n" if names else ""
        faults = "".join(f"        {fault!r},\n" for fault in result.faults)
        listed = f"[\n{faults}    ]" if faults else "[]"
        return (
            f"from simulation import run\n{imports}\n\n"
            f"def test_seed_{result.seed}_{(result.violation or 'holds').lower()}() -> None:\n"
            f"    faults = {listed}\n"
            f"    result = run({result.seed}, tasks={result.tasks}, faults=faults)\n"
            f"    assert result.violation is None, result.message\n"
        )


def shrink(failed: RunResult, *, bug: Callable[[Patches], None] | None = None) -> Shrunk:
    """Fewer tasks first, then fewer faults: delta debugging (A. Zeller and R. Hildebrandt, "Simplifying
    and Isolating Failure-Inducing Input", IEEE Transactions on Software Engineering 28(2), 2002)."""
    return _Shrinker(failed, bug).run()


class _Shrinker:
    def __init__(self, failed: RunResult, bug: Callable[[Patches], None] | None) -> None:
        self._first, self._best, self._bug = failed, failed, bug
        self._runs = 0

    def run(self) -> Shrunk:
        self._fewer_tasks()
        self._fewer_faults()
        self._fewer_tasks()
        return Shrunk(self._best, self._runs, len(self._first.faults))

    def _still_fails(self, faults: Sequence[Fault], tasks: int) -> bool:
        if self._runs >= RUNS_MAX:
            return False
        self._runs += 1
        result = run(self._first.seed, tasks=tasks, faults=faults, bug=self._bug)
        if result.violation != self._first.violation:
            return False
        self._best = result
        return True

    def _fewer_tasks(self) -> None:
        # a seed with another number of tasks is another plan, so this only sometimes works
        tasks = self._best.tasks
        for smaller in (1, 2, 5, tasks // 20, tasks // 5, tasks // 2):
            if 0 < smaller < tasks and self._still_fails(self._best.faults, smaller):
                return

    def _fewer_faults(self) -> None:
        parts = 2
        while len(self._best.faults) >= 1:
            faults = list(self._best.faults)
            size = max(1, -(-len(faults) // parts))
            for start in range(0, len(faults), size):
                rest = faults[:start] + faults[start + size :]
                if self._still_fails(rest, self._best.tasks):
                    parts = max(2, parts - 1)
                    break
            else:
                if size == 1:
                    return
                parts = min(len(faults), 2 * parts)
