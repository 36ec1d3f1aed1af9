"""What a proof found: facts for a table, and differences, of which there must be none."""

from collections.abc import Iterable
from dataclasses import dataclass, field

DIFFERENCES_SHOWN_MAX = 20
"""Differences that are printed; the others are counted."""


@dataclass(slots=True)
class ProofResult:
    """`facts` are the table's lines; `headline` is what the last line says was done."""

    name: str
    headline: str = ""
    seconds: float = 0.0
    facts: list[tuple[str, str]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def fact(self, what: str, number: float | str) -> None:
        """One line of the table."""
        self.facts.append((what, f"{number:,.1f}" if isinstance(number, float) else _shown(number)))

    def differ(self, differences: Iterable[str]) -> None:
        """Add what should have been equal and was not."""
        self.differences.extend(differences)

    @property
    def ok(self) -> bool:
        """Whether nothing differed."""
        return not self.differences

    def lines(self) -> list[str]:
        """The table, the differences and the final line."""
        width = max((len(what) for what, _ in self.facts), default=0)
        table = [f"  {what:<{width}}  {number:>12}" for what, number in self.facts]
        shown = [f"DIFFERENCE: {difference}" for difference in self.differences[:DIFFERENCES_SHOWN_MAX]]
        left = len(self.differences) - len(shown)
        if left:
            shown.append(f"… and {left} more")
        verdict = (
            f"proof {self.name}: {self.headline}, {len(self.differences)} differences, {self.seconds:.0f} s"
        )
        return [*table, *shown, verdict]


def _shown(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
