"""The environment of the clients for Node, below build/clients."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from clients.environments import ENVIRONMENTS, INSTALL_SECONDS_MAX, INSTALLED, CannotBeInstalled

HERE: Final = Path(__file__).parent
FOLDER: Final = ENVIRONMENTS / "front-node"
PROGRAM_SECONDS_MAX: Final = 300


def installed() -> Path:
    """The folder with what `package.json` names. Raises `CannotBeInstalled`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise CannotBeInstalled("there is no node here")
    wanted, stamp = HERE / "package.json", FOLDER / INSTALLED
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(wanted, FOLDER)
    try:
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], FOLDER)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise CannotBeInstalled(said[-1][:300] if said else "npm install failed") from None
    stamp.write_bytes(wanted.read_bytes())
    return FOLDER


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the command prints. Raises `subprocess.SubprocessError`."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        check=True,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS_MAX if "install" in command else PROGRAM_SECONDS_MAX,
    )
    return done.stdout
