"""Cutting a failing seed down to the shortest list of faults that still breaks the same promise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, TypeVar

from simulation.run import RunResult, run
from simulation.tempo import Patches
from simulation.world.kinds import Fault
from simulation.world.plan import Plan, PlannedBatch

RUNS_MAX = 300
"""Simulations that one shrinking may take."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest failing run found; `runs` is what it took, `faults_before` what the seed had."""

    result: RunResult
    runs: int
    faults_before: int

    def regression_test(self) -> str:
        """Python source of a test that replays the failure.

        It carries the plan as well as the faults, so that it stays the same run when seeds draw others.
        """
        result = self.result
        imports = {"simulation.world.plan": {"Plan", "PlannedBatch"}, "simulation": {"run"}}
        imports["rushes.run.context"] = {"UnconfirmedPolicy"}
        imports["rushes.providers.base"] = {"ProviderLimits"}
        if result.faults:
            imports["simulation.world.kinds"] = {type(fault).__name__ for fault in result.faults}
        lines = [f"from {module} import {', '.join(sorted(imports[module]))}" for module in sorted(imports)]
        faults = "".join(f"        {_source(fault)},\n" for fault in result.faults)
        return (
            "\n".join(lines)
            + f"\n\n\ndef test_seed_{result.seed}_{(result.violation or 'holds').lower()}() -> None:\n"
            f"    plan = {_source(result.plan)}\n"
            f"    faults = [\n{faults}    ]\n"
            f"    result = run({result.seed}, plan=plan, faults=faults)\n"
            f"    assert result.violation is None, result.message\n"
        )


def _source(value: Any) -> str:
    """The value as Python that makes it again."""
    match value:
        case Enum():
            return f"{type(value).__name__}.{value.name}"
        case tuple():
            inner = ", ".join(_source(item) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case _ if hasattr(value, "__dataclass_fields__"):
            named = ", ".join(f"{f.name}={_source(getattr(value, f.name))}" for f in fields(value))
            return f"{type(value).__name__}({named})"
        case _:
            return repr(value)


def shrink(failed: RunResult, *, bug: Callable[[Patches], None] | None = None) -> Shrunk:
    """Fewer faults, then fewer batches and tasks, then fewer faults again: delta debugging (A. Zeller and
    R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on Software
    Engineering 28(2), 2002)."""
    return _Shrinker(failed, bug).run()


class _Shrinker:
    def __init__(self, failed: RunResult, bug: Callable[[Patches], None] | None) -> None:
        self._first, self._best, self._bug = failed, failed, bug
        self._runs = 0

    def run(self) -> Shrunk:
        self._fewer_faults()
        self._fewer_batches()
        self._smaller_batches()
        self._fewer_faults()
        return Shrunk(self._best, self._runs, len(self._first.faults))

    def _still_fails(self, plan: Plan, faults: Sequence[Fault]) -> bool:
        if self._runs >= RUNS_MAX:
            return False
        self._runs += 1
        result = run(self._first.seed, plan=plan, faults=faults, bug=self._bug)
        if result.violation != self._first.violation:
            return False
        self._best = result
        return True

    def _fewer_faults(self) -> None:
        self._fewer(
            lambda: self._best.faults,
            lambda faults: self._still_fails(self._best.plan, faults),
            least=0,
        )

    def _fewer_batches(self) -> None:
        # faults name batches by their number: those that name one that is gone do nothing
        self._fewer(lambda: self._best.plan.batches, self._with_batches, least=1)

    def _smaller_batches(self) -> None:
        for number in range(len(self._best.plan.batches)):
            while self._best.plan.batches[number].tasks > 1 and self._halved(number):
                pass

    def _halved(self, number: int) -> bool:
        batches = list(self._best.plan.batches)
        batches[number] = replace(batches[number], tasks=batches[number].tasks // 2)
        return self._with_batches(batches)

    def _with_batches(self, batches: Sequence[PlannedBatch]) -> bool:
        return self._still_fails(replace(self._best.plan, batches=tuple(batches)), self._best.faults)

    @staticmethod
    def _fewer(
        best: Callable[[], Sequence[T]], still_fails: Callable[[list[T]], bool], *, least: int
    ) -> None:
        parts = 2
        while len(best()) > least:
            size = max(1, -(-len(best()) // parts))
            if any(still_fails(rest) for rest in _without_a_part(list(best()), size) if len(rest) >= least):
                parts = max(2, parts - 1)
            elif size == 1:
                return
            else:
                parts = min(len(best()), 2 * parts)


def _without_a_part(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[:start] + items[start + size :]
