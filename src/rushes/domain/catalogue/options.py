"""What a model's options may be: one small class per kind of value, and where a bad one came from.

Each kind may have a `default`, which is sent and priced as if the caller had written it, and a `wire` form:
how the option stands in the provider's request (`rushes.domain.catalogue.wire`).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

from rushes.domain.catalogue.wire import AS_NAMED, Wire
from rushes.domain.errors import InputError

URL_CHARACTERS_MAX = 8192
"""The longest URL of a file: signed ones have thousands of characters, and servers refuse longer lines."""

QUOTED_CHARACTERS_MAX = 60
"""How much of a caller's own text an error message repeats."""

NAMES_SHOWN_MAX: Final = 8
"""How many known names an error lists."""

OptionValue: TypeAlias = str | int | float | tuple[str, ...]
"""Yes and no are `bool`, which is an `int`; only a `DecimalNumber` is a `float`."""

SEED_MAX: Final = 2**31 - 1

VALUES_LISTED_MAX: Final = 1000
"""A whole number of more values is priced by formula, never by a table."""

# white space, controls, backslashes and lone surrogates: a URL never has them, and some parsers drop them
_NOT_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_A_URL = re.compile(r"[\s\x00-\x20\x7f-\x9f\\\ud800-\udfff]")


class Origin(NamedTuple):
    """Where an input value came from: a file's line, or a path into a request body such as `items[3]`."""

    source: str | None = None
    line: int | None = None
    path: str = ""

    def error(
        self, message: str, field_name: str | None = None, kind: type[InputError] = InputError
    ) -> InputError:
        """The error to raise for this place; `field_name` is appended to `path`."""
        names = [name for name in (self.path, field_name) if name]
        return kind(message, source=self.source, line=self.line, field=".".join(names) or None)


NOWHERE = Origin()


