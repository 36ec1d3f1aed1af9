"""What the commands print: JSON documents, tables and lines. Data to stdout, all else to stderr."""

import contextlib
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rushes.cli.exits import Printed

PROMPT_CHARACTERS_SHOWN = 48


def one_line(text: str) -> str:
    """The text as one printable line: what a service or a file says must not steer a terminal."""
    joined = " ".join(text.split())
    return joined if joined.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in joined)


def shortened(text: str, characters: int = PROMPT_CHARACTERS_SHOWN) -> str:
    """The start of the text, in one line."""
    line = one_line(text)
    return line if len(line) <= characters else line[: characters - 1] + "…"


def say(text: str) -> None:
    """One line on stderr. A terminal that has gone away stops no work."""
    with contextlib.suppress(OSError, ValueError):
        print(one_line(text), file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """One JSON document on stdout, in UTF-8: indented on a terminal, one line elsewhere."""
    import msgspec

    Printed.documents += 1
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
    """A table on stdout. `right` names the columns, separated by spaces, that are aligned to the right.

    On a terminal it fits the width: long texts are shortened, then columns are left out from the right, and
    named. In a pipe nothing is cut or wrapped.
    """
    lines = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(wide, column)) for column in zip(columns, *lines, strict=True)]
    is_right = [column in right.split() for column in columns]
    is_terminal = sys.stdout.isatty()
    if is_terminal:
        widths = fitting_widths(widths, columns, is_right, shutil.get_terminal_size().columns)
    for place, line in enumerate((columns, *lines)):
        cells = [
            _in_column(cell, width, to_the_right=to_the_right)
            for cell, width, to_the_right in zip(line, widths, is_right, strict=False)
        ]
        if is_terminal and not os.environ.get("NO_COLOR"):
            codes = [_BOLD if place == 0 else _STYLES.get(cell.strip(), "") for cell in cells]
            cells = [
                f"{code}{cell}{_PLAIN}" if code else cell for code, cell in zip(codes, cells, strict=True)
            ]
        print((" " * GAP).join(cells).rstrip())
    left_out = columns[len(widths) :]
    if left_out:
        say(f"left out, as the terminal is narrow: {', '.join(left_out)}; --json has all")


GAP = 2
"""Spaces between columns."""

TEXT_WIDTH_MIN = 16
"""A text is shortened no further."""


def fitting_widths(
    widths: Sequence[int], columns: Sequence[str], is_right: Sequence[bool], width: int
) -> list[int]:
    """The columns' widths, those of texts shortened, so that the line fits; the last columns may be missing.

    Numbers and what is short are never cut, nor is the first column.
    """
    fitted = list(widths)
    while len(fitted) > 1 and sum(fitted) + GAP * (len(fitted) - 1) > width:
        texts = [
            place
            for place in range(1, len(fitted))
            if not is_right[place] and fitted[place] > max(TEXT_WIDTH_MIN, wide(columns[place]))
        ]
        excess = sum(fitted) + GAP * (len(fitted) - 1) - width
        if texts:
            widest = max(texts, key=lambda place: fitted[place])
            least = max(TEXT_WIDTH_MIN, wide(columns[widest]))
            others = [fitted[place] for place in texts if place != widest]
            fitted[widest] = max(least, fitted[widest] - excess, min(fitted[widest] - 1, *others, 10**6))
        else:
            fitted.pop()
    return fitted


def _in_column(cell: str, width: int, *, to_the_right: bool) -> str:
    if wide(cell) > width:
        while cell and wide(cell) >= width:
            cell = cell[:-1]
        cell += "…"
    space = " " * (width - wide(cell))
    return space + cell if to_the_right else cell + space


def wide(text: str) -> int:
    """The text's cells on a terminal: Chinese characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values on stdout, one a line."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print_line_kept(f"{name.ljust(width)}  {_cell(value)}")


def print_line_kept(text: str) -> None:
    """One line on stdout with its inner spaces."""
    print("".join(c if c.isprintable() else "\ufffd" for c in text))


_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_STYLES = {
    "succeeded": "\x1b[32m",
    "failed": "\x1b[31m",
    "partial": "\x1b[33m",
    "processing": "\x1b[36m",
    "cancelled": "\x1b[33m",
}


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return one_line(str(value))


# --- what several commands say ------------------------------------------------------------------------


def proof_line(batch: Mapping[str, Any]) -> str:
    """The batch's credits as the equation that must hold."""
    reserved, settled, refunded = (batch[f"credits_{word}"] for word in ("reserved", "settled", "refunded"))
    held = reserved - settled - refunded
    proof = f"reserved {reserved} = settled {settled} + refunded {refunded}"
    return f"{proof} + still held {held}" if held else proof


def money_text(money: Mapping[str, str] | None, unknown: str = "-") -> str:
    """`0.32 CNY`, or `unknown` where it is not known."""
    return unknown if money is None else f"{money['amount']} {money['currency']}"


def earned_line(earned: Mapping[str, Any]) -> str:
    """What the providers charged, and what is left of the credits: for operators."""
    costs = (
        ", ".join(f"{amount} {currency}" for currency, amount in earned["provider_cost"].items()) or "nothing"
    )
    unknown, margin = earned["cost_unknown_count"], earned["margin"]
    text = f"providers charged: {costs or 'nothing'}"
    if unknown:
        text += f", and for {unknown} more nobody knows"
    if margin is not None:
        text += f"; margin: {margin['amount']} {margin['currency']}"
    elif earned["revenue"] is None:
        text += "; set RUSHES_CREDIT_VALUE to see the margin"
    return text


def duration(seconds: float | None) -> str:
    """`1:02:03`, or `-` when it is not known."""
    if seconds is None:
        return "-"
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}" if hours else f"{minutes}:{whole_seconds:02}"
