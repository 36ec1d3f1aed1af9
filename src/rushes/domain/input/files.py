"""A file of prompts, or what comes through a pipe: its format is named, or seen where there is no doubt."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from rushes.domain.catalogue.options import Origin, quoted
from rushes.domain.input.encodings import LINE_END, decode
from rushes.domain.input.prompts import OWN_FIELDS, Defaults, TaskDraft, drafts_of_rows
from rushes.domain.input.strict_json import parse_json, parse_json_values
from rushes.domain.input.tables import header_of, known_name, table_rows

InputFormat: TypeAlias = Literal["text", "csv", "tsv", "jsonl", "json"]

LINE_BYTES_MAX: Final = 128 * 1024
"""Of text, CSV and JSON Lines; a prompt of 4,000 characters, all escaped in JSON, takes 48,000."""

FORMAT_OF_SUFFIX: Mapping[str, InputFormat] = MappingProxyType(
    {
        **dict.fromkeys(("", ".txt", ".text"), "text"),
        ".csv": "csv",
        ".tsv": "tsv",
        ".tab": "tsv",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".json": "json",
    }
)
"""How a file is read when no format is named. What would be text may turn out to be one of the others."""

FORMATS_NAMED: Final = "text, csv, tsv, jsonl or json"

_COMMENT = re.compile(r"#(?:\s|#|$)")
_LOOKS_LIKE_JSON = re.compile(r"[\[{]\s*(?:[\"\[{]|$)")


def parse_batch_input(
    data: bytes,
    source: str,
    input_format: InputFormat | None = None,
    defaults: Defaults | None = None,
    *,
    encoding: str | None = None,
) -> list[TaskDraft]:
    """The drafts in a file of 1 to `BATCH_ITEMS_MAX` items.

    `source` is the file's name for messages. Without an `input_format` its suffix tells it; a name
    without one, such as a pipe's, and `.txt` are looked into: JSON and tables are read as such, and what may
    be either is refused. UTF-8 or UTF-16 unless `encoding` names another. Any line ends. Raises `InputError`.
    """
    defaults = defaults or Defaults()
    rows = rows_of(data, source, input_format, defaults, encoding=encoding)
    return drafts_of_rows(rows, Origin(source), defaults)


def rows_of(
    data: bytes,
    source: str,
    input_format: InputFormat | None,
    defaults: Defaults,
    *,
    encoding: str | None = None,
) -> Iterator[tuple[Origin, object]]:
    """The rows of such a file, read but not checked; one that cannot be read is the `InputError` why."""
    text = decode(data, source, encoding)
    match input_format or _format_of(text, source, OWN_FIELDS | defaults.fields.names):
        case "text":
            _check_lines(text, source)
            return _text_rows(text, source)
        case "csv" | "tsv":
            _check_lines(text, source)
            return table_rows(text, source, defaults)
        case "jsonl" | "json":
            return _json_rows(text, source, defaults.fields.names)


def _format_of(text: str, source: str, known: frozenset[str]) -> InputFormat:
    suffix = PurePath(source).suffix.lower()
    found = FORMAT_OF_SUFFIX.get(suffix)
    if found is None:
        raise Origin(source).error(
            f"cannot tell the format from {quoted(suffix)}; name it with --format: {FORMATS_NAMED}"
        )
    return seen_format(text, source, known) if found == "text" else found


def seen_format(text: str, source: str, known: frozenset[str]) -> InputFormat:
    """The format of text whose name does not tell it; raises `InputError` where there is a doubt."""
    first = _first_line(text)
    if _LOOKS_LIKE_JSON.match(first):
        try:
            next(parse_json_values(text), None)
        except ValueError as error:
            raise _doubt(source, "JSON", str(error)) from None
        return "json"
    header = header_of(text, known)
    if header is None:
        return "text"
    cells, names = header
    unknown = [cell for cell, name in zip(cells, names, strict=True) if name is None and cell.strip()]
    if unknown:
        raise _doubt(source, "a table", f"its first line has the column {quoted(unknown[0])}")
    return "csv"


def _first_line(text: str) -> str:
    """The first line that is not blank, without outer white space."""
    return next((line for line in LINE_END.split(text) if line.strip()), "").strip()


def _doubt(source: str, kind: str, reason: str) -> Exception:
    return Origin(source).error(
        f"looks like {kind}, but {reason}; say how to read it with --format: {FORMATS_NAMED}"
    )


def _check_lines(text: str, source: str) -> None:
    """Raise `InputError` for a line that is too long."""
    if len(text) * 4 > LINE_BYTES_MAX:
        for number, line in enumerate(LINE_END.split(text), start=1):
            if len(line) > LINE_BYTES_MAX or len(line.encode("utf-8", "replace")) > LINE_BYTES_MAX:
                count = len(line.encode("utf-8", "replace"))
                raise Origin(source, number).error(f"a line of {count} bytes, more than {LINE_BYTES_MAX}")


def _text_rows(text: str, source: str) -> Iterator[tuple[Origin, object]]:
    r"""One prompt a line, outer white space removed; blank lines and `# comments` are skipped.

    `#sunset` is a prompt: a comment's # stands alone. `\#` starts a prompt that would be a comment.
    """
    for number, line in enumerate(LINE_END.split(text), start=1):
        prompt = line.strip()
        if prompt and not _COMMENT.match(prompt):
            yield Origin(source, number), {"prompt": prompt[prompt.startswith("\\#") :]}


def _json_rows(text: str, source: str, options: frozenset[str]) -> Iterator[tuple[Origin, object]]:
    """Objects one a line, one after the other, or in a list; a text alone is a prompt."""
    first = _first_line(text)
    values = _line_values(text, source) if _is_one_item(first) else _whole_values(text, source)
    for origin, value in values:
        yield origin, _item(value, options)


def _is_one_item(line: str) -> bool:
    """Whether the line is an item's JSON and ends with it: no list, and no body of the API."""
    try:
        value = parse_json(line)
    except ValueError:
        return False
    return not isinstance(value, list) and not _is_body(value)


