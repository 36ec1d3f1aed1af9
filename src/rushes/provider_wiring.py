"""Builds the providers from the settings: each over its own connections, instances too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rushes import telemetry
from rushes.config_file import ProviderInstance
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.instances import family_of
from rushes.domain.errors import NotFound, SettingsError
from rushes.domain.task import PollResult
from rushes.providers.base import Provider, ProviderConfig, ProviderLimits, ResultFiles
from rushes.providers.contained import build_contained
from rushes.providers.http.additions import AddingTransport
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Transport
from rushes.providers.http.way_out import WayOut
from rushes.providers.registry import installed_providers, is_built_in
from rushes.providers.samples import RecordingTransport, Samples
from rushes.setting_values import ProviderAccount, ProviderUrl
from rushes.settings import Settings

log = telemetry.logger()


class Providers(dict[str, Provider]):
    """Providers by name. Whoever builds them closes them, on the event loop that used them."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[HttpTransport] = []

    async def close(self) -> None:
        """Release their connections; requests under way fail."""
        for transport in self.transports:
            await transport.close()


def build_providers(settings: Settings) -> Providers:
    """Every installed provider that has a key and can be built, by name, each over its own connections."""
    providers, troubles = try_providers(settings)
    for name, trouble in troubles.items():
        log.error(telemetry.PROVIDER_LEFT_OUT, provider=name, error=trouble)
    return providers


def try_providers(settings: Settings) -> tuple[Providers, dict[str, str]]:
    """`build_providers`, and why some of other packages were left out, by name."""
    providers = Providers()
    troubles: dict[str, str] = {}
    for name, account in settings.provider_accounts().items():
        if account.missing is not None:
            continue
        try:
            providers[name] = _provider(settings, providers.transports, name, account.host)
        except SettingsError as error:
            troubles[name] = error.message
    return providers, troubles


def _limits(settings: Settings, instance: ProviderInstance | None) -> ProviderLimits:
    """The operator's limits: those of the instance before those for all providers."""
    defaults = ProviderLimits()
    limits = ProviderLimits(
        submits_per_second=settings.submits_per_second or defaults.submits_per_second,
        polls_per_second=settings.polls_per_second or defaults.polls_per_second,
        poll_interval_min_seconds=(
            settings.poll_interval_min_seconds
            if settings.is_set("RUSHES_POLL_INTERVAL_MIN_SECONDS")
            else None
        ),
        in_flight_tasks_max=settings.in_flight_tasks_max or defaults.in_flight_tasks_max,
        connections_max=settings.connections_max or defaults.connections_max,
    )
    own: Mapping[str, Any] = {} if instance is None else instance.limits
    return replace(limits, **own)


def _provider(
    settings: Settings,
    transports: list[HttpTransport],
    name: str,
    host: str,
    through: Callable[[Transport], Transport] = lambda transport: transport,
) -> Provider:
    """The provider or instance at that host, its transport added to those to be closed.

    Its requests go `through` what is given. Raises `SettingsError` for one that cannot be built.
    """
    account, instance = settings.provider_account(name), settings.provider_instances.get(name)
    like = name if instance is None else instance.like
    limits = _limits(settings, instance)
    transport = HttpTransport(
        connections_max=limits.connections_max, way_out=WayOut(proxies=settings.proxies)
    )
    transports.append(transport)
    config = ProviderConfig(
        host=host,
        api_key=account.key,
        transport=through(
            AddingTransport(transport, headers=account.headers, query=account.query)
            if account.headers or account.query
            else transport
        ),
        timeout_seconds=settings.request_timeout_seconds,
        limits=limits,
        polls_over_lines=settings.polls_over_lines,
        instance=None if instance is None and family_of(name) == name else name,
        secrets=account.secrets,
        extra=settings.provider_extra(like),
    )
    entry_point = installed_providers()[like]
    if not is_built_in(entry_point):
        return build_contained(like, entry_point.load, config)
    provider: Provider = entry_point.load()(config)
    return provider


