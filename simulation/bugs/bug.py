"""What a planted bug is."""

from collections.abc import Callable
from dataclasses import dataclass

from simulation.tempo import Patches


@dataclass(frozen=True, slots=True)
class Bug:
    """`plant` breaks the code until its patches are undone; `says` tells how the code is wrong."""

    name: str
    says: str
    plant: Callable[[Patches], None]
