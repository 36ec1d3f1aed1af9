"""What many seeds came to, summed up; and the record of a campaign that is run in parts."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from simulation.run import RunResult

SUMMED = (
    *("pauses", "adoptions", "moved", "settled", "refunded", "waited_too_long"),
    *("commits", "polls", "virtual_seconds"),
)
"""The fields of a seed's result that a report adds up."""

_ROOT = Path(__file__).resolve().parent.parent


class RecordRefused(Exception):
    """The record is of another campaign: other code, or seeds of another size."""


class Outcome(msgspec.Struct, frozen=True):
    """A seed's result as it is recorded. `code` is the `code_sha256` of what was run."""

    seed: int
    tasks: int
    violation: str | None
    crash_points: dict[str, int]
    sums: dict[str, float]
    fingerprint: str
    code: str

    @classmethod
    def of(cls, result: RunResult) -> "Outcome":
        """The outcome of a run of the code as it is now."""
        return cls(
            seed=result.seed,
            tasks=result.tasks,
            violation=result.violation,
            crash_points=dict(result.crash_points),
            sums={name: getattr(result, name) for name in SUMMED},
            fingerprint=result.fingerprint,
            code=code_sha256(),
        )


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """SHA-256 of the package's and the simulation's sources: parts of one campaign must have run the same."""
    digest = hashlib.sha256()
    for folder in ("src/rushes", "simulation"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


class Record:
    """A file with a line of JSON for each seed that was run; a campaign that is started again goes on after
    them. Raises `RecordRefused` for a file of other code or of seeds of another size."""

    def __init__(self, path: Path, *, tasks: int) -> None:
        self._path = path
        self.outcomes = list(self._read(tasks))

    def _read(self, tasks: int) -> Iterator[Outcome]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            try:
                outcome = msgspec.json.decode(line, type=Outcome)
            except msgspec.DecodeError as error:
                raise RecordRefused(f"{self._path} is no record of a campaign: {error}") from None
            if outcome.code != code_sha256() or outcome.tasks != tasks:
                raise RecordRefused(
                    f"{self._path} holds seed {outcome.seed} of {outcome.tasks} tasks, run with the code"
                    f" {outcome.code[:12]}; this is {tasks} tasks with {code_sha256()[:12]}: use a new file"
                )
            yield outcome

    def append(self, outcome: Outcome) -> None:
        """Write a line at the end."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(outcome) + b"\n")


class Report:
    """The sums over seeds."""

    def __init__(self) -> None:
        self.crash_points: Counter[str] = Counter()
        self.tasks = 0
        self._sums: dict[str, float] = dict.fromkeys(SUMMED, 0)
        self._fingerprints: dict[int, str] = {}
        self._violations = 0

    def add(self, outcome: Outcome) -> None:
        """Add a seed; the same seed again is not counted twice."""
        if outcome.seed in self._fingerprints:
            return
        self._fingerprints[outcome.seed] = outcome.fingerprint
        self.tasks += outcome.tasks
        self.crash_points.update(outcome.crash_points)
        for name in SUMMED:
            self._sums[name] += outcome.sums[name]
        self._violations += outcome.violation is not None

    @property
    def crashes(self) -> int:
        """How often a process was killed."""
        return self.crash_points.total()

    def sums_line(self) -> str:
        """What happened in all, for people."""
        names = ("pauses", "adoptions", "moved", "settled", "refunded", "waited_too_long")
        counts = ", ".join(f"{self._sums[name]:.0f} {name.replace('_', ' ')}" for name in names)
        return (
            f"{self._sums['virtual_seconds'] / 3600:.0f} virtual hours, {self._sums['commits']:.0f} commits"
            f" checked, {self._sums['polls']:.0f} polls, {counts}"
        )

    def crash_points_line(self) -> str:
        """How often processes were killed at each point."""
        return "killed at: " + ", ".join(f"{point} {n}" for point, n in sorted(self.crash_points.items()))

    def last_line(self) -> str:
        """`seeds … tasks … crashes … violations … log sha256 …`; the hash is over the seeds' hashes in order."""
        whole = hashlib.sha256()
        for seed, fingerprint in sorted(self._fingerprints.items()):
            whole.update(f"{seed} {fingerprint}\n".encode())
        return (
            f"seeds {len(self._fingerprints)} tasks {self.tasks} crashes {self.crashes}"
            f" violations {self._violations} log sha256 {whole.hexdigest()}"
        )

    @property
    def exit_code(self) -> int:
        """1 when a promise was broken, else 0."""
        return 1 if self._violations else 0