def quoted(value: object) -> str:
    """A caller's value for a message: one short printable line, text in double quotes."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        # str() of a huge int is slow and, past a limit, an error; NaN is not large
        return "a number that large" if abs(value) >= 10**15 else str(value)
    if not isinstance(value, str):
        return "an object" if isinstance(value, Mapping) else "a list"
    shown = value[:QUOTED_CHARACTERS_MAX]
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in shown)
    return f'"{printable}{"…" if len(value) > len(shown) else ""}"'


def nearest(name: str, known: Mapping[str, object] | frozenset[str] | tuple[str, ...]) -> str | None:
    """The known name most like `name`, or None when none is (difflib's ratio, cutoff 0.6)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name[:QUOTED_CHARACTERS_MAX].lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


class OptionSpec(Protocol):
    """The allowed values of one option."""

    def normalise(self, value: object) -> OptionValue:
        """The value in rushes' own form; raises `ValueError` with a one-line reason."""
        ...

    def describe(self) -> str:
        """The allowed values in a few words, for people."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What every kind of option has. `default` None: an option that is not given is not sent."""

    default: OptionValue | None = None
    wire: Wire = AS_NAMED


def default_of(spec: OptionSpec) -> OptionValue | None:
    """The option's default; another package's own kinds need not have one."""
    found: OptionValue | None = getattr(spec, "default", None)
    return found


def values_of(spec: OptionSpec) -> Sequence[OptionValue] | None:
    """Every value of an option that has few enough to list, in order; None for the others."""
    match spec:
        case OneOf():
            return spec.values
        case YesNo():
            return (True,) if spec.is_always else (False, True)
        case WholeNumber() if (spec.maximum - spec.minimum) // spec.step < VALUES_LISTED_MAX:
            return range(spec.minimum, spec.maximum + 1, spec.step)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class OneOf(Described):
    """One of a few texts or whole numbers. `synonyms` are other words for them."""

    values: tuple[str | int, ...]
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def normalise(self, value: object) -> OptionValue:
        """The value itself; 10 is not "10", nor True 1."""
        if isinstance(value, str):
            value = self.synonyms.get(value, value)
        for allowed in self.values:
            if type(value) is type(allowed) and value == allowed:
                return allowed
        raise ValueError(f"must be {self.describe()}, not {quoted(value)}")

    def describe(self) -> str:
        """`"9:16" or "16:9"`."""
        return " or ".join(quoted(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class WholeNumber(Described):
    """A whole number from `minimum` to `maximum`, both allowed, in steps from the minimum."""

    minimum: int
    maximum: int
    step: int = 1

    def normalise(self, value: object) -> OptionValue:
        """The number itself; 5.0, "5" and True are not whole numbers here."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not self.minimum <= value <= self.maximum
            or (value - self.minimum) % self.step
        ):
            raise ValueError(f"must be {self.describe()}, not {quoted(value)}")
        return value

    def describe(self) -> str:
        """`a whole number from 1 to 15`."""
        steps = "" if self.step == 1 else f" in steps of {self.step}"
        return f"a whole number from {self.minimum} to {self.maximum}{steps}"


@dataclass(frozen=True, slots=True)
class Seed(WholeNumber):
    """A seed: a whole number that makes a model repeat itself. It has no default."""

    minimum: int = 0
    maximum: int = SEED_MAX


@dataclass(frozen=True, slots=True)
class DecimalNumber(Described):
    """A number from `minimum` to `maximum`, both allowed, such as 0.5."""

    minimum: Decimal | int
    maximum: Decimal | int

    def normalise(self, value: object) -> OptionValue:
        """The number as a float, which JSON writes with the same digits."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or not self.minimum <= Decimal(repr(value)) <= self.maximum
        ):
            raise ValueError(f"must be {self.describe()}, not {quoted(value)}")
        return float(value)

    def describe(self) -> str:
        """`a number from 0 to 1`."""
        return f"a number from {self.minimum} to {self.maximum}"


@dataclass(frozen=True, slots=True)
class YesNo(Described):
    """True or false; with `is_always` true alone, for what a model does whatever it is asked."""

    is_always: bool = False

    def normalise(self, value: object) -> OptionValue:
        """The value itself; 1 and "true" are not yes here."""
        if not isinstance(value, bool) or (self.is_always and not value):
            raise ValueError(f"must be {self.describe()}, not {quoted(value)}")
        return value

    def describe(self) -> str:
        """`true or false`."""
        return "true: it cannot be switched off" if self.is_always else "true or false"


@dataclass(frozen=True, slots=True)
class Text(Described):
    """Free text of 1 to `characters_max` characters."""

    characters_max: int

    def normalise(self, value: object) -> OptionValue:
        """The text unchanged; control characters but tabs and line ends are refused."""
        if not isinstance(value, str) or not value:
            raise ValueError(f"must be {self.describe()}, not {quoted(value)}")
        if len(value) > self.characters_max:
            raise ValueError(f"{len(value)} characters, more than {self.characters_max}")
        if _NOT_IN_TEXT.search(value):
            raise ValueError("has control characters or lone surrogates")
        return value

    def describe(self) -> str:
        """`text of up to 200 characters`."""
        return f"text of up to {self.characters_max} characters"


@dataclass(frozen=True, slots=True)
class Url(Described):
    """The http(s) URL of one file (`content`: image, audio)."""

    content: str = "image"

    def normalise(self, value: object) -> OptionValue:
        """The URL, unchanged."""
        return check_url(value)

    def describe(self) -> str:
        """`the URL of one image`."""
        return f"the URL of one {self.content}"


@dataclass(frozen=True, slots=True)
class UrlList(Described):
    """One to `count_max` http(s) URLs of files (`content`: image, audio)."""

    count_max: int
    content: str = "image"

    def normalise(self, value: object) -> OptionValue:
        """The URLs as a tuple, in their order."""
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"must be a list of 1 to {self.count_max} URLs, not {quoted(value)}")
        if len(value) > self.count_max:
            raise ValueError(f"{len(value)} URLs, more than the {self.count_max} that the model takes")
        return tuple(check_url(url) for url in value)

    def describe(self) -> str:
        """`up to 3 URLs of one image each`."""
        return f"up to {self.count_max} URLs of one {self.content} each"


@dataclass(frozen=True, slots=True)
class AtMostWhen:
    """A cross check: `option` is at most `maximum` when `when_option` has the value `when_value`."""

    option: str
    maximum: int
    when_option: str
    when_value: str

    def problem(self, options: Mapping[str, OptionValue]) -> str | None:
        """What is wrong with `option`, or None."""
        value = options.get(self.option)
        if options.get(self.when_option) != self.when_value or not isinstance(value, int):
            return None
        if value <= self.maximum:
            return None
        return f"at most {self.maximum} with {self.when_option} {quoted(self.when_value)}, not {value}"


@dataclass(frozen=True, slots=True)
class Apart:
    """A cross check: `option` is not given together with any of `others`."""

    option: str
    others: tuple[str, ...]

    def problem(self, options: Mapping[str, OptionValue]) -> str | None:
        """What is wrong with `option`, or None."""
        if options.get(self.option) is None:
            return None
        other = next((name for name in self.others if options.get(name) is not None), None)
        return None if other is None else f"does not go with {other}: give one of them"


@dataclass(frozen=True, slots=True)
class Needs:
    """A cross check: `option` is only given together with `other`."""

    option: str
    other: str

    def problem(self, options: Mapping[str, OptionValue]) -> str | None:
        """What is wrong with `option`, or None."""
        if options.get(self.option) is None or options.get(self.other) is not None:
            return None
        return f"needs {self.other} beside it"


CrossCheck: TypeAlias = AtMostWhen | Apart | Needs


def check_url(value: object) -> str:
    """An absolute http or https URL without user name or password; `ValueError` otherwise.

    Only its form is checked: the provider fetches it, not rushes.
    """
    if not isinstance(value, str):
        raise ValueError(f"must be a URL in quotes, not {quoted(value)}")
    if len(value) > URL_CHARACTERS_MAX:
        raise ValueError(f"a URL of {len(value)} characters, more than {URL_CHARACTERS_MAX}")
    if _NOT_IN_A_URL.search(value):
        raise ValueError("not a URL: it has white space, control characters or backslashes")
    try:
        parts = urlsplit(value)
        hostname, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError:
        raise ValueError(f"not a URL: {quoted(value)}") from None
    if parts.scheme not in ("http", "https") or not hostname:
        raise ValueError(f"must be an http or https URL, not {quoted(value)}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL must not carry a user name or password")
    return value
