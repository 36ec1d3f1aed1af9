"""What is in deploy/: systemd accepts each line of the units, rushes each command of units and containers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from proofs.container import steps

from rushes.cli.app import app

UNITS = Path(__file__).parent.parent / "deploy" / "systemd"
PROGRAM = "/opt/rushes/bin/rushes"
CONTAINER = UNITS.parent / "container"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace(PROGRAM, f"{Path(sys.executable).parent}/rushes")
        (tmp_path / unit.name.replace("@.", "@1.")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))], capture_output=True, text=True
    )
    # it ends well for an option that it does not know, but says so; other units of the machine are not ours
    said = [line for line in (done.stdout + done.stderr).splitlines() if "rushes" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda path: path.stem)
def test_rushes_takes_the_command_that_the_unit_starts(unit: Path) -> None:
    (command,) = re.findall(rf"^ExecStart={PROGRAM} (.+)$", unit.read_text(), re.MULTILINE)
    parsed, _, _ = app.parse_args(command.split(), exit_on_error=False, print_error=False)
    assert parsed.__name__ == command.split()[0]


def test_rushes_takes_the_commands_of_the_containers() -> None:
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    commands = [service["command"] for service in services.values() if service.get("image") == "rushes"]
    assert [command[0] for command in commands] == ["serve", "worker"]
    for command in commands:
        parsed, _, _ = app.parse_args(command, exit_on_error=False, print_error=False)
        assert parsed.__name__ == command[0]


def test_containers_get_longer_to_stop_than_submits_may_take() -> None:
    services = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]
    unit = (UNITS / "rushes-serve.service").read_text()
    for name in ("service", "worker"):
        assert f"TimeoutStopSec={services[name]['stop_grace_period'].removesuffix('s')}" in unit


def test_the_image_copies_only_what_there_is_and_runs_as_nobody_special() -> None:
    done = list(steps((CONTAINER / "Containerfile").read_text()))
    copied = [
        argument.split()[:-1]
        for instruction, argument in done
        if instruction == "COPY" and "--from" not in argument
    ]
    assert copied
    assert all((UNITS.parents[1] / source).exists() for sources in copied for source in sources)
    assert ("USER", "rushes") in done
