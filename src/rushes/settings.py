"""Every setting, its default and its check: one frozen object, made once at start.

Values come from the environment, then from a `.env` file, then from the defaults here. A blank value
counts as not set. The values of a `.env` file are taken as written, without `${…}` substitution.
Nothing but `wiring` and the command line reads this object.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from rushes.domain.archive import Retention
from rushes.domain.catalogue import Catalogue
from rushes.domain.errors import InputError, SettingsError
from rushes.domain.models import DEFAULT_CATALOGUE
from rushes.domain.options import nearest
from rushes.domain.prompts import parse_json
from rushes.providers.registry import PLUGIN_PREFIX, installed_providers, plugin_models, variables_of

DEFAULT_ENV_FILE = Path(".env")
GRSAI_HOST_MAINLAND = "https://grsai.dakka.com.cn"
POLL_INTERVAL_MIN_SECONDS = 1.0
POLL_INTERVAL_MAX_SECONDS = 30.0
MODELS_FILE_BYTES_MAX = 1024 * 1024
ENV_FILE_BYTES_MAX = 1024 * 1024
DASHBOARD_SECRET_CHARACTERS_MIN = 12
MASK = "********"

SettingSource: TypeAlias = Literal["environment", "env file", "default"]

_PREFIXES = ("RUSHES_", "GRSAI_")
_PLUGIN_FIELDS = {"plugin_keys": "_KEY", "plugin_hosts": "_HOST"}
_DATABASE_SCHEMES = frozenset({"sqlite", "postgresql", "postgres", "postgresql+psycopg"})
_ARCHIVE_SCHEMES = frozenset({"file", "s3", "gs", "az"})
ARCHIVE_OFF = "none"
_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")


class EffectiveSetting(NamedTuple):
    """One line of `rushes doctor`; `value` never holds a secret."""

    name: str
    value: str
    source: SettingSource


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """Where a provider is and the key for it; `missing` names the variable without which it cannot be used.

    `host` is "" for another package's provider that is to use its own default.
    """

    host: str = ""
    key: str = field(default="", repr=False)
    missing: str | None = None


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
        raise ValueError("must be a http or https URL such as https://example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user name or password")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("must not have a query or fragment")
    return parts


def _check_base_url(value: str) -> str:
    _parts_of_url(value)
    return value.rstrip("/")


def _check_provider_host(value: str) -> str:
    if _parts_of_url(value).path not in ("", "/"):
        raise ValueError("must be scheme://host[:port] without a path")
    return _check_provider_url(value)


def _check_provider_url(value: str) -> str:
    parts = _parts_of_url(value)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https; plain http is for loopback addresses only (the key travels with it)")
    return value.rstrip("/")


def _is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def _check_database_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise ValueError("must start with sqlite:///, postgresql:// or postgres://")
    if scheme == "sqlite" and rest and not rest.startswith("/"):
        raise ValueError("a SQLite file needs three slashes (sqlite:///file.db), or four for a full path")
    if any(not character.isprintable() for character in value):
        raise ValueError("has control characters")
    return value


def _check_archive_url(value: str) -> str:
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


def _check_data_dir(value: Path) -> Path:
    if "?" in str(value) or "\0" in str(value):
        raise ValueError('must not have "?" in its name: it becomes part of the database URL')
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("has a ~ that stands for no home folder") from None


def _check_secret(value: SecretStr) -> SecretStr:
    if not _PRINTABLE_ASCII.fullmatch(value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces: it travels in HTTP headers")
    return value


def _check_dashboard_secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < DASHBOARD_SECRET_CHARACTERS_MIN:
        raise ValueError(
            f"must have at least {DASHBOARD_SECRET_CHARACTERS_MIN} characters: it opens everything"
        )
    return value


def _read_models(value: object) -> object:
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


def _read_json(value: object) -> object:
    return parse_json(value) if isinstance(value, str) else value


Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Rate: TypeAlias = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Days: TypeAlias = Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=10_000_000)]
Secret: TypeAlias = Annotated[SecretStr, AfterValidator(_check_secret)]
ProviderHost: TypeAlias = Annotated[str, AfterValidator(_check_provider_host)]
ProviderUrl: TypeAlias = Annotated[str, AfterValidator(_check_provider_url)]


def _env(name: str, default: Any, *, shown: bool = True) -> Any:
    return Field(default, validation_alias=name, repr=shown)


class Settings(BaseSettings):
    """All settings. Make it with `Settings.load`; keyword arguments by field name are for tests.

    The environment and the `.env` file are arguments of `load`, so pydantic-settings' own sources, which
    read the process's environment by themselves, are turned off.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, validate_default=True, hide_input_in_errors=True
    )

    data_dir: Annotated[Path, AfterValidator(_check_data_dir)] = _env("RUSHES_DATA_DIR", Path("rushes-data"))
    """Folder of the SQLite file and whatever else is kept on disk; made when first needed."""
    database_url: Annotated[str, AfterValidator(_check_database_url)] = Field(
        default_factory=lambda valid: f"sqlite:///{valid.get('data_dir', 'rushes-data')}/rushes.db",
        validation_alias="RUSHES_DATABASE_URL",
        repr=False,
    )
    """`sqlite:///file`, `postgresql://…` or `postgres://…`, kept as given; never print its password."""
    sqlite_busy_timeout_seconds: Seconds = _env("RUSHES_SQLITE_BUSY_TIMEOUT_SECONDS", 10.0)
    """How long a SQLite transaction waits for another process's lock."""

    archive_url: Annotated[str, AfterValidator(_check_archive_url)] = Field(
        default_factory=lambda valid: f"{valid.get('data_dir', 'rushes-data')}/archive",
        validation_alias="RUSHES_ARCHIVE_URL",
    )
    """Where finished videos are kept: a folder, `s3://bucket/prefix`, `gs://…`, `az://…`, or `none`."""
    archive_file_bytes_max: Annotated[int, Field(ge=1, le=5_000_000_000)] = _env(
        "RUSHES_ARCHIVE_FILE_BYTES_MAX", 512 * 1024 * 1024
    )
    """A larger file is refused."""
    archive_downloads_max: Annotated[int, Field(ge=1, le=256)] = _env("RUSHES_ARCHIVE_DOWNLOADS_MAX", 8)
    """Files that one process fetches at the same time."""

    archive_keep_days: Days | None = _env("RUSHES_ARCHIVE_KEEP_DAYS", None)
    """Days after which a stored video is removed; not set, it is kept for ever."""
    archive_keep_days_by_account: Annotated[dict[str, Days | None], BeforeValidator(_read_json)] = Field(
        default_factory=dict, validation_alias="RUSHES_ARCHIVE_KEEP_DAYS_BY_ACCOUNT"
    )
    """The same for single accounts, as JSON: `{"acme": 90, "archive": null}`; null is for ever."""

    base_url: Annotated[str, AfterValidator(_check_base_url)] | None = _env("RUSHES_BASE_URL", None)
    """The public URL of this service, without a slash at its end; it turns callbacks on."""
    worker_secret: Secret | None = _env("RUSHES_WORKER_SECRET", None)
    """What `POST /internal/batch-worker` must carry; without it that route is off."""
    webhook_secret: Secret | None = _env("RUSHES_WEBHOOK_SECRET", None)
    """The secret behind callback tokens and webhook signatures."""
    metrics_token: Secret | None = _env("RUSHES_METRICS_TOKEN", None)
    """What `GET /metrics` must carry as a bearer token; without it that page is open."""
    dashboard_secret: Annotated[Secret, AfterValidator(_check_dashboard_secret)] | None = _env(
        "RUSHES_DASHBOARD_SECRET", None
    )
    """What operators sign in to the dashboard with; without it there is none."""
    allow_private_urls: bool = _env("RUSHES_ALLOW_PRIVATE_URLS", False)
    """Whether result files and webhooks may live on private addresses, for tests and intranets."""

    poll_interval_max_seconds: Seconds = _env("RUSHES_POLL_INTERVAL_MAX_SECONDS", POLL_INTERVAL_MAX_SECONDS)
    """The longest time between two polls of a task that is not overdue.

    Left to its default, the wait for a task's first poll may be longer: nobody looks at a render after half a
    minute that takes seven. Set, it bounds that wait too.
    """
    poll_interval_min_seconds: Seconds = Field(
        default_factory=lambda valid: min(
            POLL_INTERVAL_MIN_SECONDS, valid.get("poll_interval_max_seconds", POLL_INTERVAL_MIN_SECONDS)
        ),
        validation_alias="RUSHES_POLL_INTERVAL_MIN_SECONDS",
    )
    """The shortest time between two polls of a task; by default 1, or the ceiling if that is less."""
    lease_seconds: Seconds = _env("RUSHES_LEASE_SECONDS", 30.0)
    """How long a silent worker keeps its tasks."""
    unconfirmed_grace_seconds: Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)] = _env(
        "RUSHES_UNCONFIRMED_GRACE_SECONDS", 900.0
    )
    """How long a submit of unknown outcome may wait for its callback before the policy decides."""
    unconfirmed_policy: Literal["refund", "resubmit"] = _env("RUSHES_UNCONFIRMED_POLICY", "refund")
    """What then happens: give the credits back, or submit once more as a new attempt."""
    wait_seconds_max: Annotated[float, Field(gt=0, le=365 * 86_400, allow_inf_nan=False)] = _env(
        "RUSHES_WAIT_SECONDS_MAX", 7 * 86_400.0
    )
    """How long a task may wait to be sent, held or in a queue, before it fails and is refunded."""
    failover_queue_max: Count | None = _env("RUSHES_FAILOVER_QUEUE_MAX", None)
    """How many tasks may wait for a provider before those under an alias go to its next model."""

    grsai_api_key: Secret | None = _env("GRSAI_API_KEY", None)
    """The provider key of Grsai."""
    grsai_host: ProviderHost = _env("GRSAI_HOST", GRSAI_HOST_MAINLAND)
    """`scheme://host[:port]` of Grsai; plain http to loopback only, as for every provider."""
    gemini_api_key: Secret | None = _env("GEMINI_API_KEY", None)
    """The key of Google's Gemini API."""
    gemini_host: ProviderHost = _env("GEMINI_HOST", "https://generativelanguage.googleapis.com")
    """`scheme://host[:port]` of the Gemini API."""
    fal_key: Secret | None = _env("FAL_KEY", None)
    """The key of fal."""
    fal_host: ProviderHost = _env("FAL_HOST", "https://queue.fal.run")
    """`scheme://host[:port]` of fal's queue."""
    runwayml_api_secret: Secret | None = _env("RUNWAYML_API_SECRET", None)
    """The key of Runway's API."""
    runwayml_host: ProviderHost = _env("RUNWAYML_HOST", "https://api.dev.runwayml.com")
    """`scheme://host[:port]` of Runway's API."""
    openai_video_api_key: Secret | None = _env("OPENAI_VIDEO_API_KEY", None)
    """The key of a server with OpenAI's `/v1/videos`, such as another rushes."""
    openai_video_base_url: ProviderUrl | None = _env("OPENAI_VIDEO_BASE_URL", None)
    """Where that server is, up to `/v1`: `https://videos.example.com/v1`. OpenAI's own has closed."""
    request_timeout_seconds: Seconds = _env("RUSHES_REQUEST_TIMEOUT_SECONDS", 30.0)
    """The time-out of one request to a provider."""
    submits_per_second: Rate | None = _env("RUSHES_SUBMITS_PER_SECOND", None)
    """Submits a second at each provider, instead of the provider's own limit."""
    polls_per_second: Rate | None = _env("RUSHES_POLLS_PER_SECOND", None)
    """Polls a second at each provider, instead of the provider's own limit."""
    in_flight_tasks_max: Count | None = _env("RUSHES_IN_FLIGHT_TASKS_MAX", None)
    """Tasks at each provider at the same time, instead of the provider's own limit."""
    connections_max: Annotated[int, Field(ge=1, le=10_000)] | None = _env("RUSHES_CONNECTIONS_MAX", None)
    """Connections to each provider, instead of the provider's own limit."""

    plugin_keys: dict[str, Secret] = Field(default_factory=dict, repr=False)
    """Keys of other packages' providers, by variable: `RUSHES_PROVIDER_<NAME>_KEY`."""
    plugin_hosts: dict[str, ProviderUrl] = Field(default_factory=dict)
    """Hosts of other packages' providers, by variable: `RUSHES_PROVIDER_<NAME>_HOST`."""

    models: Annotated[dict[str, dict[str, Any]], BeforeValidator(_read_models)] = Field(
        default_factory=dict, validation_alias="RUSHES_MODELS"
    )
    """Changes to the model catalogue, see `Catalogue.with_overrides`: JSON, or the path of a JSON file."""

    _sources: dict[str, SettingSource] = PrivateAttr(default_factory=dict)
    _unknown: tuple[UnknownVariable, ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only; see the class."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_poll_intervals(self) -> "Settings":
        if self.poll_interval_min_seconds > self.poll_interval_max_seconds:
            raise ValueError(
                f"RUSHES_POLL_INTERVAL_MIN_SECONDS: {self.poll_interval_min_seconds:g} is more than"
                f" RUSHES_POLL_INTERVAL_MAX_SECONDS ({self.poll_interval_max_seconds:g})"
            )
        return self

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, env_file: Path | None = DEFAULT_ENV_FILE
    ) -> "Settings":
        """The settings of this process.

        `environ` is the process's environment by default; `env_file` is read if there is such a file.
        Raises `SettingsError` naming the first variable that cannot work, never with a secret's value.
        """
        from_process = os.environ if environ is None else environ
        from_file = {} if env_file is None else _read_env_file(env_file)
        known = tuple(field_name_of_variable())
        values: dict[str, str] = {}
        sources: dict[str, SettingSource] = {}
        layers: tuple[tuple[SettingSource, Mapping[str, str]], ...] = (
            ("env file", from_file),
            ("environment", from_process),
        )
        for source, layer in layers:
            for name, value in layer.items():
                if (name.startswith(_PREFIXES) or name in known) and value.strip():
                    values[name], sources[name] = value.strip(), source
        given: dict[str, Any] = {name: value for name, value in values.items() if name in known}
        for field_name, suffix in _PLUGIN_FIELDS.items():
            given[field_name] = {
                name: value
                for name, value in values.items()
                if name.startswith(PLUGIN_PREFIX) and name.endswith(suffix)
            }
        known += (*given["plugin_keys"], *given["plugin_hosts"])
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            raise _settings_error(error) from None
        settings._sources.update({name: source for name, source in sources.items() if name in known})
        settings._unknown = tuple(
            UnknownVariable(name, nearest(name, known)) for name in sorted(values) if name not in known
        )
        settings.catalogue()
        return settings

    def is_set(self, variable: str) -> bool:
        """Whether the operator has set this environment variable, rather than left it to its default."""
        return variable in self._sources

    @property
    def unknown_variables(self) -> tuple[UnknownVariable, ...]:
        """Variables `RUSHES_…` and `GRSAI_…` that no setting has: probably misspelt."""
        return self._unknown

    @property
    def archive_retention(self) -> Retention:
        """How long stored videos are kept."""
        return Retention(self.archive_keep_days, self.archive_keep_days_by_account)

    @property
    def archive_place(self) -> str | None:
        """Where finished videos are kept; None when they are not."""
        return None if self.archive_url.lower() == ARCHIVE_OFF else self.archive_url

    def provider_accounts(self) -> dict[str, ProviderAccount]:
        """Host and key of every installed provider, or what is missing."""
        return {name: self.provider_account(name) for name in installed_providers()}

    def provider_account(self, provider: str) -> ProviderAccount:
        """Host and key of a provider, or what is missing."""
        variables = variables_of(provider)
        fields = field_name_of_variable()
        if variables.key in fields:
            key, host = getattr(self, fields[variables.key]), getattr(self, fields[variables.host])
        else:
            key, host = self.plugin_keys.get(variables.key), self.plugin_hosts.get(variables.host, "")
        if key is None or host is None:
            return ProviderAccount(missing=variables.key if key is None else variables.host)
        return ProviderAccount(host, key.get_secret_value())

    def catalogue(self, base: Catalogue = DEFAULT_CATALOGUE) -> Catalogue:
        """The models, those of other packages and the operator's overrides included.

        Where some providers have a key, the models of those without take no new tasks; with no key at all
        this process is one that only accepts. Raises `SettingsError` for an override that cannot work.
        """
        base = Catalogue([*base, *plugin_models(base).models], base.definitions)
        accounts = self.provider_accounts()
        missing = {
            name: f"{account.missing} is not set" for name, account in accounts.items() if account.missing
        }
        if len(missing) < len(accounts):
            base = base.with_unavailable(missing)
        try:
            return base.with_overrides(self.models)
        except InputError as error:
            raise SettingsError(f"RUSHES_MODELS: {error.message}", variable="RUSHES_MODELS") from None

    def effective(self) -> list[EffectiveSetting]:
        """Every setting in its order here, as text, secrets masked, with where it came from."""
        values = {name: getattr(self, field_name) for name, field_name in field_name_of_variable().items()}
        return [
            EffectiveSetting(name, _shown(name, value), self._sources.get(name, "default"))
            for name, value in {**values, **self.plugin_keys, **self.plugin_hosts}.items()
        ]


