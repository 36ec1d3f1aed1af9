"""A small project, with real processes: what its tests and its simulation notice, and what survives."""

import json
from pathlib import Path

import mutation.__main__ as command
import pytest
from mutation.judges import BaselineFailed, Workspace
from mutation.mutants import Mutant, mutants_of
from mutation.record import Record, RecordRefused
from mutation.rooms import Room

from mutation import simulated

ROOM = Room("counting", sources=("src/rushes/counting.py",), tests=("tests/test_counting.py",))

FILES = {
    "src/rushes/__init__.py": "",
    "src/rushes/counting.py": """\
def first(n):
    return n + 1


def second(n):
    return n > 1


def third(m):
    return m < 1


def wait(n):
    while n > 0:
        n -= 1


def rest(k):
    while k > 0:
        k -= 1
""",
    "tests/test_counting.py": """\
from rushes.counting import first, wait

def test_first():
    assert first(1) == 2
    wait(2)

def test_nothing_of_it():
    pass
""",
    "simulation/__init__.py": "",
    "simulation/run.py": """\
from types import SimpleNamespace
from rushes.counting import rest, second

def run(seed, *, tasks):
    rest(tasks)
    violation = None if second(2) and not second(1) else "SECOND"
    return SimpleNamespace(violation=violation, fingerprint=str(second(0)))
""",
    "mutation/__init__.py": "",
    "mutation/simulated.py": Path(simulated.__file__).read_text(),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Workspace:
    (tmp_path / "space").mkdir()
    made = Workspace(project, tmp_path / "space", seeds=1, tasks=1)
    made.measure([ROOM])
    return made


def mutant(project: Path, replacement: str) -> Mutant:
    [found] = [each for each in mutants_of(ROOM, project) if each.change.replacement == replacement]
    return found


def test_each_judge_notices_what_is_its_own(project: Path, workspace: Workspace) -> None:
    found = workspace.judge(mutant(project, "n - 1"))
    assert (found.survived, found.stage, found.by) == (False, "tests", "tests/test_counting.py::test_first")
    found = workspace.judge(mutant(project, "n >= 1"))
    assert (found.survived, found.stage, found.by) == (False, "simulation", "SECOND (seed 1)")
    found = workspace.judge(mutant(project, "m <= 1"))
    assert (found.survived, found.by, found.log_differs) == (True, "", False)


def test_only_what_executes_the_changed_statement_is_run(project: Path, workspace: Workspace) -> None:
    assert workspace.judge(mutant(project, "n - 1")).tests == 1, "the other test does not come by it"
    found = workspace.judge(mutant(project, "n >= 1"))
    assert (found.tests, found.stage) == (0, "simulation")
    assert workspace.judge(mutant(project, "m <= 1")).seconds == 0.0, "nothing executes it"


def test_a_mutant_that_never_ends_is_found_by_the_time(
    project: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mutation.judges.TIMEOUT_EXTRA_SECONDS", 1.0)
    monkeypatch.setattr("mutation.judges.TIMEOUT_FACTOR", 1.0)
    endless = [each for each in mutants_of(ROOM, project) if each.change.what == "assignment dropped"]
    by_tests, by_simulation = [workspace.judge(each) for each in endless]
    assert (by_tests.survived, by_tests.by) == (False, "tests/test_counting.py::test_first")
    assert (by_simulation.survived, by_simulation.by) == (False, "took too long")


def test_no_mutant_touches_the_project(project: Path, workspace: Workspace) -> None:
    workspace.judge(mutant(project, "n - 1"))
    assert {name: (project / name).read_text() for name in FILES} == FILES
    assert workspace.judge(mutant(project, "m <= 1")).survived, "the change before is undone"


def test_a_project_whose_own_tests_fail_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "tests/test_counting.py").write_text("def test_it():\n    assert False\n")
    (tmp_path / "other").mkdir()
    workspace = Workspace(project, tmp_path / "other", seeds=1, tasks=1)
    with pytest.raises(BaselineFailed, match=r"tests fail unchanged \(tests/test_counting.py\)"):
        workspace.measure([ROOM])


def test_a_run_goes_on_where_it_was_stopped(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PROJECT", project)
    monkeypatch.setattr(command, "ROOMS", (ROOM,))
    monkeypatch.setattr("os.nice", lambda _by: 0)
    record = tmp_path / "record.jsonl"
    run = ["--record", str(record), "--seeds", "1", "--tasks", "1"]
    assert command.main([*run, "--mutants", "2"]) == 0
    first = record.read_text().splitlines()
    assert len(first) == 2
    assert command.main([*run, "--mutants", "4"]) == 0
    rows = record.read_text().splitlines()
    assert rows[:2] == first
    assert len(rows) == len({json.loads(row)["id"] for row in rows}) == 4
    capsys.readouterr()
    assert command.main([*run, "--mutants", "5", "--hours", "0"]) == 1, "one is left"
    assert "1 not judged yet" in capsys.readouterr().out.splitlines()[-1]


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text('{"id": "x"}\n')
    with pytest.raises(RecordRefused, match="line 1"):
        Record(path)
