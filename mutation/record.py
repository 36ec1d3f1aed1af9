"""The record of a run: one line of JSON for each mutant that was judged."""

import json
from dataclasses import asdict
from pathlib import Path

from mutation.judges import Verdict
from mutation.mutants import Mutant


class RecordRefused(Exception):
    """The file is no record of mutants."""


class Record:
    """`verdicts` by the mutants' ids. Raises `RecordRefused` for a file that holds anything else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.verdicts: dict[str, Verdict] = {}
        if not path.exists():
            return
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                self.verdicts[row["id"]] = Verdict(**row["verdict"])
            except (ValueError, TypeError, KeyError) as error:
                raise RecordRefused(f"{path}, line {number}, is no verdict on a mutant: {error!r}") from None

    def append(self, mutant: Mutant, verdict: Verdict) -> None:
        """Write a line at the end."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        row = {
            "id": mutant.id,
            "room": mutant.room.name,
            "verdict": asdict(verdict),
            "diff": mutant.diff().splitlines(),
        }
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.verdicts[mutant.id] = verdict
