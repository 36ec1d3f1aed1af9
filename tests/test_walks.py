"""The walks of a task and a credit in docs/architecture.md: every step is there, called by its parent."""

import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
_STEP = re.compile(r"^( *)- `([\w.]+)` \(`([\w/]+)\.py`\)", re.MULTILINE)

JOINS_THE_TRANSACTION = "before_closing"
"""What settles may hand its transaction to: retries and due files, which belong to rooms above it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A function of a walk, and the one that it stands under."""

    name: str
    module: str
    parent: "Step | None"

    @property
    def function(self) -> Any:
        """What the page names; raises `AttributeError` when it is not there."""
        found: Any = importlib.import_module(self.module)
        for part in self.name.split("."):
            found = inspect.getattr_static(found, part)
        return found


def steps_under(heading: str) -> list[Step]:
    """The steps of the list below a heading."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    text, _, _ = rest.partition("\n## ")
    steps: list[Step] = []
    above: list[Step] = []
    for indent, name, path in _STEP.findall(text):
        depth = len(indent) // 2
        assert depth <= len(above), f"{name} stands two steps below its parent"
        step = Step(name, f"rushes.{path.replace('/', '.')}", above[depth - 1] if depth else None)
        above[depth:] = [step]
        steps.append(step)
    assert text.count("- `") == len(steps), "a line of the list names no function and file"
    return steps


STEPS = {heading: steps_under(heading) for heading in ("Follow a task", "Follow a credit")}


@pytest.mark.parametrize("heading", STEPS)
def test_each_step_is_a_function_and_called_by_the_one_it_stands_under(heading: str) -> None:
    for step in STEPS[heading]:
        assert inspect.isfunction(step.function), step.name
        assert step.function.__module__ == step.module, f"{step.name} stands in {step.function.__module__}"
        if step.parent is not None:
            word = step.name.rpartition(".")[2]
            assert re.search(rf"\b{word}\b", inspect.getsource(step.parent.function)), (
                f"{step.parent.name} does not call {step.name}"
            )


def test_a_task_is_followed_from_its_claim_to_its_settlement() -> None:
    names = [step.name for step in STEPS["Follow a task"]]
    way = ["Claims.claim", "send", "Committer.accepted", "ask", "Committer.verdict", "apply_group", "resolve"]
    assert [name for name in names if name in way] == way


def test_no_step_of_a_task_takes_a_function_to_call_back() -> None:
    for step in STEPS["Follow a task"]:
        callables = [
            name
            for name, parameter in inspect.signature(step.function).parameters.items()
            if "Callable" in str(parameter.annotation) and name != JOINS_THE_TRANSACTION
        ]
        assert callables == [], f"{step.name} takes {callables}"


def test_the_bounds_of_waits_stand_where_the_page_says() -> None:
    """A constant of the table is defined in the file that its row names, or somewhere if it names none."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("\n## Every wait and its bound\n")
    rows = re.findall(r"^\|.*\|$", rest.partition("\n## ")[0], re.MULTILINE)
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src" / "rushes").rglob("*.py")}
    named = 0
    for row in rows:
        where = row.rsplit("|", 2)[1]
        files = {
            path
            for name in re.findall(r"`([\w/]+\.py)`", where)
            for path in sources
            if f"/{name}" in str(path)
        }
        for constant in re.findall(r"`((?!RUSHES_)[A-Z][A-Z_]+[A-Z])`", where):
            named += 1
            defined = {
                path for path, text in sources.items() if re.search(rf"^{constant}\b.*=", text, re.MULTILINE)
            }
            assert defined & (files or defined), f"{constant} is not defined in {where}"
    assert named > 8
