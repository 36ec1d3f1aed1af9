"""Markdown by hand: tables, code, and the text of docstrings."""

import inspect
from collections.abc import Iterable, Sequence


class Undocumented(Exception):
    """The code has something that nothing explains; the message names it and where to explain it."""


def cell(text: object) -> str:
    """Text that cannot leave its cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def code(text: object) -> str:
    """Text as code, whatever backticks it has."""
    shown = str(text)
    return f"`{shown}`" if "`" not in shown else f"`` {shown} ``"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, with an empty line after it."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join([*lines, "", ""])


def first_paragraph(docstring: str | None) -> str:
    """What a docstring says first, on one line; empty when there is none."""
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


def explained(text: str | None, name: str, where: str) -> str:
    """The explanation itself; raises `Undocumented` when there is none."""
    if not text or not text.strip():
        raise Undocumented(f"{name} is not explained: {where}")
    return text.strip()
