"""An environment of its own for each client, below build/clients; a client that cannot be had is skipped."""

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
ENVIRONMENTS: Final = ROOT / "build" / "clients"
INSTALL_SECONDS_MAX: Final = 600
INSTALLED: Final = ".installed"


class CannotBeInstalled(Exception):
    """Why a client cannot be had here, in one line."""


def python_of(name: str) -> Path:
    """The interpreter with the client of `clients/requirements/NAME.txt`; installs it where it is not yet.

    Raises `CannotBeInstalled`.
    """
    folder, wanted = ENVIRONMENTS / name, Path(__file__).parent / "requirements" / f"{name}.txt"
    python, stamp = folder / "bin" / "python", folder / INSTALLED
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return python
    try:
        venv.create(folder, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*command, "-r", str(wanted)],
            check=True,
            timeout=INSTALL_SECONDS_MAX,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        lines = [line for line in said.decode(errors="replace").splitlines() if "ERROR" in line.upper()]
        raise CannotBeInstalled((lines or [str(error)])[-1].strip()[:300]) from None
    stamp.write_bytes(wanted.read_bytes())
    return python


def run_script(python: Path, script: str, asked: str) -> str:
    """What the script prints, given `asked` on stdin. Raises `subprocess.CalledProcessError` with stderr."""
    path = Path(__file__).parent / "scripts" / script
    done = subprocess.run(
        [str(python), str(path)], input=asked, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr[-3000:])
        raise subprocess.CalledProcessError(done.returncode, script)
    return done.stdout.strip().splitlines()[-1]
