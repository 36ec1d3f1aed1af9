"""Setting module attributes for a while: the engine's idle pauses, and planted bugs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isfunction, signature
from typing import Any

from rushes.run import nudges, upkeep
from rushes.run.lane import claim

IDLE_TEMPO = (
    (claim, "IDLE_SECONDS", 30.0),
    (upkeep, "PASS_SECONDS_MAX", 9.0),
    (upkeep, "CLEAN_UP_SECONDS", 45.0),
    (upkeep, "PROGRESS_SECONDS", 15.0),
    (upkeep, "LEARNED_SECONDS", 150.0),
    (nudges, "CHECK_SECONDS", 5.0),
    (nudges, "SWEEP_SECONDS", 60.0),
)
"""Longer pauses of a worker with nothing to do: a simulated hour then costs a fraction of a second.
One seed in fifty keeps the production values."""


class Patches:
    """Attributes that were set, to be put back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> Any:
        """Set an attribute; returns its value before. A function must take every call that the one before took:
        a planted bug that fails by itself would be found by seed 1, and show nothing.
        """
        before = owner.__dict__[name]
        if isfunction(before):
            _require_same_calls(before, value, name)
        self._before.append((owner, name, before))
        setattr(owner, name, value)
        return before.__func__ if isinstance(before, staticmethod) else before

    def undo(self) -> None:
        """Put all back, last first."""
        while self._before:
            owner, name, before = self._before.pop()
            setattr(owner, name, before)


def _require_same_calls(before: Callable[..., Any], value: Callable[..., Any], name: str) -> None:
    parameters = signature(before).parameters.values()
    by_place = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    by_name = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    for arguments in (by_place, [each for each in by_place if each.default is each.empty]):
        try:
            signature(value).bind(*arguments, **by_name)
        except TypeError as error:
            raise TypeError(f"what is to stand in for {name}{signature(before)}: {error}") from None


@contextmanager
def patched() -> Iterator[Patches]:
    """Patches that are undone at the end."""
    patches = Patches()
    try:
        yield patches
    finally:
        patches.undo()
