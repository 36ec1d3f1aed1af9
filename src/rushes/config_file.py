"""`rushes.toml`: models, prices, aliases, currencies and provider instances, with the line of each mistake.

default_model = "fast-video"
credit_value = "0.01 USD"

[models."runway-gen4.5"]
price = { per_second = 15 }

[aliases.fast-video]
models = ["veo-flash", "veo3-fast"]

[currencies]
CNY = 0.14                 # one yuan, in the currency of the credit value

[gate]                     # what an acceptable clip is, for batches with a gate
frozen_share_max = 0.4

[providers.fal-b]
like = "fal"
key = "env:FAL_KEY_B"
headers = { api-key = "env:FAL_KEY_B" }
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from rushes.domain.acceptance.gate import DEFAULT_THRESHOLDS, Thresholds, read_gate
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.currencies import CURRENCIES
from rushes.domain.catalogue.instances import instance_models, of_instances
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.catalogue.price import exact
from rushes.domain.errors import InputError, SettingsError

FILE_NAME: Final = "rushes.toml"
FILE_BYTES_MAX: Final = 1024 * 1024
RATE_MAX: Final = 1_000_000
PROVIDER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
LIMITS: Final = (
    "submits_per_second",
    "polls_per_second",
    "poll_interval_min_seconds",
    "in_flight_tasks_max",
    "connections_max",
)

_SECTIONS: Final = ("default_model", "credit_value", "models", "aliases", "currencies", "providers", "gate")
_ALIAS_FIELDS: Final = ("models", "credits", "prices")
_PROVIDER_FIELDS: Final = ("like", "key", "host", "currency", "limits", "headers", "query")
_ENV: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]{0,100})")

ADDITIONS_MAX: Final = 16
"""Headers, and parts of a query, that an operator may add to the requests to one provider."""
ADDITION_CHARACTERS_MAX: Final = 4096
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_TRANSPORTS_OWN: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)
"""Headers that say how a request is written, which is not for an operator to say."""

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProviderInstance:
    """Another account or host of a provider that is installed; `key_variable` names where its key is.

    `headers` and `query` go with each of its requests; a value may be `env:NAME`. A header without a value is
    left out.
    """

    name: str
    like: str
    key_variable: str
    host: str | None = None
    currency: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables that it needs, each with the field that names it."""
        named = {self.key_variable: "key"}
        for section, values in (("headers", self.headers), ("query", self.query)):
            for value in values.values():
                variable = variable_in(value)
                if variable is not None:
                    named.setdefault(variable, section)
        return named


