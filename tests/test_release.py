"""`make release` on a copy of the project: what it writes, builds, tags and refuses."""

import hashlib
import shutil
import subprocess
import tarfile
from datetime import date
from pathlib import Path

import pytest
from release.making import next_version, release, released_changelog

ROOT = Path(__file__).parent.parent
TODAY = date(2026, 11, 29)


def git(folder: Path, *arguments: str) -> str:
    """Git's answer in the folder."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files in a repository of their own."""
    folder = tmp_path_factory.mktemp("release") / "rushes"
    folder.mkdir()
    for name in ("src", "release", "requirements"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    log = folder / "CHANGELOG.md"
    entry = "## [Unreleased]\n\n### Added\n\n- A line.\n"
    log.write_text(log.read_text().replace("## [Unreleased]\n", entry, 1))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "A")
    git(folder, "config", "user.email", "a@example.com")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Begin")
    return folder


def test_a_release_is_built_checked_and_tagged(copy: Path) -> None:
    names = {file.name for file in release(copy, "9.0.0", TODAY, checks=False)}
    wheel, sdist = "rushes-9.0.0-py3-none-any.whl", "rushes-9.0.0.tar.gz"
    assert names == {wheel, sdist, "rushes-9.0.0.cdx.json", "SHA256SUMS"}
    sums = [line.split("  ") for line in (copy / "dist/SHA256SUMS").read_text().splitlines()]
    digest = {name: digest for digest, name in sums}
    assert digest[wheel] == hashlib.sha256((copy / "dist" / wheel).read_bytes()).hexdigest()
    with tarfile.open(copy / "dist" / sdist) as archive:
        assert "rushes-9.0.0/src/rushes/__init__.py" in archive.getnames()
    assert git(copy, "tag").split() == ["v9.0.0"]
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "log", "-1", "--format=%s").strip() == "Release 9.0.0"
    log = (copy / "CHANGELOG.md").read_text()
    assert "## [Unreleased]\n\n## [9.0.0] - 2026-11-29\n\n### Added\n\n- A line.\n" in log
    with pytest.raises(SystemExit, match="is there already"):
        release(copy, "9.0.0", TODAY, checks=False)
    with pytest.raises(SystemExit, match="nothing under"):
        release(copy, "9.1.0", TODAY, checks=False)
    (copy / "README.md").write_text("changed")
    with pytest.raises(SystemExit, match="not committed"):
        release(copy, "9.1.0", TODAY, checks=False)


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.1", "not a version"), ("v2.0.0", "not a version"), ("0.2.0", "not newer"), ("0.1.9", "not newer")],
)
def test_a_version_that_is_none_or_not_newer_is_refused(version: str, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        next_version('__version__ = "0.2.0"\n', version)


def test_a_changelog_without_entries_is_refused() -> None:
    with pytest.raises(SystemExit, match="no section"):
        released_changelog("# Changelog\n", "1.0.0", TODAY)
    with pytest.raises(SystemExit, match="nothing under"):
        released_changelog("## [Unreleased]\n\n## [0.1.0] - 2026-01-01\n\n- x\n", "1.0.0", TODAY)
