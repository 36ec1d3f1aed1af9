"""The seam between the engine and a video service: what a provider takes, promises and answers."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

from rushes.domain.catalogue.wire import AS_NAMED, Wire, wire_fields
from rushes.domain.task import CancelResult, FindResult, PollResult, SubmitOutcome
from rushes.providers.http.additions import with_headers
from rushes.providers.http.transport import Transport
from rushes.providers.inputs import Inputs

RESULT_LINK_SECONDS: Final = 7200.0
"""How long a result's link lives where the service says nothing else; Grsai says two hours."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """One attempt of one task, in rushes' own words.

    `api_model` is the provider's name of the model; `options` holds only options that the catalogue
    allows for it (`aspect_ratio`, `duration`, …); `callback_url` is None when the
    operator has no public base URL; `wires` say how the options stand in the service's request, where the
    catalogue knows. `inputs` are the files that go in, by their names (`first_frame`, `references`, …), in
    the forms in which the catalogue says that the provider takes them.
    `submit_key` is rushes' own name for the attempt, unique for good: send it where there is a field.
    """

    api_model: str
    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    wires: Mapping[str, Wire] = field(default_factory=dict)
    inputs: Inputs = field(default_factory=dict)
    submit_key: str = ""

    def described_fields(self, known: Collection[str]) -> dict[str, Any]:
        """Fields of a JSON body as the catalogue describes them, of options that have a form of their own.

        Those are the options with a wire form, and those that the provider does not know by itself but the
        model declares: they stand under their own names. `ValueError` as `wire_fields`.
        """
        own = {name: wire for name, wire in self.wires.items() if wire != AS_NAMED or name not in known}
        return wire_fields(own, self.options)

    def plain_options(self, known: Collection[str]) -> dict[str, Any]:
        """The other options: those that the provider has to translate, or to refuse."""
        return {
            name: value
            for name, value in self.options.items()
            if name not in self.wires or (self.wires[name] == AS_NAMED and name in known)
        }


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


INLINE_ANSWER_BYTES_MAX: Final = 96 * 1024 * 1024
"""The largest answer with a file in it that is read: some seventy megabytes of video as Base64."""


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A file within the answer to a question to the service.

    `url` is asked (with this `body` by POST), and `read` gives the file's bytes in a 200's body; it may raise
    `ValueError`, as decoders of JSON and Base64 do.
    """

    url: str
    read: Callable[[bytes], bytes]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """How the files of a provider's successes are fetched.

    `link_seconds` is how long a link lives, from the success on. `headers` (an API key, say), and `query`
    after what a file's URL has, go to `trusted_origin` and nowhere else. That is `scheme://host:port` of the
    host that the operator has configured, see `origin_of`; it alone may be a private address, so that a
    simulator can be used.

    Where a file of that origin is answered with JSON, `url_in_json` reads the file's URL from it. Where it is
    not there (404, say), `described_at` gives the address of JSON that may name it. `fresh_headers` gives
    what goes along besides, where that is renewed from time to time; it may raise `TransportError`.
    `inline` says of a file's address that the file is in an answer, and in which; None for all others.
    """

    link_seconds: float = RESULT_LINK_SECONDS
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted_origin: str | None = None
    url_in_json: Callable[[bytes], str | None] | None = None
    described_at: Callable[[str], str | None] | None = None
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    fresh_headers: Callable[[], Awaitable[Mapping[str, str]]] | None = field(default=None, repr=False)
    inline: Callable[[str], InlineFile | None] | None = None

    def with_additions(self, headers: Mapping[str, str], query: Mapping[str, str]) -> "ResultFiles":
        """The same with what the operator adds to every request; see `with_headers`."""
        return replace(self, headers=with_headers(self.headers, headers), query=query)


def origin_of(url: str) -> str:
    """`scheme://host:port` of a URL, in lower case and with the port written out."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """All that a provider's `build` function gets: no provider reads settings or the environment.

    `limits` are the operator's; a provider that knows stricter ones of its service takes those. `instance` is
    the name that it goes by where it is another account or host than the one of its own name. `secrets` are
    what the operator adds to its requests: the `transport` does that, and no text may show them. `now()` is
    the wall clock in epoch seconds; `extra` are settings of this provider alone.
    """

    host: str
    api_key: str = field(repr=False)
    transport: Transport
    timeout_seconds: float = 30.0
    limits: ProviderLimits = ProviderLimits()
    polls_over_lines: bool = True
    """Whether polls may follow one another on a connection at once; see `RUSHES_POLLS_OVER_LINES`."""
    instance: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    now: Callable[[], float] = time.time
    extra: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """One video service. Neither method raises for anything the network or the service does."""

    @property
    def name(self) -> str:
        """The provider's name in the catalogue and in `video_tasks.provider`; `config.instance`, if set."""
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


@runtime_checkable
class PreparesSubmits(Protocol):
    """What a provider may have besides: it opens its connections before a submit is committed.

    A provider without it opens them when it sends. A crash in between leaves a submit unknown that was never
    sent.
    """

    async def prepare_submits(self, count: int) -> int:
        """Make ready to send up to `count`; how many may be sent now, 0 while none. Never raises."""
        ...


async def prepare_submits(provider: Provider, count: int) -> int:
    """How many of `count` submits may be sent now; all, where the provider prepares nothing."""
    return await provider.prepare_submits(count) if isinstance(provider, PreparesSubmits) else count


@runtime_checkable
class Checkable(Protocol):
    """A provider that can say by itself whether its key is accepted, for `rushes doctor --online`."""

    async def check(self) -> str | None:
        """Ask the service, at no price: None when it takes the key, else why not. Raises nothing."""
        ...


@runtime_checkable
class SignsCallbacks(Protocol):
    """A provider whose service signs its callbacks."""

    def callback_is_genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the service signed it; True without a secret to check with. Header names in lower case."""
        ...


@runtime_checkable
class Findable(Protocol):
    """A provider whose service can be asked by our submit key, so that no submit stays of unknown outcome."""

    async def find(self, submit_key: str) -> FindResult:
        """Ask which task the service has by this key. Raises nothing.

        `NeverTaken` only in the service's own words; the answer must name the key that was asked about.
        """
        ...


@runtime_checkable
class Cancellable(Protocol):
    """A provider whose service can drop a task that waits in its queue, when the batch is cancelled."""

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Ask the service to drop the task if it has not started to render. Raises nothing.

        A task that renders or has ended is left alone: it is billed, and its video must not be lost.
        """
        ...
