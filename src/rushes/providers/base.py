"""The seam between the engine and a video service: what a provider takes, promises and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rushes.domain.task import PollResult, SubmitOutcome
from rushes.providers.transport import Transport


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
    """What one account at a provider allows; None means no limit is known."""

    submits_per_second: float | None = None
    polls_per_second: float | None = None
    in_flight_tasks_max: int | None = None
    connections_max: int = 64


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

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once. Whatever is not certain is `Unknown`."""
        ...

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once how a remote task stands. See `rushes.domain.task.PollResult`."""
        ...

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The remote task id that a callback's body names, or None. Nothing else of it is used."""
        ...
