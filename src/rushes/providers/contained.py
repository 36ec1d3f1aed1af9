"""Another package's provider behind a wall: it may raise, hang or answer nonsense, and only it suffers.

What cannot be contained is code that blocks the event loop itself; a provider must wait with `await`.
"""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Final, TypeVar, cast

import msgspec

from rushes import telemetry
from rushes.domain.errors import SettingsError
from rushes.domain.task import (
    FURTHER_FILES_MAX,
    QUEUE_POSITION_MAX,
    Accepted,
    CancelRefused,
    CancelResult,
    CancelTaken,
    Failed,
    FindResult,
    NeverTaken,
    NoAnswer,
    NotSent,
    OutputFile,
    OutputKind,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.answers import Words, amount_in, is_remote_task_id, is_video_url, progress_of
from rushes.providers.base import (
    Cancellable,
    Checkable,
    Findable,
    Provider,
    ProviderConfig,
    ProviderLimits,
    ResultFiles,
    SignsCallbacks,
    SubmitRequest,
    prepare_submits,
)
from rushes.providers.http.transport import RETRY_AFTER_SECONDS_MAX
from rushes.providers.inputs import InputFile, TakesUploads

LOAD_SECONDS_MAX: Final = 10.0
"""How long importing another package's module, and building its provider, may take."""

ANSWER_TIMEOUTS: Final = 3.0
"""How many time-outs of a single request a provider may take for one answer."""

_SUBMIT_OUTCOMES: Final = (Accepted, Rejected, Throttled, NotSent, Unknown)
_POLL_RESULTS: Final = (NoAnswer, Processing, Succeeded, Failed)
_FIND_RESULTS: Final = (Accepted, NeverTaken, NoAnswer)
_CANCEL_RESULTS: Final = (CancelTaken, CancelRefused, NoAnswer)

T = TypeVar("T")
Waiting = TypeVar("Waiting", NoAnswer, Throttled)
log = telemetry.logger()


def within(act: Callable[[], T], *, seconds: float = LOAD_SECONDS_MAX) -> T:
    """Run another package's code on a thread of its own; raises what it raises, or `TimeoutError`.

    A thread that hangs is left behind; it does not keep the process from ending.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(act())
        except BaseException as error:  # SystemExit included: it is the plug-in's, not ours
            outcome.set_exception(error)

    threading.Thread(target=run, name="rushes-plug-in", daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        if outcome.done():
            raise
        raise TimeoutError(f"it did not end within {seconds:g} s") from None


def build_contained(
    name: str, load: Callable[[], Callable[[ProviderConfig], object]], config: ProviderConfig
) -> Provider:
    """Load and build another package's provider; raises `SettingsError` naming what is wrong with it."""
    words = Words(config.api_key, *config.secrets)
    try:
        built = within(lambda: load()(config))
        return ContainedProvider(name, cast(Provider, built), config)
    except (Exception, SystemExit) as error:
        raise SettingsError(words.clean(f"{type(error).__name__}: {error}")) from None


class ContainedProvider:
    """See the module's text. Raises `TypeError` for an object that is no provider of this name."""

    def __init__(self, name: str, provider: Provider, config: ProviderConfig) -> None:
        for method in ("submit", "poll_remote_task", "remote_task_id_of_callback"):
            if not callable(getattr(provider, method, None)):
                raise TypeError(f"build gave a {type(provider).__name__} without the method {method}")
        if provider.name not in (name, config.instance):
            raise TypeError(f"the provider calls itself {provider.name!r}, not {name!r}")
        self.name = config.instance or name
        self.limits = _checked(provider.limits, ProviderLimits)
        self.result_files = _checked(provider.result_files, ResultFiles)
        self._provider = provider
        self._seconds_max = ANSWER_TIMEOUTS * config.timeout_seconds
        self._words = Words(config.api_key, *config.secrets)
        if isinstance(provider, Checkable):
            self._provider_check = provider.check
            self.check = self._check  # only where the provider has one: see `Checkable`
        if isinstance(provider, Findable):
            self._provider_find = provider.find
            self.find = self._find
        if isinstance(provider, Cancellable):
            self._provider_cancel = provider.cancel
            self.cancel = self._cancel
        if isinstance(provider, SignsCallbacks):
            self._provider_callback_is_genuine = provider.callback_is_genuine
            self.callback_is_genuine = self._callback_is_genuine
        if isinstance(provider, TakesUploads):
            self._provider_upload_input = provider.upload_input
            self.upload_input = self._upload_input

    async def _check(self) -> str | None:
        """What the provider says of its key, if it can be; else what went wrong."""
        refusal, trouble = await self._answer_of(self._provider_check, (str, type(None)))
        if trouble is not None:
            return self._named(trouble)
        return self._words.clean(cast(str, refusal)) if refusal is not None else None

    async def _find(self, submit_key: str) -> FindResult:
        """What the provider says of the submit, if it can be; else no answer."""
        result, trouble = await self._answer_of(lambda: self._provider_find(submit_key), _FIND_RESULTS)
        if isinstance(result, Accepted) and not _is_usable_id(result.remote_task_id):
            trouble = "found a submit without a usable id"
        if trouble is not None:
            return NoAnswer(self._named(trouble))
        return _bounded(result) if isinstance(result, NoAnswer) else cast(FindResult, result)

    async def _cancel(self, remote_task_id: str) -> CancelResult:
        """What the provider says of the cancel, if it can be; else no answer."""
        result, trouble = await self._answer_of(
            lambda: self._provider_cancel(remote_task_id), _CANCEL_RESULTS
        )
        if trouble is not None:
            return NoAnswer(self._named(trouble))
        return _bounded(result) if isinstance(result, NoAnswer) else cast(CancelResult, result)

    async def _upload_input(self, file: InputFile) -> str | NotSent | Rejected:
        """The address that the provider gives for a file, if it can be; else nothing was given."""
        answer, trouble = await self._answer_of(
            lambda: self._provider_upload_input(file), (str, NotSent, Rejected)
        )
        if isinstance(answer, str) and not is_video_url(answer):
            trouble = "gave an address for a file that is none"
        if trouble is not None:
            return NotSent(self._named(trouble))
        return cast("str | NotSent | Rejected", answer)

    async def prepare_submits(self, count: int) -> int:
        """What the provider says, if it prepares; else, or when it fails to, all may be sent."""
        prepared, trouble = await self._answer_of(lambda: prepare_submits(self._provider, count), (int,))
        return count if trouble is not None else max(0, min(cast(int, prepared), count))

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """What the provider says, if it can be; else `Unknown`: it may have sent the task."""
        outcome, trouble = await self._answer_of(lambda: self._provider.submit(request), _SUBMIT_OUTCOMES)
        if isinstance(outcome, Accepted) and not _is_usable_id(outcome.remote_task_id):
            trouble = "accepted without a usable id"
        if trouble is not None:
            return Unknown(self._named(trouble))
        return _bounded(outcome) if isinstance(outcome, Throttled) else cast(SubmitOutcome, outcome)

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """What the provider says, if it can be; else no answer."""
        result, trouble = await self._answer_of(
            lambda: self._provider.poll_remote_task(remote_task_id), _POLL_RESULTS
        )
        if isinstance(result, Succeeded):
            result = replace(result, further_files=_usable_files(result.further_files))
        if isinstance(result, Succeeded) and not result.video_url:
            trouble = "reported a success without a URL"
        elif isinstance(result, Succeeded) and not is_video_url(result.video_url):
            trouble = "reported a success with an invalid URL"
        elif isinstance(result, Processing) and not 0 <= (result.progress or 0) <= 100:
            trouble = "reported a progress outside 0 to 100"
        elif isinstance(result, Processing) and result.queue_position is not None:
            if not result.is_queued:
                trouble = "reported a queue position of a task that is not queued"
            elif not 0 <= result.queue_position <= QUEUE_POSITION_MAX:
                trouble = f"reported a queue position outside 0 to {QUEUE_POSITION_MAX}"
        if trouble is not None:
            return NoAnswer(self._named(trouble))
        return _bounded(result) if isinstance(result, NoAnswer) else cast(PollResult, result)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """What the provider reads there, if it can be; else None."""
        try:
            named = self._provider.remote_task_id_of_callback(body)
        except Exception as error:
            self._named(f"raised {type(error).__name__}: {error}")
            return None
        return named if _is_usable_id(named) else None

    def _callback_is_genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """What the provider says of the signature, if it can be; else False: polls tell the rest."""
        try:
            return self._provider_callback_is_genuine(body, headers) is True
        except (Exception, SystemExit) as error:
            self._named(f"raised {type(error).__name__}: {error}")
            return False

    async def _answer_of(
        self, ask: Callable[[], Awaitable[object]], kinds: tuple[type, ...]
    ) -> tuple[object, str | None]:
        """The answer, one of these kinds with fields of the right types; or what went wrong."""
        try:
            async with asyncio.timeout(self._seconds_max):
                answer = _without_odd_facts(await ask())
            if not isinstance(answer, kinds):
                return None, f"answered with {type(answer).__name__}"
            msgspec.convert(msgspec.to_builtins(answer), type(answer))
        except TimeoutError:
            return None, f"did not answer within {self._seconds_max:g} s"
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None, "raised CancelledError"
        except (Exception, SystemExit) as error:
            return None, f"raised {type(error).__name__}: {error}"
        return answer, None

    def _named(self, trouble: str) -> str:
        text = self._words.clean(f"the provider {self.name} {trouble}")
        log.error(telemetry.PROVIDER_RAISED, provider=self.name, error=text)
        return text


def _checked(value: T, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"the provider has a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _usable_files(files: object) -> tuple[OutputFile, ...]:
    """Those that are files: what else a plug-in writes there costs no verdict."""
    listed = files if isinstance(files, tuple | list) else ()
    usable = [file for file in listed if isinstance(file, OutputFile) and _is_usable_file(file)]
    return tuple(usable[:FURTHER_FILES_MAX])


def _is_usable_file(file: OutputFile) -> bool:
    kind: object = file.kind
    url: object = file.url
    return isinstance(kind, OutputKind) and isinstance(url, str) and is_video_url(url)


def _bounded(answer: Waiting) -> Waiting:
    """The answer with a wait as the built-in providers read it: 0 to `RETRY_AFTER_SECONDS_MAX`, or None."""
    wait = answer.retry_after_seconds
    if wait is None:
        return answer
    if math.isnan(wait):
        return replace(answer, retry_after_seconds=None)
    return replace(answer, retry_after_seconds=min(max(wait, 0.0), RETRY_AFTER_SECONDS_MAX))


def _without_odd_facts(answer: object) -> object:
    """A verdict without a cost or progress that is none: they decide nothing, and must not cost it."""
    if isinstance(answer, Succeeded) and progress_of(answer.progress) != answer.progress:
        answer = replace(answer, progress=100)
    if not isinstance(answer, Succeeded | Failed) or answer.provider_cost is None:
        return answer
    cost, unit = amount_in(answer.provider_cost), answer.provider_cost_unit
    if cost is None or not isinstance(unit, str | None):
        cost = unit = None
    return replace(answer, provider_cost=cost, provider_cost_unit=unit)


def _is_usable_id(text: object) -> bool:
    return isinstance(text, str) and is_remote_task_id(text)
