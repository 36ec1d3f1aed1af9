"""Mutants of the rooms, and which of them a seed draws."""

import difflib
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

from mutation.operators import Change, changes, is_another_program, lines_of
from mutation.rooms import Room


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to one file. `path` is relative to the project's folder, `source` the file without the change."""

    room: Room
    path: str
    source: bytes
    change: Change

    @property
    def id(self) -> str:
        """The same for the same change to the same text, wherever the project stands."""
        digest = hashlib.sha256(f"{self.path} {self.change!r}".encode() + self.source)
        return digest.hexdigest()[:12]

    def mutated(self) -> bytes:
        """The file with the change."""
        return self.change.apply(self.source)

    def lines(self) -> range:
        """The lines of the changed statement: see `lines_of`."""
        return lines_of(self.source, self.change)

    def diff(self) -> str:
        """The change as lines of a diff, under the place where it stands."""
        before, after = (text.decode().splitlines() for text in (self.source, self.mutated()))
        lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[3:]
        return "\n".join([f"{self.path}:{self.change.line} ({self.change.what})", *lines])


def mutants_of(room: Room, project: Path) -> Iterator[Mutant]:
    """All mutants of a room; whether each is another program is looked at when it is drawn."""
    for file in room.files(project):
        source = file.read_bytes()
        for change in changes(source):
            yield Mutant(room, file.relative_to(project).as_posix(), source, change)


def draw(rooms: Sequence[Room], project: Path, *, seed: int, count: int) -> list[Mutant]:
    """`count` mutants, about as many of each room, in an order that takes the rooms in turns; no two of one line
    of a file with the same operator while a room has others."""
    queues: list[list[Mutant]] = []
    for room in rooms:
        every = list(mutants_of(room, project))
        random.Random(f"{seed} {room.name}").shuffle(every)
        queues.append(_spread(every))
    in_turns = (mutant for mutant in chain.from_iterable(zip_longest(*queues)) if mutant is not None)
    sound = (mutant for mutant in in_turns if is_another_program(mutant.source, mutant.change))
    return list(islice(sound, count))


def _spread(every: Sequence[Mutant]) -> list[Mutant]:
    first: list[Mutant] = []
    others: list[Mutant] = []
    seen: set[tuple[str, int, str]] = set()
    for mutant in every:
        place = (mutant.path, mutant.change.line, mutant.change.what)
        (others if place in seen else first).append(mutant)
        seen.add(place)
    return first + others
