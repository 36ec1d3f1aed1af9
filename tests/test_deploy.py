"""The units in deploy/systemd: systemd accepts every line, and rushes accepts the commands they start."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rushes.cli.app import app

UNITS = Path(__file__).parent.parent / "deploy" / "systemd"
PROGRAM = "/opt/rushes/bin/rushes"


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
