"""A release: `make release VERSION=0.2.0` writes version and changelog, builds, checks, commits and tags.

It makes dist/: wheel, sdist, bill of materials and SHA256SUMS. Nothing is uploaded and nothing is pushed;
`git tag -d` and `git reset` undo it. Raises `SystemExit` with a sentence when the tree is not clean, the
version is not newer, the tag is there, or the changelog has nothing to release.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSION_FILE = "src/rushes/__init__.py"
CHANGELOG = "CHANGELOG.md"

_VERSION = re.compile(r"^\d+\.\d+\.\d+$")
_VERSION_LINE = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_UNRELEASED = "## [Unreleased]\n"


def version_of(text: str) -> str:
    """The version that the package's source names."""
    found = _VERSION_LINE.search(text)
    if found is None:
        raise SystemExit(f'{VERSION_FILE} has no line __version__ = "…"')
    return found[1]


def next_version(text: str, version: str) -> str:
    """The source with the new version. Raises `SystemExit` unless it is X.Y.Z and newer."""
    if not _VERSION.match(version):
        raise SystemExit(f"{version} is not a version such as 0.2.0")
    old = version_of(text)
    if _numbers(version) <= _numbers(old):
        raise SystemExit(f"{version} is not newer than {old}")
    return _VERSION_LINE.sub(f'__version__ = "{version}"', text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def released_changelog(text: str, version: str, today: date) -> str:
    """The changelog with what was unreleased under the version. Raises `SystemExit` when that is nothing."""
    before, heading, rest = text.partition(_UNRELEASED)
    if not heading:
        raise SystemExit(f"{CHANGELOG} has no section [Unreleased]")
    entries = rest.partition("\n## [")[0].strip()
    if "\n- " not in f"\n{entries}":
        raise SystemExit(f"{CHANGELOG} has nothing under [Unreleased]")
    return f"{before}{heading}\n## [{version}] - {today.isoformat()}\n{rest}"


def build(root: Path, dist: Path) -> list[Path]:
    """Wheel and sdist of the tree, by the build backend of pyproject.toml."""
    dist.mkdir(parents=True, exist_ok=True)
    for old in dist.iterdir():
        old.unlink()
    for hook in ("build_wheel", "build_sdist"):
        call = f"import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])"
        _run(root, sys.executable, "-c", call, str(dist))
    return sorted(dist.iterdir())


def check_wheel(wheel: Path, version: str) -> None:
    """Install the wheel into an empty environment and ask it for its version and files.

    Raises `SystemExit` when it names another version or misses what is no Python module.
    """
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in ("rushes/py.typed", "rushes/store/migrations/script.py.mako"):
        if needed not in names:
            raise SystemExit(f"{wheel.name} has no {needed}")
    with tempfile.TemporaryDirectory(prefix="rushes-release-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
        _run(wheel.parent, str(python), *install, str(wheel))
        said = _run(Path(folder), str(python), "-c", "import rushes; print(rushes.__version__)")
    if said.strip() != version:
        raise SystemExit(f"the wheel says that it is {said.strip()}, not {version}")


def write_sums(dist: Path) -> None:
    """SHA256SUMS of everything in the folder, as `sha256sum --check` reads it."""
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(dist.iterdir())}
    (dist / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def release(root: Path, version: str, today: date, *, checks: bool) -> list[Path]:
    """All of it, in this repository. Returns the files of dist/."""
    if _run(root, "git", "status", "--porcelain", "--untracked-files=no").strip():
        raise SystemExit("there are changes that are not committed")
    if _run(root, "git", "tag", "--list", f"v{version}").strip():
        raise SystemExit(f"the tag v{version} is there already")
    source, changelog = root / VERSION_FILE, root / CHANGELOG
    new_source = next_version(source.read_text(), version)
    new_changelog = released_changelog(changelog.read_text(), version, today)
    source.write_text(new_source)
    changelog.write_text(new_changelog)
    try:
        if checks:
            _run(root, "make", "check")
        dist = root / "dist"
        wheel = next(file for file in build(root, dist) if file.suffix == ".whl")
        check_wheel(wheel, version)
        bill = json.loads(_run(root, sys.executable, "-m", "release.sbom", "--print"))
        bill["metadata"]["component"]["version"] = version
        (dist / f"rushes-{version}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
        write_sums(dist)
    except BaseException:
        _run(root, "git", "checkout", "--quiet", "--", VERSION_FILE, CHANGELOG)
        raise
    _run(root, "git", "commit", "--quiet", "--message", f"Release {version}", "--", VERSION_FILE, CHANGELOG)
    _run(root, "git", "tag", "--annotate", f"v{version}", "--message", f"rushes {version}")
    return sorted(dist.iterdir())


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def main() -> None:
    """`python -m release.making VERSION`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version")
    for file in release(ROOT, parser.parse_args().version, datetime.now(UTC).date(), checks=True):
        print(f"{file.stat().st_size:>10,}  {file.relative_to(ROOT)}")
    print("tagged; nothing was pushed or uploaded")


if __name__ == "__main__":
    main()
