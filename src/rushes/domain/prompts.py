"""Batch input: text, CSV, JSON Lines, templates and the API's objects become checked task drafts.

Reading goes in two steps. First the input's own form: `parse_batch_input` (a file's bytes),
`drafts_from_objects` (items of a request) or `drafts_from_template` give `TaskDraft`s. Then
`validate_drafts` looks up models, options and prices. Both raise `InputError` with source, line and field
of the first fault; `error.facts["errors"]` holds the first `ERRORS_REPORTED_MAX` faults in the same form.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar

from rushes.domain.aliases import Alias
from rushes.domain.catalogue import Catalogue, Model
from rushes.domain.errors import InputError
from rushes.domain.options import OptionValue, Origin, nearest, quoted

T = TypeVar("T")
R = TypeVar("R")

BATCH_ITEMS_MAX = 10_000
PROMPT_CHARACTERS_MAX = 4000
CUSTOM_ID_CHARACTERS_MAX = 128
METADATA_BYTES_MAX = 4096  # of compact JSON in UTF-8
INPUT_BYTES_MAX = 64 * 1024 * 1024
LINE_BYTES_MAX = 128 * 1024  # a prompt of 4,000 characters, all escaped in JSON, takes 48,000
INTEGER_DIGITS_MAX = 100
ERRORS_REPORTED_MAX = 20

InputFormat: TypeAlias = Literal["text", "csv", "jsonl"]

FORMAT_OF_SUFFIX: Mapping[str, InputFormat] = MappingProxyType(
    {"": "text", ".txt": "text", ".text": "text", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
)
"""How a file without a named format is read; no suffix at all is text, as from a pipe."""

TEXT_OPTIONS = frozenset(
    {"aspect_ratio", "size", "resolution", "reference_url", "first_frame_url", "last_frame_url"}
)
NUMBER_OPTIONS = frozenset({"duration", "seed"})
LIST_OPTIONS = frozenset({"reference_urls", "audio_urls"})
OPTION_FIELDS = TEXT_OPTIONS | NUMBER_OPTIONS | LIST_OPTIONS
ITEM_FIELDS = frozenset({"prompt", "model", "custom_id", "metadata"}) | OPTION_FIELDS
"""The fields of an item: keys of a JSON object, columns of a CSV file."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
# all of Unicode's category Cc but tab and line ends, and halves of surrogate pairs
_REFUSED_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an item without its own model or option gets."""

    model: str = "sora-2"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """One item of a batch as its author wrote it; model and options are not looked up yet."""

    prompt: str
    model: str
    options: Mapping[str, Any]
    custom_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    origin: Origin = field(default_factory=Origin, compare=False)


@dataclass(frozen=True, slots=True)
class PricedDraft:
    """A draft that a provider can take: its model and its options in normal form.

    `alias` is set when it was asked for under one: then the model is that alias's first choice.
    """

    draft: TaskDraft
    model: Model
    options: Mapping[str, OptionValue]
    alias: Alias | None = None

    @property
    def asked_for(self) -> str:
        """The name that is priced: the alias's, or the model's own."""
        return self.model.name if self.alias is None else self.alias.name

    @property
    def credits(self) -> int:
        """What this video costs."""
        return self.model.credits if self.alias is None else self.alias.credits


def validate_drafts(drafts: Sequence[TaskDraft], catalogue: Catalogue, now: float) -> list[PricedDraft]:
    """Each draft with its model, normalised options and so its price, at `now` (epoch seconds).

    Raises `UnknownModel`, `ModelRetired` or `InputError` for the first draft at fault.
    """

    def priced(draft: TaskDraft) -> PricedDraft:
        alias, models = catalogue.candidates(draft.model, now, origin=draft.origin)
        refused: InputError | None = None
        for model in models:
            try:
                options = model.normalise_options(draft.options, origin=draft.origin)
            except InputError as error:
                refused = refused or error
            else:
                return PricedDraft(draft, model, options, alias)
        assert refused is not None, "there is at least one candidate"
        raise refused

    return _collect(drafts, priced)


def parse_batch_input(
    data: bytes, source: str, input_format: InputFormat | None = None, defaults: Defaults | None = None
) -> list[TaskDraft]:
    """The drafts in a file of 1 to `BATCH_ITEMS_MAX` items.

    `source` is the file's name for messages; its suffix tells the format when `input_format` is None
    (`FORMAT_OF_SUFFIX`). UTF-8, with or without a byte order mark, with any line ends.
    Raises `InputError`.
    """
    defaults = defaults or Defaults()
    read = {"text": read_text, "csv": read_csv, "jsonl": read_jsonl}[input_format or format_of(source)]
    return read(decode(data, source), source, defaults)


def format_of(source: str) -> InputFormat:
    """The format that a file's suffix tells; raises `InputError` when it tells none."""
    suffix = PurePath(source).suffix.lower()
    if suffix in FORMAT_OF_SUFFIX:
        return FORMAT_OF_SUFFIX[suffix]
    raise Origin(source).error(f"cannot tell the format from {quoted(suffix)}; name it: text, csv or jsonl")


