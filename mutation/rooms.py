"""Which source belongs to which room, and which tests judge it: the only place that names modules.

A move of modules is followed here and nowhere else. `python -m mutation --list` shows what is found.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Room:
    """Part of the engine: source files or folders, what to leave out of them, and the tests that judge it first.

    Paths are relative to the project's folder. `excluded` holds files and folders that are data, not behavior.
    """

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]
    excluded: tuple[str, ...] = ()

    def files(self, project: Path) -> list[Path]:
        """The source files, sorted. Raises `FileNotFoundError` when one that is named is not there."""
        found: set[Path] = set()
        for source in self.sources:
            path = project / source
            if not path.exists():
                raise FileNotFoundError(f"room {self.name!r}: {source} is not there; fix mutation/rooms.py")
            found.update(path.rglob("*.py") if path.is_dir() else [path])
        left_out = [project / name for name in self.excluded]
        return sorted(path for path in found if not any(path.is_relative_to(name) for name in left_out))


ENGINE_TESTS = ("tests/run", "tests/money/test_settle.py", "tests/money/test_retries.py", "tests/chains")
"""For all of the engine's rooms: of these only the tests that execute what was changed are run."""

ROOMS = (
    Room(
        "domain",
        sources=("src/rushes/domain",),
        tests=("tests/domain",),
        excluded=("src/rushes/domain/catalogue/families",),
    ),
    Room(
        "dispatch",
        sources=tuple(
            f"src/rushes/run/lane/{name}.py" for name in ("attempts", "claim", "fairness", "lane", "send")
        ),
        tests=ENGINE_TESTS,
    ),
    Room(
        "poll",
        sources=(
            "src/rushes/run/lane/poll.py",
            "src/rushes/run/lane/line_polls.py",
            "src/rushes/run/lane/asking_once.py",
        ),
        tests=ENGINE_TESTS,
    ),
    Room(
        "settle",
        sources=("src/rushes/run/commit.py", "src/rushes/money/settle.py"),
        tests=ENGINE_TESTS,
    ),
    Room(
        "upkeep",
        sources=tuple(f"src/rushes/run/{name}.py" for name in ("adopt", "nudges", "unconfirmed", "upkeep")),
        tests=ENGINE_TESTS,
    ),
)
