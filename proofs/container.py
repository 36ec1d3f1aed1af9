"""container: the steps of deploy/container/Containerfile in a bare Debian, and the demo there as an unprivileged user.

For machines without images: mmdebstrap makes the Debian (as root), each RUN and COPY of the file is done in it, and
`rushes demo` runs as the file's USER. It is not part of `all`, for it installs a whole system.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from proofs.result import ProofResult

ROOT = Path(__file__).resolve().parent.parent
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
TASKS = 28
COMMAND_SECONDS_MAX = 600


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--keep` leaves the Debian where it is."""
    parser.add_argument("--keep", action="store_true", help="leave the folder with the Debian")


def steps(text: str) -> Iterator[tuple[str, str]]:
    """`(instruction, argument)` of a Containerfile without continued lines, comments left out."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            instruction, _, argument = line.partition(" ")
            yield instruction, argument


def run(options: argparse.Namespace) -> ProofResult:
    """Do every step in a Debian of its own."""
    result = ProofResult("container")
    started = time.monotonic()
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        result.differ(["it needs root and mmdebstrap (apt-get install mmdebstrap)"])
        return result
    folder = Path(tempfile.mkdtemp(prefix="rushes-container-"))
    try:
        _build(folder, result)
        said = _inside(folder, "rushes demo", user="rushes", environment=_environment())
        result.fact(
            "credits", next((line for line in said.splitlines() if line.startswith("reserved")), "none")
        )
        if "audit clean" not in said:
            result.differ([f"the demo ended without a clean audit: {said[-300:]}"])
        owner = _inside(folder, "id -un", user="rushes", environment={})
        result.fact("run as", owner.strip())
    except subprocess.CalledProcessError as error:
        result.differ([f"{error.cmd}: {(error.stdout or '')[-400:]}{(error.stderr or '')[-400:]}"])
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    result.headline = "each step of the Containerfile and the demo"
    result.seconds = time.monotonic() - started
    return result


def _build(folder: Path, result: ProofResult) -> None:
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", str(folder)],
        check=True,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    # the machine's own way to the package index: its name servers, its certificates
    for name in ("resolv.conf", "pip.conf", "ssl/certs/ca-certificates.crt"):
        if (Path("/etc") / name).exists():
            shutil.copy(Path("/etc") / name, folder / "etc" / name)
    workdir, done = "/", 0
    for instruction, argument in steps(CONTAINERFILE.read_text()):
        match instruction:
            case "WORKDIR":
                workdir = argument
                (folder / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "COPY" if not argument.startswith("--from"):
                *sources, target = argument.split()
                _copy(sources, folder / workdir.lstrip("/") / target)
            case "RUN":
                _inside(folder, f"cd {shlex.quote(workdir)} && {argument}", user="root", environment={})
            case _:
                continue
        done += 1
    result.fact("steps done", done)


def _copy(sources: list[str], target: Path) -> None:
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(
                path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(path, target / path.name)


def _environment() -> dict[str, str]:
    found = dict(
        re.findall(r"(\w+)=(\S+)", next(a for i, a in steps(CONTAINERFILE.read_text()) if i == "ENV"))
    )
    return {**found, "HOME": found["RUSHES_DATA_DIR"], "LANG": "C.UTF-8"}


def _inside(folder: Path, command: str, *, user: str, environment: dict[str, str]) -> str:
    certificates = {name: os.environ[name] for name in ("PIP_CERT",) if name in os.environ}
    done = subprocess.run(
        [
            shutil.which("chroot") or "/usr/sbin/chroot",
            f"--userspec={user}",
            str(folder),
            "/bin/sh",
            "-c",
            f"cd {environment.get('HOME', '/')} && {command}",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            **certificates,
            **environment,
        },
    )
    return done.stdout + done.stderr