def _is_body(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) == {"items"}


def _line_values(text: str, source: str) -> Iterator[tuple[Origin, object]]:
    for number, line in enumerate(LINE_END.split(text), start=1):
        if line.strip():
            origin = Origin(source, number)
            if len(line) > LINE_BYTES_MAX:
                raise origin.error(f"a line of {len(line)} characters, more than {LINE_BYTES_MAX}")
            try:
                yield origin, parse_json(line)
            except ValueError as error:
                yield origin, origin.error(str(error))


def _whole_values(text: str, source: str) -> Iterator[tuple[Origin, object]]:
    """The elements of a list, or values that follow each other over several lines, as jq prints them."""
    try:
        for line, value in parse_json_values(text):
            is_body = _is_body(value)
            elements = value["items"] if is_body else value
            if isinstance(elements, list):
                for index, element in enumerate(elements):
                    yield Origin(source, path=f"items[{index}]" if is_body else f"[{index}]"), element
            else:
                yield Origin(source, line), value
    except ValueError as error:
        line, reason = getattr(error, "line", 1), str(error)
        raise Origin(source, line).error(reason) from None


def _item(value: object, options: frozenset[str]) -> object:
    """The value as an item: a text is a prompt, `Prompt` is `prompt`, and 10.0 a whole number."""
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, Mapping):
        return value
    known, item = OWN_FIELDS | options, dict[str, Any]()
    for name, one in value.items():
        meant = known_name(name, known)
        item[name if meant is None or meant in item or meant in value else meant] = one
    for name in (options | {"deadline"}) & item.keys():
        item[name] = _whole(item[name])
    if isinstance(item.get("options"), Mapping):
        item["options"] = {name: _whole(one) for name, one in item["options"].items()}
    return item


def _whole(value: object) -> object:
    """10 for 10.0, which programs write whose columns of numbers have gaps."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
