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
# What the pattern can match at: most rows have none of either, which takes less to see.
_FORMULA_SIGNS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_CELL_END = re.compile(r"[;\t\r\n]")


def export_rows(rows: Sequence[Mapping[str, Any]], format: ExportFormat, *, raw: bool = False) -> bytes:
    """The rows in UTF-8, a line each (CSV: without names, see `export_head`).

    In CSV, text that a spreadsheet would run as a formula gets an apostrophe before it, which makes it text
    there, unless `raw`. JSON Lines are always exact.
    """
    if format == "jsonl":
        return msgspec.json.Encoder().encode_lines(rows)
    if raw:
        return _csv(row.values() for row in rows)
    return _csv(_as_texts(list(row.values())) for row in rows)


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


def _as_texts(row: list[Any]) -> list[Any]:
    texts = [value for value in row if isinstance(value, str)]
    if _FORMULA_SIGNS.isdisjoint([text[:1] for text in texts]) and not _CELL_END.search("".join(texts)):
        return row
    return [_FORMULA_START.sub(r"\1'", each) if isinstance(each, str) else each for each in row]
