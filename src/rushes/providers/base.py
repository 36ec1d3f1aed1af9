"""The seam between the engine and a video service: what a provider takes, promises and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from rushes.domain.task import PollResult, SubmitOutcome
from rushes.providers.transport import Transport

RESULT_LINK_SECONDS: Final = 7200.0
"""How long a result's link lives where the service says nothing else; Grsai says two hours."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """One attempt of one task, in rushes' own words.

    `api_model` is the provider's name of the model; `options` holds only options that the catalogue
    allows for it (`aspect_ratio`, `duration`, `reference_url`, …); `callback_url` is None when the
    operator has no public base URL.
    """

    api_model: str
    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What one account at a provider allows; None means no limit is known.

    `poll_interval_min_seconds` is between two polls of one task.
    """

    submits_per_second: float | None = None
    polls_per_second: float | None = None
    poll_interval_min_seconds: float | None = None
    in_flight_tasks_max: int | None = None
    connections_max: int = 64


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """How the files of a provider's successes are fetched.

    `link_seconds` is how long a link lives, from the success on. `headers` (an API key, say) go to
    `trusted_origin` and nowhere else. That is `scheme://host:port` of the host that the operator has
    configured, see `origin_of`; it alone may be a private address, so that a simulator can be used.
    """

    link_seconds: float = RESULT_LINK_SECONDS
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted_origin: str | None = None


def origin_of(url: str) -> str:
    """`scheme://host:port` of a URL, in lower case and with the port written out."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """All that a provider's `build` function gets: no provider reads settings or the environment.

    `limits` are the operator's; a provider that knows stricter ones of its service takes those.
    """

    host: str
    api_key: str = field(repr=False)
    transport: Transport
    timeout_seconds: float = 30.0
    limits: ProviderLimits = ProviderLimits()


class Provider(Protocol):
    """One video service. Neither method raises for anything the network or the service does."""

    @property
    def name(self) -> str:
        """The provider's name in the catalogue and in `video_tasks.provider`."""
        ...

    @property
    def limits(self) -> ProviderLimits:
        """The service's limits, held across all workers."""
        ...

    @property
    def result_files(self) -> ResultFiles:
        """How the files of its successes are fetched."""
        ...

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once. Whatever is not certain is `Unknown`."""
        ...

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once how a remote task stands. See `rushes.domain.task.PollResult`."""
        ...

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The remote task id that a callback's body names, or None. Nothing else of it is used."""
        ...
