"""What the README says is so."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rushes.cli import main
from rushes.cli.app import COMMANDS, app_with
from rushes.domain.task import FINAL_STATUSES, TRANSITIONS, TaskStatus
from rushes.simulator import SimulatorKnobs, running_simulator
from tests.api.harness import running_service

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
whole_app = app_with(COMMANDS)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_diagram_shows_exactly_the_transitions() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", page, re.DOTALL)
    assert diagram is not None
    arrows = set(re.findall(r"^\s*(\S+) --> ([^\s:]+)", diagram[1], re.MULTILINE))
    expected = {(before.value, after.value) for before, afters in TRANSITIONS.items() for after in afters}
    ends = {(status.value, "[*]") for status in FINAL_STATUSES}
    assert arrows == expected | ends | {("[*]", TaskStatus.PENDING.value)}


def test_every_command_that_is_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    named = {
        *re.findall(r"^rushes ([a-z]+)", code, re.MULTILINE),
        *re.findall(r"`rushes ([a-z]+)", README),
    }
    assert {"demo", "run", "worker", "tick", "batch", "credits", "audit", "poll", "models", "sim"} <= named
    for command in named:
        assert main([command, "--help"]) == 0, capsys.readouterr().err
    groups = {"batch": "list", "credits": "grant", "audit": "statement"}
    for group, first in groups.items():
        row = re.search(rf"^\| `rushes {group}` \|.*`{first}`.*$", README, re.MULTILINE)
        assert row is not None
        for command in re.findall(r"`([a-z]+)`", row[0]):
            assert main([group, command, "--help"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_table_has_every_command(page: str) -> None:
    text = (ROOT / page).read_text()
    rows = [row for row in re.findall(r"^\|.*\|$", text, re.MULTILINE) if row.startswith("| `rushes ")]
    named = [name for row in rows for name in re.findall(r"`rushes ([a-z]+)`", row)]
    assert sorted(named) == sorted(COMMANDS)
    for row in rows:
        first, *others = re.findall(r"`rushes ([a-z]+)`", row)
        inner = [name for name in whole_app[first] if not name.startswith("-")]
        assert others or set(inner) <= set(re.findall(r"`([a-z]+)`", row)), f"{page}: {first} has {inner}"


def test_the_make_targets_and_pages_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).is_file(), link


def test_the_library_example_runs_as_printed(tmp_path: Path) -> None:
    example = next(code for code in PYTHON if "import Rushes" in code)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("RUSHES_", "GRSAI_"))
    }
    with running_simulator(SimulatorKnobs(render_seconds=0.1)) as simulator:
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            env={
                **inherited,
                "GRSAI_HOST": simulator.base_url,
                "GRSAI_API_KEY": "any",
                "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.2",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in lines[:2]] == ["succeeded", "succeeded"]
    assert lines[-1] == "20 = 20 + 0"


def test_the_client_example_runs_as_printed(tmp_path: Path, new_database_url: Callable[[str], str]) -> None:
    example = next(code for code in PYTHON if "import Client" in code)
    with (
        running_simulator(SimulatorKnobs(render_seconds=0.1)) as simulator,
        running_service(new_database_url("sqlite"), simulator.base_url) as service,
    ):
        tenant = service.tenant(credits=100)
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            env={**os.environ, "SERVICE_URL": tenant.base_url, "SERVICE_KEY": tenant.key},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-2:] == ["succeeded 2", "2 videos, 80 credits left"]
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 2