def decode(data: bytes, source: str) -> str:
    """The file's text without its byte order mark.

    Raises `InputError` when the file or a line of it is too large, or is not UTF-8 (with the line).
    """
    if len(data) > INPUT_BYTES_MAX:
        raise Origin(source).error(f"{len(data)} bytes, more than {INPUT_BYTES_MAX}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Origin(source, 1).error("not UTF-8 but probably UTF-16; save the file as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` is what `error.start` counts in: the data behind the byte order mark
        before, byte = error.object[: error.start], error.object[error.start]
        line = len(_LINE_END.findall(before.decode("utf-8"))) + 1
        raise Origin(source, line).error(f"not UTF-8 (byte 0x{byte:02x})") from None
    if len(data) > LINE_BYTES_MAX:
        for number, line_text in enumerate(_LINE_END.split(text), start=1):
            if len(line_text) > LINE_BYTES_MAX or len(line_text.encode()) > LINE_BYTES_MAX:
                raise Origin(source, number).error(
                    f"a line of {len(line_text.encode())} bytes, more than {LINE_BYTES_MAX}"
                )
    return text


def read_text(text: str, source: str, defaults: Defaults) -> list[TaskDraft]:
    """One prompt a line, outer white space removed; blank lines are skipped, repeats are kept."""
    lines = enumerate(_LINE_END.split(text), start=1)
    rows = ((Origin(source, number), {"prompt": line.strip()}) for number, line in lines if line.strip())
    return _drafts(rows, Origin(source), defaults)


def read_jsonl(text: str, source: str, defaults: Defaults) -> list[TaskDraft]:
    """One JSON object a line, with the fields `ITEM_FIELDS`; blank lines are skipped."""

    def rows() -> Iterator[tuple[Origin, object]]:
        for number, line in enumerate(_LINE_END.split(text), start=1):
            if line.strip():
                origin = Origin(source, number)
                try:
                    yield origin, parse_json(line)
                except ValueError as error:
                    yield origin, error

    return _drafts(rows(), Origin(source), defaults)


def read_csv(text: str, source: str, defaults: Defaults) -> list[TaskDraft]:
    """RFC 4180 with a header of `ITEM_FIELDS`; an empty cell is an absent field.

    URL lists are separated by `|` or written as a JSON list, `metadata` is a JSON object. A quoted cell
    may hold line ends; a row's line is the one it starts on.
    """
    return _drafts(_csv_rows(text, source), Origin(source), defaults)


def drafts_from_objects(
    items: Sequence[object], defaults: Defaults, *, name: str = "items"
) -> list[TaskDraft]:
    """The drafts of already decoded JSON objects; errors name the path, such as `items[3].duration`."""
    rows = ((Origin(path=f"{name}[{index}]"), item) for index, item in enumerate(items))
    return _drafts(rows, Origin(path=name), defaults)


def parse_json(text: str) -> Any:
    """Strict JSON: `ValueError`, in one line, for duplicate keys, NaN, Infinity and too deep nesting too."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_object_without_repeats,
            parse_constant=_refuse_constant,
            parse_int=_bounded_integer,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {quoted(repeated)} is there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bounded_integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS_MAX:
        raise ValueError(f"a number of {len(digits)} digits, more than {INTEGER_DIGITS_MAX}")
    return int(digits)


def _csv_rows(text: str, source: str) -> Iterator[tuple[Origin, object]]:
    reader = csv.reader(_LINES.findall(text), strict=True)
    header: list[str] | None = None
    while True:
        origin = Origin(source, reader.line_num + 1)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "; is a quote not closed?" if "end of data" in str(error) or "limit" in str(error) else ""
            raise origin.error(f"not CSV: {error}{hint}") from None
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            _check_header(header, origin)
        elif len(cells) != len(header):
            yield origin, ValueError(f"{len(cells)} cells, but the header has {len(header)}")
        else:
            yield origin, _CsvRow(zip(header, cells, strict=True))


class _CsvRow(dict[str, str]):
    """A row whose values are still text; `_typed_cells` gives them the types that JSON would have."""


def _check_header(header: list[str], origin: Origin) -> None:
    for column in header:
        if column not in ITEM_FIELDS:
            raise _unknown_field("column", column, origin)
        if header.count(column) > 1:
            raise origin.error("the column is there twice", column)
    if "prompt" not in header:
        raise origin.error('the header has no column "prompt"', "prompt")


def _unknown_field(kind: str, name: str, origin: Origin) -> InputError:
    suggestion = nearest(name, ITEM_FIELDS)
    hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"known: {', '.join(sorted(ITEM_FIELDS))}"
    # an author's name goes into the error's path only when it keeps the message one line
    field_name = name if name.isprintable() and len(name) <= CUSTOM_ID_CHARACTERS_MAX else None
    return origin.error(f"unknown {kind} {quoted(name)}; {hint}", field_name)


def _typed_cells(row: Mapping[str, str], origin: Origin) -> dict[str, object]:
    item: dict[str, object] = {}
    for column, cell in row.items():
        text = cell.strip()
        if column == "prompt":
            item[column] = cell
        elif not text:
            continue
        elif column in NUMBER_OPTIONS:
            if not _WHOLE_NUMBER.fullmatch(text):
                raise origin.error(f"must be a whole number, not {quoted(text)}", column)
            item[column] = int(text)
        elif column == "metadata" or (column in LIST_OPTIONS and text.startswith("[")):
            try:
                item[column] = parse_json(text)
            except ValueError as error:
                raise origin.error(str(error), column) from None
        elif column in LIST_OPTIONS:
            item[column] = [url.strip() for url in text.split("|")]
        else:
            item[column] = text
    return item


def _drafts(rows: Iterable[tuple[Origin, object]], whole: Origin, defaults: Defaults) -> list[TaskDraft]:
    """Every row as a draft. A row that could not even be read is the `ValueError` that says why."""
    origin_of_custom_id: dict[str, Origin] = {}

    def draft_of(row: tuple[Origin, object]) -> TaskDraft:
        origin, item = row
        if isinstance(item, ValueError):
            raise origin.error(str(item))
        if isinstance(item, _CsvRow):
            item = _typed_cells(item, origin)
        draft = _draft(item, origin, defaults)
        if draft.custom_id is not None:
            first = origin_of_custom_id.setdefault(draft.custom_id, origin)
            if first is not origin:
                where = f"line {first.line}" if first.line else first.path
                raise origin.error(f"{quoted(draft.custom_id)} is already used by {where}", "custom_id")
        return draft

    drafts = _collect(_at_most_items(rows), draft_of)
    if not drafts:
        raise whole.error("no items: nothing but blank lines" if whole.source else "no items")
    return drafts


def _at_most_items(rows: Iterable[tuple[Origin, object]]) -> Iterator[tuple[Origin, object]]:
    for count, row in enumerate(rows):
        if count == BATCH_ITEMS_MAX:
            raise row[0].error(f"more than {BATCH_ITEMS_MAX} items; split them into several batches")
        yield row


def _draft(item: object, origin: Origin, defaults: Defaults) -> TaskDraft:
    if not isinstance(item, Mapping):
        raise origin.error(f'must be an object such as {{"prompt": "…"}}, not {quoted(item)}')
    for name in item:
        if name not in ITEM_FIELDS:
            raise _unknown_field("field", str(name), origin)
    own_options = {name: value for name, value in item.items() if name in OPTION_FIELDS and value is not None}
    metadata = item.get("metadata")
    return TaskDraft(
        prompt=check_prompt(item.get("prompt"), origin),
        model=_label(item.get("model"), "model", origin) or defaults.model,
        options={**defaults.options, **own_options},
        custom_id=_label(item.get("custom_id"), "custom_id", origin),
        metadata=None if metadata is None else _check_metadata(metadata, origin),
        origin=origin,
    )


def check_prompt(prompt: object, origin: Origin, field_name: str = "prompt") -> str:
    """The prompt unchanged, if it is text of 1 to `PROMPT_CHARACTERS_MAX` characters that any service takes.

    Tabs and line ends may stand in it. Raises `InputError` for other control characters, for lone
    surrogates (which UTF-8 cannot carry) and for blank or missing prompts.
    """
    if prompt is None:
        raise origin.error("missing", field_name)
    if not isinstance(prompt, str):
        raise origin.error(f"must be text, not {quoted(prompt)}", field_name)
    if len(prompt) > PROMPT_CHARACTERS_MAX:
        raise origin.error(f"{len(prompt)} characters, more than {PROMPT_CHARACTERS_MAX}", field_name)
    refused = _REFUSED_CHARACTERS.search(prompt)
    if refused is not None:
        raise origin.error(_refused_character(refused), field_name)
    if not prompt.strip():
        raise origin.error("blank", field_name)
    return prompt


def _refused_character(match: re.Match[str]) -> str:
    code = ord(match.group())
    kind = "a lone surrogate" if 0xD800 <= code <= 0xDFFF else "a control character"
    return f"{kind} (U+{code:04X}) at character {match.start() + 1}"


def _label(value: object, name: str, origin: Origin) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise origin.error(f"must be text, not {quoted(value)}", name)
    if not 0 < len(value) <= CUSTOM_ID_CHARACTERS_MAX:
        raise origin.error(f"must have 1 to {CUSTOM_ID_CHARACTERS_MAX} characters, not {len(value)}", name)
    if not value.isprintable():
        raise origin.error(f"must be printable text, not {quoted(value)}", name)
    return value


def _check_metadata(value: object, origin: Origin) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object, not {quoted(value)}", "metadata")
    try:
        encoded = json.dumps(dict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise origin.error("has a lone surrogate", "metadata") from None
    except (TypeError, ValueError, RecursionError):
        raise origin.error("is not JSON: a value out of range, or nested too deeply", "metadata") from None
    if len(encoded) > METADATA_BYTES_MAX:
        raise origin.error(f"{len(encoded)} bytes of JSON, more than {METADATA_BYTES_MAX}", "metadata")
    return value


def _collect(values: Iterable[T], make: Callable[[T], R]) -> list[R]:
    """Make each value; raise the first `InputError`, with a list of the first few as its fact `errors`."""
    made: list[R] = []
    faults: list[InputError] = []
    try:
        for value in values:
            try:
                made.append(make(value))
            except InputError as fault:
                faults.append(fault)
                if len(faults) == ERRORS_REPORTED_MAX:
                    break
    except InputError as fault:  # the values themselves end in one: no CSV, too many items
        faults.append(fault)
    if faults:
        faults[0].facts["errors"] = [
            {"code": fault.code, "message": fault.message, **fault.facts} for fault in faults
        ]
        raise faults[0]
    return made
