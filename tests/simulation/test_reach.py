"""Branches are counted one by one, and counting them changes nothing of a run."""

import importlib.util
import multiprocessing
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from simulation.reach import Branch, Reach, Reached
from simulation.run import run

from simulation import reach

SOURCE = '''
class Counter:
    """Counts."""

    def step(self, n: int) -> str:
        """A docstring is no branch."""
        if n > 10:
            return "many"
        for _ in range(n):
            try:
                n / (n - 1)
            except ZeroDivisionError:
                return "one"
        match n:
            case 2:
                return "two"
            case _:
                return "some"

    @property
    def half(self) -> int:
        def inner() -> int:
            return 1

        return inner()

    async def later(self) -> int:
        return 1 if self.half else 2
'''


@pytest.fixture
def module(tmp_path: Path) -> Any:
    path = tmp_path / "counted_module.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("counted_module", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["counted_module"] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules["counted_module"]


def test_every_way_is_counted(module: ModuleType) -> None:
    counter = module.Counter()
    before = [counter.step(n) for n in (20, 1, 2, 3, 3)]
    counted = Reach({"room": (module,)})
    assert [counter.step(n) for n in (20, 1, 2, 3, 3)] == before
    assert counter.half == 1
    met = dict(zip((branch.name for branch in counted.branches), counted.take(), strict=True))
    assert met == {
        "Counter.step: called": 5,
        "Counter.step: if n > 10: yes": 1,
        "Counter.step: if n > 10: no": 4,
        "Counter.step: for _ in range(n): a turn": 9,
        "Counter.step: except ZeroDivisionError": 1,
        "Counter.step: case 2": 1,
        "Counter.step: case _": 2,
        "Counter.half: called": 1,
        "Counter.half.inner: called": 1,
        "Counter.later: called": 0,
    }
    assert set(counted.take()) == {0}, "what was taken is counted anew"


def test_a_run_is_the_same_with_its_branches_counted() -> None:
    """In a process of its own: the counters stay in the engine's functions for as long as it lives."""
    process = multiprocessing.get_context("spawn").Process(target=_count_a_run)
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _count_a_run() -> None:
    counters = reach.installed()
    counters.take()
    with_counters = run(3, tasks=20)
    met = {branch.name: n for branch, n in zip(counters.branches, counters.take(), strict=True)}
    assert with_counters.violation is None
    assert met["Poller.poll_once: called"] > 0
    assert met["Committer._commit: called"] >= met["apply_group: called"] / 2 > 0
    assert met["Lane.submit: called"] >= with_counters.submits > 0


def test_what_is_met_too_seldom_is_named(tmp_path: Path) -> None:
    branches = [Branch("poll", "f", "if a | b: yes"), Branch("poll", "f", "called")]
    reached = Reached(branches, [4, 5], tasks=10_000)
    assert reached.needed == 5
    assert reached.missed() == [(branches[0], 4)]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reach.MARKS[0]}\nold\n{reach.MARKS[1]}\nafter\n")
    reach.put_into(page, reached.table())
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{reach.MARKS[1]}\nafter\n")
    assert "| `f` · `if a \\| b: yes` | 4 |" in text
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no line"):
        reach.put_into(page, "")


def test_every_exemption_is_of_a_branch_that_is_there() -> None:
    installed = reach.installed().branches
    assert Reached(installed, [0] * len(installed), tasks=1).stale_exemptions() == []
