"""A batch's export as bytes: JSON Lines, or CSV that a spreadsheet does not run."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

ExportFormat: TypeAlias = Literal["jsonl", "csv"]

# What makes a spreadsheet read a cell as a formula, where a cell can start: at the value's start, and
# after what a program that separates at semicolons, tabs or line breaks takes for the end of a cell.
_FORMULA_START = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


def export_rows(rows: Sequence[Mapping[str, Any]], format: ExportFormat, *, raw: bool = False) -> bytes:
    """The rows in UTF-8, a line each (CSV: without names, see `export_head`).

    In CSV, text that a spreadsheet would run as a formula gets an apostrophe before it, which makes it text
    there, unless `raw`. JSON Lines are always exact.
    """
    if format == "jsonl":
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    return _csv(row.values() if raw else map(_as_text, row.values()) for row in rows)


def export_head(names: Sequence[str], format: ExportFormat) -> bytes:
    """What stands before the rows: the names of the columns in CSV."""
    return _csv([names]) if format == "csv" else b""


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    lines = list[str]()
    # the writer quotes a lone carriage return only where it is part of the line's own end
    writer = csv.writer(_Lines(lines), lineterminator="\r\n")
    writer.writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines).encode()


class _Lines:
    """Takes each written line."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _as_text(value: Any) -> Any:
    return _FORMULA_START.sub(r"\1'", value) if isinstance(value, str) else value
