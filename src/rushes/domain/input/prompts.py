"""Batch input: items of a request, rows of a file and templates become checked task drafts.

Reading goes in two steps. First the input's own form: `files.parse_batch_input` (a file's bytes),
`drafts_from_objects` (items of a request) or `drafts_from_template` give `TaskDraft`s. Then
`validate_drafts` looks up models, options and prices. All raise `InputError` with source, line and field
of the first fault; `error.facts["errors"]` holds the first `ERRORS_REPORTED_MAX` faults in the same form.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rushes.domain.catalogue.catalogue import DEFAULT_MODEL, Catalogue
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.fields import OptionFields
from rushes.domain.catalogue.media import same_input
from rushes.domain.catalogue.options import Origin, nearest, quoted
from rushes.domain.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

BATCH_ITEMS_MAX = 10_000
PROMPT_CHARACTERS_MAX = 4000
CUSTOM_ID_CHARACTERS_MAX = 128
REQUEST_ID_CHARACTERS_MAX = 128
JSON_BYTES_PER_CHARACTER_MAX = 6  # an ASCII control character is written as \u and four digits
NUMBER_BYTES_MAX = 26  # of 64 bits, with quotes, colon and comma around
METADATA_BYTES_MAX = 4096  # of compact JSON in UTF-8
ERRORS_REPORTED_MAX = 20

OWN_FIELDS = frozenset({"prompt", "model", "custom_id", "metadata", "options", "deadline"})
"""The fields of an item beside its options: keys of a JSON object, columns of a CSV file.

Options stand beside them, or in the object `options`.
"""

# all of Unicode's category Cc but tab and line ends, and halves of surrogate pairs
_REFUSED_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an item without its own model or option gets; `fields` are the options that an item may have."""

    model: str = DEFAULT_MODEL
    options: Mapping[str, Any] = field(default_factory=dict)
    fields: OptionFields = DEFAULT_CATALOGUE.fields

    @classmethod
    def of(
        cls, catalogue: Catalogue, model: str | None = None, options: Mapping[str, Any] | None = None
    ) -> "Defaults":
        """Those of a catalogue, whose default model is taken when none is named."""
        return cls(model or catalogue.default_model, options or {}, catalogue.fields)


@dataclass(slots=True)
class TaskDraft:
    """One item of a batch as its author wrote it; model, options and deadline are not looked up yet.

    Nobody changes one. It is not frozen, as those take twice as long to make, and a batch has 10,000.
    """

    prompt: str
    model: str
    options: Mapping[str, Any]
    custom_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    deadline: object = None
    origin: Origin = field(default_factory=Origin, compare=False)


def drafts_from_objects(
    items: Sequence[object], defaults: Defaults, *, name: str = "items"
) -> list[TaskDraft]:
    """The drafts of already decoded JSON objects; errors name the path, such as `items[3].duration`."""
    rows = ((Origin(None, None, f"{name}[{index}]"), item) for index, item in enumerate(items))
    return drafts_of_rows(rows, Origin(path=name), defaults)


def unknown_field(kind: str, name: str, known: frozenset[str], origin: Origin) -> InputError:
    """The error for a column, field or option that is not known, with the nearest name."""
    suggestion = nearest(name, known)
    hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"known: {', '.join(sorted(known))}"
    # an author's name goes into the error's path only when it keeps the message one line
    field_name = name if name.isprintable() and len(name) <= CUSTOM_ID_CHARACTERS_MAX else None
    return origin.error(f"unknown {kind} {quoted(name)}; {hint}", field_name)


def drafts_of_rows(
    rows: Iterable[tuple[Origin, object]], whole: Origin, defaults: Defaults
) -> list[TaskDraft]:
    """Every row as a draft. A row that could not be read is the `InputError` that says why."""
    drafts = collect(at_most_items(rows), row_reader(defaults))
    if not drafts:
        raise whole.error("no items: there is no prompt in it" if whole.source else "no items")
    return drafts


def row_reader(defaults: Defaults) -> Callable[[tuple[Origin, object]], TaskDraft]:
    """Makes drafts of the rows of one batch, one after the other; raises `InputError` for one at fault."""
    origin_of_custom_id: dict[str, Origin] = {}

    def draft_of(row: tuple[Origin, object]) -> TaskDraft:
        origin, item = row
        if isinstance(item, InputError):
            raise item
        draft = _draft(item, origin, defaults)
        if draft.custom_id is not None:
            first = origin_of_custom_id.setdefault(draft.custom_id, origin)
            if first is not origin:
                where = f"line {first.line}" if first.line else first.path
                raise origin.error(f"{quoted(draft.custom_id)} is already used by {where}", "custom_id")
        return draft

    return draft_of


