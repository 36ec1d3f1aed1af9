"""Rows that the database refuses for a while, and what that excuses.

A row that is refused has told the database nothing: what it says of a task must come to it in another way, and no
other task may suffer from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rushes.domain.errors import StatementRefused
from rushes.money.settle import Group
from simulation.truth.witness import Witness


@dataclass(slots=True)
class _Window:
    ends_at: float
    kinds: tuple[str, ...]
    tasks_max: int
    tasks: set[int] = field(default_factory=set)

    def refuses(self, task_id: int) -> bool:
        if task_id not in self.tasks and len(self.tasks) < self.tasks_max:
            self.tasks.add(task_id)
        return task_id in self.tasks


class Refusing:
    """What is refused now; `refused_alone` counts the rows that were refused and not yet logged as refused."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._windows: list[_Window] = []
        self.refused_alone = 0

    def begin(self, *, ends_at: float, kinds: tuple[str, ...], tasks: int) -> None:
        """Refuse the rows of so many tasks from now on."""
        self._windows.append(_Window(ends_at, kinds, tasks))

    def end(self) -> None:
        """The database takes everything again."""
        self._windows.clear()

    def look(self, group: Group, now: float, remote_of: Callable[[int], str | None]) -> None:
        """Raises `StatementRefused` when one of the group's rows is refused now."""
        for window in self._windows:
            for kind in window.kinds if now < window.ends_at else ():
                for row in getattr(group, kind):
                    if window.refuses(row[0]):
                        if len(group) == 1:
                            self._excuse(kind, row, remote_of(row[0]))
                        raise StatementRefused("a constraint refuses the row")

    def _excuse(self, kind: str, row: tuple[Any, ...], remote_task_id: str | None) -> None:
        self.refused_alone += 1
        if kind == "accepted":
            self._witness.name_refused((row[0], row[1]))
        elif kind in ("refused", "returned"):
            self._witness.refusal_refused((row[0], row[1]))
        elif kind == "verdicts" and remote_task_id is not None:
            self._witness.verdict_refused(remote_task_id)

    def explains_a_log_line(self) -> bool:
        """Whether a line that a row was refused is one of those that were."""
        self.refused_alone -= 1
        return self.refused_alone >= 0