def variable_in(text: str) -> str | None:
    """The variable that `env:NAME` names; None for any other text."""
    found = _ENV.fullmatch(text)
    return None if found is None else found[1]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says. `overrides` are those of `Catalogue.with_overrides`; `rates` by currency."""

    path: Path | None = None
    default_model: str | None = None
    credit_value: str | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    providers: Mapping[str, ProviderInstance] = field(default_factory=dict)
    gate: Thresholds = DEFAULT_THRESHOLDS
    _text: str = field(default="", repr=False)

    def apply(self, base: Catalogue, names: Collection[str]) -> Catalogue:
        """The catalogue with those of the file's models and aliases that have these names.

        Raises `SettingsError` with the line at fault.
        """
        found = base
        for name, values in self.overrides.items():
            if name not in names:
                continue
            try:
                found = found.with_overrides({name: values})
            except InputError as error:
                message, inside = str(error), _flat(values)
                section = "aliases" if ("aliases", name) in key_lines(self._text) else "models"
                if section == "aliases":  # what the file calls `models` there
                    message = message.replace(".alias_of", ".models", 1)
                    inside = [
                        tuple("models" if key == "alias_of" else key for key in path) for path in inside
                    ]
                raise self.refused((section, name), message, inside) from None
        return found

    def refused(self, place: Place, message: str, inside: Collection[Place] = ()) -> SettingsError:
        """The error, at the line of the innermost key `inside` that place which the message names."""
        dotted = message.replace(": ", ".")
        named = [path for path in inside if ".".join(path) in dotted]
        # of those as deep, the one that comes first: what follows are words
        deepest: Place = max(named, key=lambda path: (len(path), -dotted.index(".".join(path))), default=())
        return _error(self.path, self._text, (*place, *deepest), message)


def operators_catalogue(
    base: Catalogue, config: ConfigFile, models: Mapping[str, Mapping[str, Any]]
) -> Catalogue:
    """The catalogue with the operator's models and aliases: those of RUSHES_MODELS after the file's.

    What speaks of instances comes once these have their models. Raises `SettingsError`.
    """

    def overridden(found: Catalogue, names: Collection[str]) -> Catalogue:
        try:
            return found.with_overrides({name: models[name] for name in models if name in names})
        except InputError as error:
            raise SettingsError(f"RUSHES_MODELS: {error.message}", variable="RUSHES_MODELS") from None

    late = of_instances(config.overrides, config.providers, base.definitions)
    late_here = of_instances(models, config.providers, {*base.definitions, *late})
    found = overridden(config.apply(base, config.overrides.keys() - late), models.keys() - late_here)
    for name, instance in config.providers.items():
        added = instance_models(found, name, like=instance.like, currency=instance.currency)
        found = Catalogue([*found, *added], found.definitions)
    return overridden(config.apply(found, late), late_here)


def read_config(path: Path, installed: Collection[str], check_host: Callable[[str], str]) -> ConfigFile:
    """The file, checked as far as it can be without the catalogue.

    `installed` are the providers that an instance may be `like`; `check_host` raises `ValueError` for a host
    that cannot be. Raises `SettingsError` with file, line and place.
    """
    text = _read(path)
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        last = text.rstrip("\n").count("\n") + 1  # tomllib says "at end of document"
        where = f"{path}:{line[1] if line else last}"
        reason = re.sub(r" \(at .*\)$", "", str(error)) or "not TOML"
        raise SettingsError(f"{where}: not TOML: {reason}") from None
    return _Reader(path, text, installed, check_host).read(document)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}", variable="RUSHES_CONFIG") from None
    if len(data) > FILE_BYTES_MAX:
        raise SettingsError(f"{path}: more than {FILE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8") from None


class _Reader:
    def __init__(
        self, path: Path, text: str, installed: Collection[str], check_host: Callable[[str], str]
    ) -> None:
        self._path = path
        self._text = text
        self._installed = installed
        self._check_host = check_host

    def read(self, document: Mapping[str, Any]) -> ConfigFile:
        self._only(document, _SECTIONS, ())
        overrides = dict(self._tables(document, "models"))
        for name, values in self._tables(document, "aliases"):
            if name in overrides:
                raise self._error(("aliases", name), "is a model of this file already")
            overrides[name] = self._alias(name, values)
        return ConfigFile(
            path=self._path,
            default_model=self._text_of(document, "default_model", ()),
            credit_value=self._text_of(document, "credit_value", ()),
            overrides=overrides,
            rates={code: self._rate(code, rate) for code, rate in self._pairs(document, "currencies")},
            providers={
                name: self._provider(name, values) for name, values in self._tables(document, "providers")
            },
            gate=self._gate(document),
            _text=self._text,
        )

    def _gate(self, document: Mapping[str, Any]) -> Thresholds:
        values = {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in self._pairs(document, "gate")
        }
        try:
            return read_gate(values) or DEFAULT_THRESHOLDS
        except InputError as error:
            place = tuple(str(error.facts.get("field", "gate")).split("."))
            raise _error(self._path, self._text, place, str(error)) from None

    def _error(self, place: Place, message: str) -> SettingsError:
        shown = ".".join(place)
        return _error(self._path, self._text, place, f"{shown}: {message}" if shown else message)

    def _only(self, table: Mapping[str, Any], known: tuple[str, ...], place: Place) -> None:
        for name in table:
            if name not in known:
                suggestion = nearest(name, known)
                hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"use {', '.join(known)}"
                raise self._error((*place, name), f"unknown name; {hint}")

    def _pairs(self, document: Mapping[str, Any], section: str) -> Iterator[tuple[str, Any]]:
        table = document.get(section, {})
        if not isinstance(table, Mapping):
            raise self._error((section,), f"must be a table, not {quoted(table)}")
        yield from table.items()

    def _tables(self, document: Mapping[str, Any], section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, values in self._pairs(document, section):
            if not isinstance(values, Mapping):
                raise self._error((section, name), f"must be a table, not {quoted(values)}")
            yield name, values

    def _text_of(self, table: Mapping[str, Any], name: str, place: Place) -> str | None:
        value = table.get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self._error((*place, name), f"must be text, not {quoted(value)}")
        return value

    def _alias(self, name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        self._only(values, _ALIAS_FIELDS, ("aliases", name))
        if "models" not in values:
            raise self._error(("aliases", name), "models: missing")
        return {"alias_of" if key == "models" else key: value for key, value in values.items()}

    def _rate(self, code: str, value: object) -> Fraction:
        place = ("currencies", code)
        if code not in CURRENCIES:
            raise self._error(place, "must be a currency of ISO 4217 such as CNY")
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not _is_rate(value):
            raise self._error(place, f"must be a number above 0 and at most {RATE_MAX}, not {value}")
        return exact(value)

    def _provider(self, name: str, values: Mapping[str, Any]) -> ProviderInstance:
        place = ("providers", name)
        self._only(values, _PROVIDER_FIELDS, place)
        if not PROVIDER_NAME.fullmatch(name):
            raise self._error(place, "a provider's name has small letters, digits and -")
        if name in self._installed:
            raise self._error(place, "is a provider already: an instance needs a name of its own")
        like = self._text_of(values, "like", place)
        if like is None or like not in self._installed:
            known = ", ".join(sorted(self._installed))
            raise self._error((*place, "like"), f"must be one of {known}, not {quoted(like)}")
        key = self._text_of(values, "key", place)
        variable = None if key is None else variable_in(key)
        if variable is None:
            raise self._error((*place, "key"), "must name a variable, such as env:FAL_KEY_B")
        currency = self._text_of(values, "currency", place)
        if currency is not None and currency not in CURRENCIES:
            raise self._error((*place, "currency"), f"must be a currency of ISO 4217, not {quoted(currency)}")
        headers = self._additions(values, "headers", place)
        for header, value in headers.items():
            self._check_header(header, value, (*place, "headers", header))
        return ProviderInstance(
            name,
            like,
            variable,
            self._host(values, place),
            currency,
            self._limits(values, place),
            {header.lower(): value for header, value in headers.items()},
            self._additions(values, "query", place),
        )

    def _additions(self, values: Mapping[str, Any], section: str, place: Place) -> dict[str, str]:
        """Names and texts that go with every request."""
        place, table = (*place, section), values.get(section, {})
        if not isinstance(table, Mapping):
            raise self._error(place, f"must be a table, not {quoted(table)}")
        if len(table) > ADDITIONS_MAX:
            raise self._error(place, f"{len(table)} entries, more than {ADDITIONS_MAX}")
        for name, value in table.items():
            if not name or not name.isprintable():
                raise self._error((*place, name), "must be a printable name")
            if not isinstance(value, str):
                raise self._error((*place, name), f"must be text, not {quoted(value)}")
            if len(value) > ADDITION_CHARACTERS_MAX or not value.isprintable():
                raise self._error(
                    (*place, name), f"must be at most {ADDITION_CHARACTERS_MAX} printable characters"
                )
        return dict(table)

    def _check_header(self, name: str, value: str, place: Place) -> None:
        if not _HEADER_NAME.fullmatch(name):
            raise self._error(place, "is no name of an HTTP header")
        if name.lower() in _TRANSPORTS_OWN:
            raise self._error(place, "belongs to the request's form: it cannot be set")
        if not _HEADER_VALUE.fullmatch(value):
            raise self._error(place, "must be printable ASCII: it travels in an HTTP header")

    def _host(self, values: Mapping[str, Any], place: Place) -> str | None:
        host = self._text_of(values, "host", place)
        try:
            return None if host is None else self._check_host(host)
        except ValueError as refused:
            raise self._error((*place, "host"), str(refused)) from None

    def _limits(self, values: Mapping[str, Any], place: Place) -> dict[str, float]:
        place = (*place, "limits")
        limits = values.get("limits", {})
        if not isinstance(limits, Mapping):
            raise self._error(place, f"must be a table, not {quoted(limits)}")
        self._only(limits, LIMITS, place)
        found: dict[str, float] = {}
        for name, value in limits.items():
            is_whole = name.endswith("_max")
            kinds: Any = int if is_whole else int | Decimal
            if isinstance(value, bool) or not isinstance(value, kinds) or not _is_rate(value):
                what = "a whole number" if is_whole else "a number"
                raise self._error((*place, name), f"must be {what} above 0, not {value}")
            found[name] = int(value) if is_whole else float(value)
        return found


def _is_rate(value: int | Decimal) -> bool:
    return Decimal(value).is_finite() and 0 < value <= RATE_MAX


# --- lines ----------------------------------------------------------------------------------------------


def _error(path: Path | None, text: str, place: Place, message: str) -> SettingsError:
    lines = key_lines(text)
    found = next((lines[place[:length]] for length in range(len(place), 0, -1) if place[:length] in lines), 1)
    return SettingsError(f"{path}:{found}: {message}")


def key_lines(text: str) -> dict[Place, int]:
    """The line of each key and table of a TOML document; of those that span lines, the first."""
    lines: dict[Place, int] = {}
    prefix: Place = ()
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if line.startswith("["):
            header = _parsed(line)
            if header is not None:
                prefix = max(_flat(header), key=len, default=())
                for length in range(1, len(prefix) + 1):
                    lines.setdefault(prefix[:length], number)
                continue
        inside = _parsed(line) or _parsed(line.partition("=")[0] + "= 0")
        for path in _flat(inside or {}):
            lines.setdefault((*prefix, *path), number)
    return lines


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(line)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _flat(table: Mapping[str, Any], prefix: Place = ()) -> list[Place]:
    """The paths of all keys, those of inner tables too."""
    found: list[Place] = []
    for name, value in table.items():
        found.append((*prefix, str(name)))
        if isinstance(value, Mapping):
            found += _flat(value, (*prefix, str(name)))
    return found