def at_most_items(rows: Iterable[tuple[Origin, object]]) -> Iterator[tuple[Origin, object]]:
    """The rows; raises `InputError` at the one that is too many."""
    for count, row in enumerate(rows):
        if count == BATCH_ITEMS_MAX:
            raise row[0].error(f"more than {BATCH_ITEMS_MAX} items; split them into several batches")
        yield row


def _draft(item: object, origin: Origin, defaults: Defaults) -> TaskDraft:
    if not isinstance(item, Mapping):
        raise origin.error(f'must be an object such as {{"prompt": "…"}}, not {quoted(item)}')
    own_options = options_in(item, OWN_FIELDS, defaults.fields.names, origin)
    metadata = item.get("metadata")
    if defaults.options:
        own_inputs = {same_input(name) for name in own_options}
        shared = {
            name: value for name, value in defaults.options.items() if same_input(name) not in own_inputs
        }
        own_options = {**shared, **own_options}
    return TaskDraft(
        prompt=check_prompt(item.get("prompt"), origin),
        model=_label(item.get("model"), "model", origin) or defaults.model,
        options=own_options,
        custom_id=_label(item.get("custom_id"), "custom_id", origin),
        metadata=None if metadata is None else check_metadata(metadata, origin),
        deadline=item.get("deadline"),
        origin=origin,
    )


def options_in(
    document: Mapping[str, Any], own_fields: frozenset[str], names: frozenset[str], origin: Origin
) -> dict[str, Any]:
    """The options in an object: its fields of these `names`, and what its field `options` holds.

    Raises `InputError` for a field that is neither an option nor one of `own_fields`, and for an option that
    is given in both places. What is null is absent.
    """
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in names:
            if value is not None:
                found[name] = value
        elif name not in own_fields:
            raise unknown_field("field", str(name), own_fields | names, origin)
    inner = document.get("options")
    if inner is None:
        return found
    if not isinstance(inner, Mapping):
        raise origin.error(f"must be an object, not {quoted(inner)}", "options")
    inside = origin._replace(path=f"{origin.path}.options" if origin.path else "options")
    for name, value in inner.items():
        if name not in names:
            raise unknown_field("option", str(name), names, inside)
        if name in found:
            raise inside.error("is there twice: in options and beside it", name)
        if value is not None:
            found[name] = value
    return found


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


def check_request_id(text: str | None) -> str | None:
    """A request's id if it can be one, None for None. Raises `InputError`; an empty one names nothing."""
    if text is not None and (not 0 < len(text) <= REQUEST_ID_CHARACTERS_MAX or not text.isprintable()):
        raise InputError(f"must be 1 to {REQUEST_ID_CHARACTERS_MAX} printable characters", field="request_id")
    return text


def _is_small(value: Mapping[Any, Any]) -> bool:
    """Whether these are plain words and numbers, so few that nobody needs to count: most metadata is so."""
    bound = 2
    for name, inner in value.items():
        if not isinstance(name, str) or not name.isascii():
            return False
        if isinstance(inner, str):
            if not inner.isascii():
                return False
            bound += JSON_BYTES_PER_CHARACTER_MAX * len(inner)
        elif inner is not None and (not isinstance(inner, int) or abs(inner) >= 2**63):
            return False
        bound += JSON_BYTES_PER_CHARACTER_MAX * len(name) + NUMBER_BYTES_MAX
    return bound <= METADATA_BYTES_MAX


def check_metadata(value: object, origin: Origin) -> Mapping[str, Any]:
    """The value if it is a JSON object of at most `METADATA_BYTES_MAX` bytes. Raises `InputError`."""
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object, not {quoted(value)}", "metadata")
    if _is_small(value):
        return value
    try:
        encoded = json.dumps(dict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise origin.error("has a lone surrogate", "metadata") from None
    except (TypeError, ValueError, RecursionError):
        raise origin.error("is not JSON: a value out of range, or nested too deeply", "metadata") from None
    if len(encoded) > METADATA_BYTES_MAX:
        raise origin.error(f"{len(encoded)} bytes of JSON, more than {METADATA_BYTES_MAX}", "metadata")
    return value


def collect(values: Iterable[T], make: Callable[[T], R]) -> list[R]:
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
