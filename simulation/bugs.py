"""Planted bugs."""

from collections.abc import Callable
from dataclasses import dataclass

from simulation.tempo import Patches


@dataclass(frozen=True)
class Bug:
    name: str
    plant: Callable[[Patches], None]


BUGS: list[Bug] = []
