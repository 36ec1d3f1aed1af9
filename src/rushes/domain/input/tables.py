"""CSV and tab-separated files as spreadsheets and scripts write them."""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from rushes.domain.catalogue.options import Origin, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.encodings import LINE_END
from rushes.domain.input.prompts import OWN_FIELDS, Defaults, unknown_field
from rushes.domain.input.strict_json import parse_json

SEPARATORS: Final = (",", ";", "\t", "|")
"""In which files may separate their cells; the header decides."""

SECONDS_DIGITS_MAX: Final = 15
"""Of a deadline's seconds: with more of them it is too far away in any case."""

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_SEP_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\s*", re.IGNORECASE)


def folded(name: str) -> str:
    """A column's name as it is compared: `Aspect Ratio` and `aspect-ratio` are `aspect_ratio`."""
    return re.sub(r"[\s\-]+", "_", name.strip().casefold())


def known_name(name: str, known: frozenset[str]) -> str | None:
    """The column or field that is meant, or None."""
    if name.strip() in known:
        return name.strip()
    fitting = [one for one in known if one.casefold() == folded(name)]
    return fitting[0] if len(fitting) == 1 else None


def header_of(text: str, known: frozenset[str]) -> tuple[list[str], list[str | None]] | None:
    """The first line's cells, and which known columns they are, if one of them is `prompt`; else None."""
    lines, separator = _lines(text)
    best = None
    for one in SEPARATORS if separator is None else (separator,):
        cells = _first_row(lines, one)
        names = [known_name(cell, known) for cell in cells]
        if "prompt" in names and (best is None or len(cells) > len(best[0])):
            best = cells, names
    return best


def table_rows(text: str, source: str, defaults: Defaults) -> Iterator[tuple[Origin, object]]:
    """The rows as objects with typed values; an empty cell is an absent field.

    Raises `InputError` for a header that cannot be understood; of a row at fault it gives the error.
    """
    if "\0" in text:  # Python's reader of CSV refuses all of it, without a word where
        before = text[: text.index("\0")]
        at = Origin(source, len(LINE_END.findall(before)) + 1)
        raise at.error("a NUL character (U+0000): not a table, or one in another encoding; see --encoding")
    lines, separator = _lines(text)
    known = OWN_FIELDS | defaults.fields.names
    if separator is None:
        separator = _separator_of(lines, known)
    header, names = list[str](), None
    for origin, cells in _cells(lines, source, separator):
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            header, names = cells, _checked_header(cells, origin, known)
            continue
        if cells == header:
            yield origin, origin.error("the header again: remove this line where files were joined")
            continue
        try:
            yield origin, _typed_cells(_named(cells, names, origin), origin, defaults)
        except InputError as fault:
            yield origin, fault


def _lines(text: str) -> tuple[list[str], str | None]:
    """The lines, and the separator that a first line such as `sep=;` names; that line is then blank."""
    lines = _LINES.findall(text)
    found = _SEP_LINE.fullmatch(lines[0].rstrip("\r\n")) if lines else None
    if found is None:
        return lines, None
    return ["\n", *lines[1:]], found[1]


def _first_row(lines: Sequence[str], separator: str) -> list[str]:
    try:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        return next((row for row in reader if any(cell.strip() for cell in row)), [])
    except csv.Error:
        return []


def _separator_of(lines: Sequence[str], known: frozenset[str]) -> str:
    """The one under which the header has the column `prompt` and most others that are known."""
    rows = {separator: _first_row(lines, separator) for separator in SEPARATORS}
    count = {
        separator: sum(known_name(cell, known) is not None for cell in row)
        for separator, row in rows.items()
        if "prompt" in (known_name(cell, known) for cell in row)
    }
    if not count:
        return max(SEPARATORS, key=lambda one: len(rows[one]))
    best = max(count.values())
    fitting = [separator for separator in SEPARATORS if count.get(separator) == best]
    if len(fitting) > 1:  # a single column, whose unquoted text may hold any of them
        fitting = [one for one in fitting if _has_one_column(lines, one)] or fitting
    return fitting[0]


def _has_one_column(lines: Sequence[str], separator: str) -> bool:
    try:
        return all(
            len(row) <= 1 or not any(cell.strip() for cell in row[1:])
            for row in csv.reader(lines, delimiter=separator, strict=True)
        )
    except csv.Error:
        return False


def _cells(lines: Sequence[str], source: str, separator: str) -> Iterator[tuple[Origin, list[str]]]:
    """Each row's cells, with the line that it starts on."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    if separator == "\t" and not _is_quoted_soundly(lines):
        quoting = csv.QUOTE_NONE  # Google's spreadsheets write tabs without any quoting
    reader = csv.reader(lines, delimiter=separator, strict=True, quoting=quoting)
    while True:
        origin = Origin(source, reader.line_num + 1)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "; is a quote not closed?" if "end of data" in str(error) or "limit" in str(error) else ""
            raise origin.error(f"not CSV: {error}{hint}") from None
        yield origin, cells


def _is_quoted_soundly(lines: Sequence[str]) -> bool:
    try:
        for _ in csv.reader(lines, delimiter="\t", strict=True):
            pass
    except csv.Error:
        return False
    return True


def _checked_header(cells: Sequence[str], origin: Origin, known: frozenset[str]) -> list[str | None]:
    """The column that each cell names; None for a cell that is empty."""
    names: list[str | None] = []
    for cell in cells:
        name = known_name(cell, known)
        if name is None and cell.strip():
            if not any(known_name(other, known) for other in cells):
                break  # no header at all
            raise unknown_field("column", cell.strip(), known, origin)
        if name is not None and name in names:
            raise origin.error("the column is there twice", name)
        names.append(name)
    if "prompt" not in names:
        alike = next((cell for cell in cells if re.sub(r"\W", "", cell).casefold() == "prompt"), None)
        hint = "lines without a header are text" if alike is None else f"{quoted(alike)} is not that name"
        raise origin.error(f'the header has no column "prompt"; {hint}', "prompt")
    return names


def _named(cells: list[str], names: Sequence[str | None], origin: Origin) -> dict[str, str]:
    """The row's cells by column. Empty cells may stand where the header has none, or no name."""
    if len(cells) < len(names):
        raise origin.error(
            f"{_counted_cells(len(cells))}, but the header has {len(names)};"
            " write the empty ones too, and quote text with line ends"
        )
    for place, cell in enumerate(cells):
        if place >= len(names) and cell.strip():
            raise origin.error(f"{_counted_cells(len(cells))}, but the header has {len(names)}")
        if place < len(names) and names[place] is None and cell.strip():
            raise origin.error(
                f"column {place + 1} has no name, but {quoted(cell.strip())} in it"
                " (pandas: to_csv(index=False))"
            )
    return {name: cell for name, cell in zip(names, cells, strict=False) if name is not None}


def _counted_cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _typed_cells(row: dict[str, str], origin: Origin, defaults: Defaults) -> dict[str, object]:
    """The row with the values that JSON would have."""
    item: dict[str, object] = {}
    model = row.get("model", "").strip() or defaults.model
    for column, cell in row.items():
        text = cell.strip()
        try:
            if column == "prompt":
                item[column] = cell
            elif not text:
                continue
            elif column in ("metadata", "options"):
                item[column] = parse_json(text)
            elif column == "deadline" and text.isascii() and text.isdecimal():
                item[column] = int(text[:SECONDS_DIGITS_MAX])
            elif column in OWN_FIELDS:
                item[column] = text
            else:
                item[column] = defaults.fields.read_cell(column, text, model)
        except ValueError as error:
            raise origin.error(str(error), column) from None
    return item