def _shown(variable: str, value: Any) -> str:
    match value:
        case None:
            return "(not set)"
        case SecretStr():
            return MASK
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(value) or "(not set)"
        case _ if variable == "RUSHES_DATABASE_URL":
            return masked_database_url(value)
        case _:
            return str(value)


def field_name_of_variable() -> dict[str, str]:
    """The field of each environment variable, in the fields' order."""
    return {
        str(info.validation_alias): name
        for name, info in Settings.model_fields.items()
        if name not in _PLUGIN_FIELDS
    }


def masked_database_url(url: str) -> str:
    """A database URL for people: passwords, before the host or in the query, are masked."""
    scheme, separator, rest = url.partition("://")
    # up to the last "@", because a password may hold "@", "/" and ":" when its author forgot to quote it
    rest = re.sub(r"^([^:@]*):.*@", rf"\1:{MASK}@", rest, flags=re.DOTALL)
    rest = re.sub(r"(?i)([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&]*", rf"\1{MASK}", rest)
    return f"{scheme}{separator}{rest}"


def _read_env_file(path: Path) -> dict[str, str]:
    """The file's variables; {} when it is not a file (`.env` is also a common name for a folder)."""
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            data = file.read(ENV_FILE_BYTES_MAX + 1)
        if len(data) > ENV_FILE_BYTES_MAX:
            raise SettingsError(f"{path}: more than {ENV_FILE_BYTES_MAX} bytes")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not UTF-8") from None
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _settings_error(error: ValidationError) -> SettingsError:
    """The first problem in one line. Pydantic's messages name what is expected, never the value given."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    message = " ".join(message.replace("Input should", "should").split())
    if not problem["loc"]:  # a check between two settings names them itself
        return SettingsError(message)
    parts = [str(part) for part in problem["loc"] if part not in _PLUGIN_FIELDS]
    variable, place = parts[0], ": ".join(parts)
    return SettingsError(f"{place}: {message}", variable=variable)
