"""What the commands print: JSON documents, tables and lines. Data to stdout, all else to stderr."""

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PROMPT_CHARACTERS_SHOWN = 48
PIPE_COLUMNS = 1000
"""Width of a table that goes to a pipe or a file: nothing is cut or wrapped there."""


def one_line(text: str) -> str:
    """The text as one printable line: what a service or a file says must not steer a terminal."""
    joined = " ".join(text.split())
    return joined if joined.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in joined)


def shortened(text: str, characters: int = PROMPT_CHARACTERS_SHOWN) -> str:
    """The text's beginning, in one line."""
    line = one_line(text)
    return line if len(line) <= characters else line[: characters - 1] + "…"


def say(text: str) -> None:
    """One line on stderr. A terminal that has gone away stops no work."""
    with contextlib.suppress(OSError, ValueError):
        print(one_line(text), file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """One JSON document on stdout, in UTF-8: indented on a terminal, one line elsewhere."""
    import msgspec

    encoded = msgspec.json.encode(document)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded + b"\n")
    sys.stdout.buffer.flush()


def print_line(text: str) -> None:
    """One line on stdout."""
    print(one_line(text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = "") -> None:
    """A table on stdout. `right` names the columns, separated by spaces, that are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right.split() else "left", no_wrap=True)
    for row in rows:
        # Text, not str: a prompt's square brackets are no markup
        table.add_row(*(Text(_cell(value), style=_STYLES.get(str(value), "")) for value in row))
    _stdout_console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values on stdout, one a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print_line_kept(f"{name.ljust(width)}  {_cell(value)}")


def print_line_kept(text: str) -> None:
    """One line on stdout with its inner spaces."""
    print("".join(c if c.isprintable() else "\ufffd" for c in text))


_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "partial": "yellow",
    "processing": "cyan",
    "cancelled": "yellow",
}


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return one_line(str(value))


def _stdout_console() -> "Console":
    from rich.console import Console

    class PipedConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # as for all other output; rich would end the process

    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    return PipedConsole(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


# --- what several commands say ------------------------------------------------------------------------


def proof_line(batch: Mapping[str, Any]) -> str:
    """The batch's credits as the equation that must hold."""
    reserved, settled, refunded = (batch[f"credits_{word}"] for word in ("reserved", "settled", "refunded"))
    held = reserved - settled - refunded
    proof = f"reserved {reserved} = settled {settled} + refunded {refunded}"
    return f"{proof} + still held {held}" if held else proof


def duration(seconds: float | None) -> str:
    """`1:02:03`, or `-` when it is not known."""
    if seconds is None:
        return "-"
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}" if hours else f"{minutes}:{whole_seconds:02}"
