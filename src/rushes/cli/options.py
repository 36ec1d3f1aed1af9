"""Kinds of arguments that several commands take."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from rushes.cli.files import STANDARD_INPUT

Gate: TypeAlias = Annotated[
    bool | None,
    Parameter(
        help="Give each clip a verdict: black, frozen, silent, too short, broken; by default RUSHES_GATE."
    ),
]

DIGITS_MAX = 30
"""Of a number on the command line."""

ROWS_MAX = 10_000
"""Rows that one command lists."""

_DIGITS = re.compile(r"[+-]?[0-9]+")
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}")
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _not_an_option(_type: object, file: str | None) -> None:
    """Of names that start with a hyphen only the hyphen alone, for standard input, is a file's."""
    if file is not None and file.startswith("-") and file != STANDARD_INPUT:
        raise ValueError(f'no such option "{file}" (a file of that name is ./{file})')


PromptFile: TypeAlias = Annotated[
    str,
    Parameter(
        allow_leading_hyphen=True,
        validator=_not_an_option,
        help="Prompts as text (one a line), CSV, TSV, JSON Lines or JSON; - reads stdin.",
    ),
]


def _refused(token: Token, expected: str) -> ValueError:
    """A usage error that repeats the start of what was given; cyclopts adds the option's name."""
    return ValueError(f'{expected}, not "{token.value[:DIGITS_MAX]}"')


def _whole_number(_type: object, tokens: tuple[Token, ...]) -> int:
    """Digits only: an amount of 1.5 is a mistake, not 2."""
    text = tokens[0].value
    if not _DIGITS.fullmatch(text) or len(text) > DIGITS_MAX:
        raise _refused(tokens[0], "must be a whole number")
    return int(text)


def _age(_type: object, tokens: tuple[Token, ...]) -> timedelta:
    """A span such as 30d."""
    span = _SPAN.fullmatch(tokens[0].value)
    if span is None:
        raise _refused(tokens[0], "must be a span such as 30d or 12h")
    return timedelta(**{_UNITS[span[2]]: int(span[1])})


def _expiry(type_: object, tokens: tuple[Token, ...]) -> datetime | timedelta:
    """A date, a time (UTC unless it names a zone) or a span such as 30d."""
    if _SPAN.fullmatch(tokens[0].value):
        return _age(type_, tokens)
    return _moment(type_, tokens)


def _moment(_type: object, tokens: tuple[Token, ...]) -> datetime:
    """A date, which is its first instant, or a time; in UTC unless it names a zone."""
    text = tokens[0].value
    try:
        if len(text) == len("2027-01-01"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _refused(tokens[0], "must be a date such as 2027-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _next_moment(type_: object, tokens: tuple[Token, ...]) -> datetime:
    """`06:00`, the next such time, or a date or time; in UTC unless it names a zone."""
    if not _CLOCK.fullmatch(tokens[0].value):
        return _moment(type_, tokens)
    now = datetime.now(UTC)
    try:
        at = datetime.combine(now.date(), time.fromisoformat(tokens[0].value.zfill(5)), UTC)
    except ValueError:
        raise _refused(tokens[0], "must be a time such as 06:00") from None
    return at if at > now else at + timedelta(days=1)


def spread_values(arguments: Sequence[str]) -> list[str]:
    """`--item 0 1` as `--item 0 --item 1`, `--retry-on` too: a file or a batch that follows is no value."""
    from rushes.domain.task import FailureType

    is_value = {"--item": str.isdecimal, "--retry-on": frozenset(FailureType).__contains__}
    spread, option = list[str](), ""
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*spread, *arguments[place:]]
        if option and spread[-1] != option and is_value[option](argument):
            spread.append(option)
        elif not option or spread[-1] != option:  # else the option's first value, whatever it is
            option = argument if argument in is_value else ""
        spread.append(argument)
    return spread


LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
Json: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON document on stdout.")
]
Whole: TypeAlias = Annotated[int, Parameter(converter=_whole_number, n_tokens=1)]
Limit: TypeAlias = Annotated[
    int,
    Parameter(
        converter=_whole_number,
        n_tokens=1,
        validator=Number(gte=1, lte=ROWS_MAX),
        help=f"How many at most (1 to {ROWS_MAX}).",
    ),
]
Account: TypeAlias = Annotated[str, Parameter(help="The account's name.")]
Expiry: TypeAlias = Annotated[
    datetime | timedelta,
    Parameter(
        converter=_expiry, n_tokens=1, help="When the bonus expires: 2027-01-01, or a span such as 30d."
    ),
]
Age: TypeAlias = Annotated[timedelta, Parameter(converter=_age, n_tokens=1)]
Moment: TypeAlias = Annotated[datetime, Parameter(converter=_moment, n_tokens=1)]
NextMoment: TypeAlias = Annotated[datetime, Parameter(converter=_next_moment, n_tokens=1)]
FileFormat: TypeAlias = Annotated[
    Literal["text", "csv", "tsv", "jsonl", "json"] | None,
    Parameter(help="By default taken from the file's suffix, or seen in what comes through a pipe."),
]
AspectRatio: TypeAlias = Annotated[str | None, Parameter(help="For items that name none: 16:9 or 9:16.")]
Duration: TypeAlias = Annotated[Whole | None, Parameter(help="Seconds, for items that name none.")]
OptionValues: TypeAlias = Annotated[
    list[str] | None,
    Parameter(negative=(), help="NAME=VALUE, for items that name none; may be repeated."),
]
