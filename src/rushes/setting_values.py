"""How the text of a setting becomes its value: the types of settings, their checks, and the `.env` file."""

import ipaddress
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError

from rushes.config_file import ConfigFile, ProviderInstance, variable_in
from rushes.domain.errors import SettingsError
from rushes.domain.input.strict_json import parse_json
from rushes.domain.margin import CreditValue
from rushes.providers.http.proxies import NONE, masked_proxy

MODELS_FILE_BYTES_MAX = 1024 * 1024
DASHBOARD_SECRET_CHARACTERS_MIN = 12
MASK = "********"
PROXY_VARIABLES = ("RUSHES_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_ARCHIVE_SCHEMES = frozenset({"file", "s3", "gs", "az"})
_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")


SettingSource: TypeAlias = Literal["environment", "env file", "rushes.toml", "default"]


class EffectiveSetting(NamedTuple):
    """One line of `rushes doctor`; `value` never holds a secret."""

    name: str
    value: str
    source: SettingSource


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """Where a provider is and the key for it; `missing` names the variable without which it cannot be used.

    `host` is "" for another package's provider that is to use its own default. `headers` and `query` go with
    every request, as the operator has added them; of a header without a value, nothing is sent. `secrets` are
    the values that no text may show.
    """

    host: str = ""
    key: str = field(default="", repr=False)
    missing: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def account_of_instance(
    instance: ProviderInstance, variables: Mapping[str, str], *, host: str
) -> ProviderAccount:
    """Where an instance is, with the values of the variables that it names."""
    missing = next((name for name in instance.variables if name not in variables), None)
    if missing is not None:
        return ProviderAccount(missing=missing)

    def values_of(written: Mapping[str, str]) -> dict[str, str]:
        named = {name: variable_in(text) for name, text in written.items()}
        return {
            name: text if (variable := named[name]) is None else variables[variable]
            for name, text in written.items()
        }

    return ProviderAccount(
        instance.host or host,
        variables[instance.key_variable],
        headers=values_of(instance.headers),
        query=values_of(instance.query),
        secrets=tuple(dict.fromkeys(variables[name] for name in instance.variables)),
    )


class UnknownVariable(NamedTuple):
    """A variable with one of rushes' prefixes that no setting has; `suggestion` is the nearest name."""

    name: str
    suggestion: str | None


def _parts_of_url(value: str) -> SplitResult:
    """An http(s) URL with a host and a sound port and nothing that could hide a secret."""
    try:
        parts = urlsplit(value)
        hostname, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError:
        raise ValueError("must be a URL such as https://example.com") from None
    if parts.scheme not in ("http", "https") or not hostname or not _PRINTABLE_ASCII.fullmatch(value):
        raise ValueError("must be an http or https URL such as https://example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user name or password")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("must not have a query or fragment")
    return parts


def check_base_url(value: str) -> str:
    """A public URL, without a slash at its end."""
    _parts_of_url(value)
    return value.rstrip("/")


def check_judge_url(value: str) -> str:
    """The endpoint of a judge: https, or http anywhere, as it is the operator's own."""
    _parts_of_url(value)
    return value


def read_command(value: object) -> object:
    """A program and its arguments, from one line as for a shell; the program must be there."""
    if not isinstance(value, str):
        return value
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"is no command: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise ValueError(f'there is no program "{words[0] if words else ""}"')
    return words


def check_provider_host(value: str) -> str:
    """`scheme://host[:port]` of a provider."""
    if _parts_of_url(value).path not in ("", "/"):
        raise ValueError("must be scheme://host[:port] without a path")
    return check_provider_url(value)


def check_provider_url(value: str) -> str:
    """A provider's URL: https, or http to a loopback address."""
    parts = _parts_of_url(value)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https; plain http is for loopback addresses only (the key travels with it)")
    return value.rstrip("/")


def _is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def check_archive_url(value: str) -> str:
    """A folder, or the URL of a place that keeps files."""
    scheme, separator, rest = value.partition("://")
    if not value.isprintable():
        raise ValueError("has control characters")
    if not separator:
        return value
    if scheme not in _ARCHIVE_SCHEMES:
        raise ValueError("must be none, a folder, or s3://bucket/…, gs://bucket/… or az://container/…")
    if "@" in rest or "?" in rest or "#" in rest:
        raise ValueError("must carry no credentials or query: set those in the service's own variables")
    if scheme == "file" and not rest.startswith("/"):
        raise ValueError("a folder's URL needs three slashes: file:///folder")
    if scheme != "file" and not rest.partition("/")[0]:
        raise ValueError("must name a bucket, as in s3://bucket/prefix")
    return value


def check_secret(value: SecretStr) -> SecretStr:
    """A secret that can travel in an HTTP header."""
    if not _PRINTABLE_ASCII.fullmatch(value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces: it travels in HTTP headers")
    return value


def check_secret_of(field_name: str, value: str) -> None:
    """What a variable that an instance's `key`, `headers` or `query` names may hold."""
    if field_name == "key":
        check_secret(SecretStr(value))
    elif not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII: it travels in HTTP requests")


def check_instances(
    config: ConfigFile, variables: Mapping[str, str], host_of: Callable[[str], str | None]
) -> None:
    """Raises `SettingsError` for an instance without a place, or whose secrets cannot travel."""
    for name, instance in config.providers.items():
        if instance.host is None and host_of(instance.like) is None:
            message = f"providers.{name}.host: missing: {instance.like} has no host of its own"
            raise config.refused(("providers", name), message)
        for variable, field_name in instance.variables.items():
            try:
                check_secret_of(field_name, variables.get(variable, "-"))
            except ValueError as error:
                message = f"providers.{name}.{field_name}: {variable} {error}"
                raise config.refused(("providers", name, field_name), message) from None


def check_dashboard_secret(value: SecretStr) -> SecretStr:
    """A secret that is not easily guessed."""
    if len(value.get_secret_value()) < DASHBOARD_SECRET_CHARACTERS_MIN:
        raise ValueError(
            f"must have at least {DASHBOARD_SECRET_CHARACTERS_MIN} characters: it opens everything"
        )
    return value


def read_models(value: object) -> object:
    """The overrides as an object: from inline JSON, or from the JSON file of that path."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text.startswith("{"):
        try:
            with Path(text).expanduser().open("rb") as file:
                data = file.read(MODELS_FILE_BYTES_MAX + 1)
        except (OSError, RuntimeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            raise ValueError(f"must be a JSON object or the path of a JSON file: {reason}") from None
        if len(data) > MODELS_FILE_BYTES_MAX:
            raise ValueError(f"the file has more than {MODELS_FILE_BYTES_MAX} bytes")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("the file is not UTF-8") from None
    return parse_json(text)


def read_networks(value: object) -> object:
    """Addresses and networks from text, separated by commas."""
    if not isinstance(value, str):
        return value
    found = []
    for part in value.split(","):
        try:
            found.append(ipaddress.ip_network(part.strip()))
        except ValueError:
            raise ValueError(
                f'"{part.strip()[:60]}" is no address or network such as 127.0.0.1 or 10.0.0.0/8'
            ) from None
    return tuple(found)


def read_origins(value: object) -> object:
    """Origins of web pages from text, separated by commas, in lower case; `*` stands for all."""
    if not isinstance(value, str):
        return value
    found = []
    for part in value.split(","):
        origin = part.strip().lower()
        if origin != "*" and _parts_of_url(origin).path:
            raise ValueError(f'"{origin[:60]}" is no origin: write scheme://host[:port] without a path')
        found.append(origin)
    return tuple(found)


def read_json(value: object) -> object:
    """What the text says, as JSON."""
    return parse_json(value) if isinstance(value, str) else value


Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Rate: TypeAlias = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Days: TypeAlias = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=10_000_000)]
Secret: TypeAlias = Annotated[SecretStr, AfterValidator(check_secret)]
BucketUri: TypeAlias = Annotated[str, Field(pattern=r"^gs://[a-z0-9][a-z0-9._\-]{1,220}(/\S{0,500})?$")]
ProviderHost: TypeAlias = Annotated[str, AfterValidator(check_provider_host)]
ProviderUrl: TypeAlias = Annotated[str, AfterValidator(check_provider_url)]


def masked_database_url(url: str) -> str:
    """A database URL for people: passwords, before the host or in the query, are masked."""
    scheme, separator, rest = url.partition("://")
    # up to the last "@", because a password may hold "@", "/" and ":" when its author forgot to quote it
    rest = re.sub(r"^([^:@]*):.*@", rf"\1:{MASK}@", rest, flags=re.DOTALL)
    rest = re.sub(r"(?i)([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&]*", rf"\1{MASK}", rest)
    return f"{scheme}{separator}{rest}"


def shown(variable: str, value: Any) -> str:
    """The value as text for people, without secrets."""
    match value:
        case None:
            return "(not set)"
        case SecretStr():
            return MASK
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(str(part) for part in value) or "(not set)"
        case CreditValue():
            return value.describe()
        case dict():
            return ", ".join(value) or "(not set)"
        case str() if variable in PROXY_VARIABLES and value != NONE:
            return masked_proxy(value, MASK)
        case _ if variable == "RUSHES_DATABASE_URL":
            return masked_database_url(value)
        case _:
            return str(value)


def first_problem(error: ValidationError, *, apart: frozenset[str]) -> SettingsError:
    """The first problem in one line; the fields `apart` have no name of their own.

    Pydantic's messages name what is expected, never the value given.
    """
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    message = " ".join(message.replace("Input should", "should").split())
    if not problem["loc"]:  # a check between two settings names them itself
        return SettingsError(message)
    parts = [str(part) for part in problem["loc"] if part not in apart]
    variable, place = parts[0], ": ".join(parts)
    return SettingsError(f"{place}: {message}", variable=variable)