def usable_account(settings: Settings, name: str) -> ProviderAccount:
    """How the provider or instance of this name is reached.

    Raises `NotFound` for one that is not installed and `SettingsError` for one without a key.
    """
    names = (*installed_providers(), *settings.provider_instances)
    if name not in names:
        raise NotFound(f'there is no provider "{name}"; there are: {", ".join(names)}')
    account = settings.provider_account(name)
    if account.missing is not None:
        raise SettingsError(f"{name} needs a key: set {account.missing}", variable=account.missing)
    return account


async def record_polls(
    settings: Settings, name: str, remote_task_ids: Sequence[str], day: str
) -> tuple[Samples, list[PollResult]]:
    """Poll each remote task once, and keep the shapes of what was asked and answered; nothing is bought.

    Raises `NotFound` for a provider that is not installed and `SettingsError` for one that cannot be used.
    """
    account = usable_account(settings, name)
    instance = settings.provider_instances.get(name)
    recorders: list[RecordingTransport] = []

    def through(transport: Transport) -> Transport:
        recorders.append(RecordingTransport(transport, remote_task_ids))
        return recorders[-1]

    transports: list[HttpTransport] = []
    try:
        provider = _provider(settings, transports, name, account.host, through)
        results = [await provider.poll_remote_task(each) for each in remote_task_ids]
    finally:
        for transport in transports:
            await transport.close()
    like = name if instance is None else instance.like
    return Samples(like, day, recorders[0].samples), results


def provider_at(
    settings: Settings, name: str, host: str, *, transports: list[HttpTransport] | None = None
) -> Provider | None:
    """A provider at another host than the one that is set, with the same key: for what was sent there.

    None for a host that no setting may have, and for a provider that cannot be built.
    """
    try:
        checked: str = TypeAdapter(ProviderUrl).validate_python(host)
        return _provider(settings, [] if transports is None else transports, name, checked)
    except (ValidationError, SettingsError):
        return None


class OtherHosts:
    """Providers at hosts that the settings named before, for the tasks that are there: each is built once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transports: list[HttpTransport] = []
        self._known: dict[tuple[str, str], Provider | None] = {}

    def provider_at(self, name: str, host: str) -> Provider | None:
        """As the function of this name; the connections stay open until `close`."""
        if (name, host) not in self._known:
            self._known[name, host] = provider_at(self._settings, name, host, transports=self._transports)
        return self._known[name, host]

    async def close(self) -> None:
        """Release the connections; whoever is asked for later is built anew."""
        transports, self._transports = self._transports, []
        self._known.clear()
        for transport in transports:
            await transport.close()


def catalogue_of(settings: Settings, providers: Mapping[str, Provider]) -> Catalogue:
    """The models as they are once the providers were built: those of one that could not be take no tasks."""
    with_key = [name for name, account in settings.provider_accounts().items() if account.missing is None]
    left_out = {
        name: f"{name} could not be started, see the log" for name in with_key if name not in providers
    }
    return settings.catalogue().with_unavailable(left_out)


def require_providers(settings: Settings) -> Providers:
    """`build_providers`; raises `SettingsError` when there is none."""
    providers = build_providers(settings)
    if not providers:
        raise SettingsError(
            "GRSAI_API_KEY is not set, nor any other provider's key: no provider can be used"
            " (`rushes doctor` lists them; `rushes serve --no-worker` serves without)"
        )
    return providers


def result_files_of(settings: Settings, providers: Mapping[str, Provider]) -> dict[str, ResultFiles]:
    """How the files of each provider's successes are fetched, with what the operator adds to its requests."""
    accounts = {name: settings.provider_account(name) for name in providers}
    return {
        name: provider.result_files.with_additions(accounts[name].headers, accounts[name].query)
        for name, provider in providers.items()
    }
