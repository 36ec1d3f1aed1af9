"""Setting module attributes for a while: the engine's idle pauses, and planted bugs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rushes.engine import dispatch, nudges, worker

IDLE_TEMPO = (
    (dispatch, "IDLE_SECONDS", 30.0),
    (worker, "HOUSE_SECONDS_MAX", 9.0),
    (worker, "UPKEEP_SECONDS", 45.0),
    (worker, "PROGRESS_SECONDS", 15.0),
    (worker, "LEARNED_SECONDS", 150.0),
    (nudges, "LOOK_SECONDS", 5.0),
    (nudges, "SWEEP_SECONDS", 60.0),
)
"""Longer pauses of a worker with nothing to do: a simulated hour then costs a fraction of a second.
One seed in fifty keeps the production values."""


class Patches:
    """Attributes that were set, to be put back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> Any:
        """Set an attribute; returns its value before."""
        before = owner.__dict__[name]
        self._before.append((owner, name, before))
        setattr(owner, name, value)
        return before.__func__ if isinstance(before, staticmethod) else before

    def undo(self) -> None:
        """Put all back, last first."""
        while self._before:
            owner, name, before = self._before.pop()
            setattr(owner, name, before)


@contextmanager
def patched() -> Iterator[Patches]:
    """Patches that are undone at the end."""
    patches = Patches()
    try:
        yield patches
    finally:
        patches.undo()
