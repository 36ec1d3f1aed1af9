"""What is wrong with a row or a field of a new batch, in the language that is spoken.

The library says it in English, in shapes that are listed here; what no shape fits stays in English.
"""

import re
from functools import cache
from typing import Final

from rushes.dashboard.words import language, speaking, tr

_INNER: Final = ("what", "why", "hint")
"""Values that are said in a shape of their own."""

_VALUE: Final = re.compile(r"\\\{(\w+)\\\}")
_FIELD: Final = re.compile(r"([\w.\[\]]+): (.+)", re.DOTALL)


def fault_words(said: str) -> str:
    """An error's message, after the place where it is: `prompt: blank`, `must be text, not 5`."""
    if language() == "en":
        return said
    whole = _in_shape(said)
    if whole is not None:
        return whole
    field = _FIELD.fullmatch(said)
    inner = None if field is None else _in_shape(field[2])
    return said if field is None or inner is None else tr("{field}: {what}", field=field[1], what=inner)


def _in_shape(said: str) -> str | None:
    for pattern, spoken in _pairs():
        found = pattern.fullmatch(said)
        if found is not None:
            values = {
                name: (_in_shape(value) or value) if name in _INNER else value
                for name, value in found.groupdict().items()
            }
            return spoken.format(**values)
    return None


@cache
def _pairs() -> tuple[tuple[re.Pattern[str], str], ...]:
    with speaking("en"):
        english = _shapes()
    with speaking("zh"):
        chinese = _shapes()
    return tuple(
        (re.compile(_VALUE.sub(r"(?P<\1>.+?)", re.escape(shape)), re.DOTALL), spoken)
        for shape, spoken in zip(english, chinese, strict=True)
    )


def _shapes() -> tuple[str, ...]:
    """All of them; the first that fits is taken."""
    return (*_hints(), *_of_rows(), *_of_models(), *_of_options())


def _hints() -> tuple[str, ...]:
    return (tr("did you mean {name}?"), tr("known: {names}"), tr("use one of: {names}"))


def _of_rows() -> tuple[str, ...]:
    return (
        tr("missing"),
        tr("blank"),
        tr("a control character ({code}) at character {n}"),
        tr("a lone surrogate ({code}) at character {n}"),
        tr("{n} characters, more than {max}"),
        tr("{n} {unit}, more than the {max} that {model} takes"),
        tr("must be text, not {value}"),
        tr("must be printable text, not {value}"),
        tr("must have 1 to {max} characters, not {n}"),
        tr("{value} is already used by {where}"),
        tr("unknown column {name}; {hint}"),
        tr("unknown field {name}; {hint}"),
        tr("unknown option {name}; {hint}"),
        tr("is there twice: in options and beside it"),
        tr("is there twice: as {name} too"),
        tr("the column is there twice"),
        tr("the header again: remove this line where files were joined"),
        tr('the header has no column "prompt"; {hint}'),
        tr("1 cell, but the header has {max}; write the empty ones too, and quote text with line ends"),
        tr("{n} cells, but the header has {max}; write the empty ones too, and quote text with line ends"),
        tr("more than {max} items; split them into several batches"),
        tr("no items: there is no prompt in it"),
        tr("must be an object, not {value}"),
        tr("not JSON: {why}"),
        tr("not CSV: {why}"),
        tr("{required} credits are required, {available} are available: {missing} are missing"),
        tr("must be in the future"),
        tr("must be seconds or an ISO 8601 time, not {value}"),
        tr("the template's variable {name} has no values"),
        tr("the template does not use the variable {name}"),
        tr("{n} combinations, more than {max}; set max_outputs or split"),
    )


def _of_models() -> tuple[str, ...]:
    return (
        tr("unknown model {name}; {hint}"),
        tr("{name} was retired on {day}; {hint}"),
        tr("{name} was retired on {day}"),
        tr("{name} is disabled by the operator; {hint}"),
        tr("{name} is disabled by the operator"),
        tr("{name} is unavailable: {why}"),
        tr("no model of {name} takes new tasks: {why}"),
        tr("no model on sale takes this item; `rushes models` shows what each takes"),
        tr("{model} has no such option; {hint}"),
        tr("{model} has no such option; it takes {names}"),
        tr("only first_frame may be the last frame of another item"),
        tr("an item cannot start from its own last frame"),
        tr("no item of this batch has the custom_id {name}; {hint}"),
        tr("{n} items are called {name}; a custom_id names one"),
    )


def _of_options() -> tuple[str, ...]:
    return (
        tr("must be {what}, not {value}"),
        tr("a whole number from {low} to {high}"),
        tr("a number from {low} to {high}"),
        tr("a whole number"),
        tr("a number"),
        tr("true or false"),
        tr("true: it cannot be switched off"),
        tr("text of up to {n} characters"),
        tr("a URL in quotes"),
        tr("an http or https URL"),
        tr("a list of 1 to {max} {files}"),
        tr("the URL, upload id or data URI of one {file}"),
        tr("has control characters or lone surrogates"),
        tr("not a JSON list"),
        tr("not a URL: it has white space, control characters or backslashes"),
        tr("not a URL: {value}"),
        tr("the URL must not carry a user name or password"),
        tr("is no upload id: {value}"),
        tr("needs {name} beside it"),
        tr("at most {max} with {option} {other}, not {value}"),
        tr("{n} files, more than the {max} that the model takes"),
        tr("the upload is {type}; the model takes {types}"),
        tr("the upload is {type}, and the model takes {files} here"),
        tr("the upload has {n} bytes, more than the {max} that the model takes"),
        tr("there is no upload {name}: it expired, or was never yours"),
        tr("a URL of {n} characters, more than {max}"),
    )
