"""The settings of a process: one frozen object, made once at start. Every field is in `setting_fields`.

Values come from the environment, then from a `.env` file, then from the defaults here. A blank value
counts as not set. The values of a `.env` file are taken as written, without `${…}` substitution.
Read where parts are built (`wiring`, `provider_wiring`, `service`), by the library and the command line.
"""

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

from pydantic import (
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from rushes.config_file import FILE_NAME, ConfigFile, ProviderInstance, operators_catalogue, read_config
from rushes.domain.acceptance.gate import Thresholds
from rushes.domain.archive import Retention
from rushes.domain.catalogue.catalogue import Catalogue, default_model
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.instances import at_homes_with_keys
from rushes.domain.catalogue.options import nearest
from rushes.domain.errors import InputError, SettingsError
from rushes.domain.margin import Valuation
from rushes.domain.secrets import weakness
from rushes.providers.http.proxies import Proxies, read_proxies
from rushes.providers.registry import PLUGIN_PREFIX, installed_providers, plugin_models, variables_of
from rushes.setting_fields import SettingFields
from rushes.setting_values import (
    PROXY_VARIABLES,
    EffectiveSetting,
    ProviderAccount,
    SettingSource,
    UnknownVariable,
    account_of_instance,
    check_instances,
    check_provider_url,
    first_problem,
    shown,
)
from rushes.store.connections.place import DEFAULT_ENV_FILE, read_env_file

_PREFIXES = ("RUSHES_", "GRSAI_")
_PLUGIN_FIELDS = {"plugin_keys": "_KEY", "plugin_hosts": "_HOST"}
ARCHIVE_OFF = "none"

VERTEX: Final = "vertex"
"""The provider that needs a bucket beside its key."""


class Settings(SettingFields):
    """All settings. Make it with `Settings.load`; keyword arguments by field name are for tests."""

    _config: ConfigFile = PrivateAttr(default_factory=ConfigFile)
    _sources: dict[str, SettingSource] = PrivateAttr(default_factory=dict)
    _unknown: tuple[UnknownVariable, ...] = PrivateAttr(default=())
    _named: dict[str, str] = PrivateAttr(default_factory=dict)
    """Values of the variables that the configuration file names."""

    @model_validator(mode="after")
    def _check_proxies(self) -> Self:
        _ = self.proxies
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
        from_file = {} if env_file is None else read_env_file(env_file)
        known = tuple(field_name_of_variable())
        values: dict[str, str] = {}
        sources: dict[str, SettingSource] = {}
        layers: tuple[tuple[SettingSource, Mapping[str, str]], ...] = (
            ("env file", from_file),
            ("environment", from_process),
        )
        for source, layer in layers:
            for name, value in _with_upper_case_proxies(layer).items():
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
        config = _read_config(values)
        named: dict[str, str] = {}
        for name in {name for instance in config.providers.values() for name in instance.variables}:
            for source, layer in layers:
                if layer.get(name, "").strip():
                    named[name], sources[name] = layer[name].strip(), source
            known += (name,)
        if config.path is not None:
            given["RUSHES_CONFIG"] = str(config.path)  # also where it was found beside the data folder
        for name, written in (
            ("RUSHES_DEFAULT_MODEL", config.default_model),
            ("RUSHES_CREDIT_VALUE", config.credit_value),
        ):
            if written is not None and name not in given:
                given[name], sources[name] = written, "rushes.toml"
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            raise first_problem(error, apart=frozenset(_PLUGIN_FIELDS)) from None
        settings._config, settings._named = config, named
        settings._sources.update({name: source for name, source in sources.items() if name in known})
        settings._unknown = tuple(
            UnknownVariable(name, nearest(name, known)) for name in sorted(values) if name not in known
        )
        check_instances(config, named, settings._host_of)
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
    def config_file(self) -> Path | None:
        """The configuration file that was read, if there is one."""
        return self._config.path

    @property
    def currency_rates(self) -> Mapping[str, Fraction]:
        """What one of another currency is worth in that of the credit value."""
        return self._config.rates

    @property
    def valuation(self) -> Valuation:
        """How credits and costs are compared."""
        return Valuation(self.credit_value, self.currency_rates)

    @property
    def proxies(self) -> Proxies:
        """Which proxy leads where; raises `ValueError` for one that cannot be used."""
        fields = field_name_of_variable()
        values = {name: getattr(self, fields[name]) for name in PROXY_VARIABLES}
        return read_proxies({name: value for name, value in values.items() if value})

    @property
    def provider_instances(self) -> Mapping[str, ProviderInstance]:
        """More accounts and hosts of installed providers, by their names."""
        return self._config.providers

    @property
    def gate_thresholds(self) -> Thresholds:
        """What an acceptable clip is in batches with a gate that do not say otherwise."""
        return self._config.gate

    @property
    def archive_retention(self) -> Retention:
        """How long stored videos are kept."""
        return Retention(self.archive_keep_days, self.archive_keep_days_by_account)

    @property
    def archive_place(self) -> str | None:
        """Where finished videos are kept; None when they are not."""
        return None if self.archive_url.lower() == ARCHIVE_OFF else self.archive_url

    @property
    def upload_place(self) -> str:
        """Where files that go into videos are kept: in the archive or, without one, in the data folder."""
        return self.archive_place or str(self.data_dir / "uploads")

    def weak_secrets(self) -> dict[str, str]:
        """The operator's secrets that are too weak, and why, by variable."""
        secrets = {
            "RUSHES_WEBHOOK_SECRET": self.webhook_secret,
            "RUSHES_WORKER_SECRET": self.worker_secret,
            "RUSHES_METRICS_TOKEN": self.metrics_token,
            "RUSHES_DASHBOARD_SECRET": self.dashboard_secret,
        }
        return {
            variable: problem
            for variable, secret in secrets.items()
            if secret is not None and (problem := weakness(secret.get_secret_value()))
        }

    def provider_accounts(self) -> dict[str, ProviderAccount]:
        """Host and key of every installed provider and its instances, or what is missing."""
        return {
            name: self.provider_account(name) for name in (*installed_providers(), *self.provider_instances)
        }

    def provider_account(self, provider: str) -> ProviderAccount:
        """Host and key of a provider or an instance, or what is missing."""
        instance = self.provider_instances.get(provider)
        if instance is not None:
            return account_of_instance(instance, self._named, host=self._host_of(instance.like) or "")
        variables = variables_of(provider)
        fields = field_name_of_variable()
        if variables.key in fields:
            key = getattr(self, fields[variables.key])
        else:
            key = self.plugin_keys.get(variables.key)
        host = self._host_of(provider)
        if key is None or host is None:
            return ProviderAccount(missing=variables.key if key is None else variables.host)
        return ProviderAccount(host, key.get_secret_value())

    def provider_extra(self, like: str) -> dict[str, str]:
        """Settings of one family alone."""
        match like:
            case "vertex":
                return {"storage_uri": self.vertex_storage_uri or ""}
            case "kling":
                return _webhook_secret(self.kling_webhook_secret)
            case "replicate":
                return _webhook_secret(self.replicate_webhook_secret)
            case _:
                return {}

    def _host_of(self, provider: str) -> str | None:
        """Where a provider is; None for one that must be configured, "" for another package's own default."""
        variable = variables_of(provider).host
        field_name = field_name_of_variable().get(variable)
        if field_name is None:
            return self.plugin_hosts.get(variable, "")
        host: str | None = getattr(self, field_name)
        return host

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
        base = Catalogue(at_homes_with_keys(base, missing), base.definitions)
        found = operators_catalogue(base, self._config, self.models)
        if len(missing) < len(accounts):
            found = found.with_unavailable(missing)
        try:
            return found.with_default_model(self.default_model or default_model(found, missing))
        except InputError as error:
            if self._sources.get("RUSHES_DEFAULT_MODEL") == "rushes.toml":
                raise self._config.refused(("default_model",), f"default_model: {error.message}") from None
            raise SettingsError(
                f"RUSHES_DEFAULT_MODEL: {error.message}", variable="RUSHES_DEFAULT_MODEL"
            ) from None

    def effective(self) -> list[EffectiveSetting]:
        """Every setting in its order here, as text, secrets masked, with where it came from."""
        values = {name: getattr(self, field_name) for name, field_name in field_name_of_variable().items()}
        return [
            EffectiveSetting(name, shown(name, value), self._sources.get(name, "default"))
            for name, value in {**values, **self.plugin_keys, **self.plugin_hosts, **self._secrets()}.items()
        ]

    def _secrets(self) -> dict[str, SecretStr | None]:
        """The variables that only the configuration file names."""
        names = {name for instance in self.provider_instances.values() for name in instance.variables}
        return {
            name: SecretStr(self._named[name]) if name in self._named else None
            for name in sorted(names - field_name_of_variable().keys())
        }


def field_name_of_variable() -> dict[str, str]:
    """The field of each environment variable, in the fields' order."""
    return {
        str(info.validation_alias): name
        for name, info in Settings.model_fields.items()
        if name not in _PLUGIN_FIELDS
    }


def _with_upper_case_proxies(layer: Mapping[str, str]) -> Mapping[str, str]:
    """`https_proxy` and its like under their names in upper case; where both are set the lower one counts."""
    lower = {name: layer[name.lower()] for name in PROXY_VARIABLES[1:] if layer.get(name.lower(), "").strip()}
    return {**layer, **lower}


def _read_config(values: Mapping[str, str]) -> ConfigFile:
    """The configuration file; an empty one when none is named and there is none beside the data folder."""
    named = values.get("RUSHES_CONFIG")
    if named is None:
        folder = Path(values.get("RUSHES_DATA_DIR", "rushes-data")).expanduser().parent
        if not (folder / FILE_NAME).is_file():
            return ConfigFile()
    path = folder / FILE_NAME if named is None else Path(named).expanduser()
    return read_config(path, installed_providers(), check_provider_url)


def _webhook_secret(secret: SecretStr | None) -> dict[str, str]:
    return {} if secret is None else {"webhook_secret": secret.get_secret_value()}
