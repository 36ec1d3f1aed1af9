"""Recorded shapes of a service, held against the simulator's: where they differ, the service has changed.

The simulator is asked by the same provider, in process: tasks of every fate, each polled while it waits,
renders and has ended. A recorded answer is compared with the answers to the same question with the same
status and the same words of state.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.errors import InputError
from rushes.domain.task import Accepted
from rushes.providers.answers import UNDECODABLE
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.registry import installed_providers, variables_of
from rushes.providers.samples import RecordingTransport, Sample, Samples, Shape
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport, all_wires

_decode: Final = msgspec.json.Decoder(Samples).decode

TASKS: Final = 24
"""Tasks of each model; enough for every fate that the knobs below ask for."""

_BASE_URL: Final = "http://127.0.0.1:9"
_FATES: Final = SimulatorKnobs(
    seed=11,
    render_seconds=100.0,
    output_moderation=0.1,
    input_moderation=0.1,
    error=0.2,
    business_code=0.1,
    forgotten=0.1,
    succeeded_without_url=0.1,
    failed_without_reason=0.1,
)
_POLLED_AT: Final = (1.0, 50.0, 2000.0)
"""Seconds after the submits: while a task waits, while it renders, and once all have ended."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a recorded answer is not as the simulator's; `what` says how."""

    provider: str
    question: str
    status: int
    what: str


def differences(recorded: Samples) -> list[Difference]:
    """Where the recorded answers of a provider differ from those of its simulator, each once, in order."""
    known = spoken_by_simulator(recorded.provider)
    found: dict[tuple[str, int, str], Difference] = {}
    for sample in recorded.exchanges:
        for what in _unlike(sample, known):
            key = (sample.question, sample.status, what)
            found.setdefault(key, Difference(recorded.provider, sample.question, sample.status, what))
    return list(found.values())


def read_samples(folder: Path) -> list[Samples]:
    """The samples in a folder's `.json` files; raises `InputError` for a file that has none."""
    found: list[Samples] = []
    for file in sorted(folder.glob("*.json")):
        try:
            samples = _decode(file.read_bytes())
        except (OSError, *UNDECODABLE):
            raise InputError(f"{file}: no samples of `rushes record`") from None
        if not is_simulated(samples.provider):
            raise InputError(f"{file}: the simulator does not speak {samples.provider[:50]!r}")
        found.append(samples)
    if not found:
        raise InputError(f"there are no samples in {folder}")
    return found


def is_simulated(provider: str) -> bool:
    """Whether the simulator speaks the provider's protocol."""
    return provider in {wire.name for wire in all_wires()} & installed_providers().keys()


@cache
def spoken_by_simulator(name: str) -> tuple[Sample, ...]:
    """What the simulator says to the polls of this provider."""
    return tuple(asyncio.run(_spoken(name)))


async def _spoken(name: str) -> list[Sample]:
    found: list[Sample] = []
    for model in DEFAULT_CATALOGUE:
        if model.provider == name:
            found += await _spoken_of(model)
    return found


async def _spoken_of(model: Model) -> list[Sample]:
    clock = [0.0]
    core = SimulatorCore(_FATES, base_url=_BASE_URL)
    way = SimulatorTransport(core, clock=lambda: clock[0])
    provider, _ = _provider_over(model.provider, RecordingTransport(way, ()), lambda: clock[0])
    ids: list[str] = []
    for number in range(TASKS):
        outcome = await provider.submit(
            SubmitRequest(model.api_model, f"prompt {number}", model.completed({}), wires=model.wires)
        )
        if isinstance(outcome, Accepted):
            ids.append(outcome.remote_task_id)
    asking, recorder = _provider_over(model.provider, RecordingTransport(way, ids), lambda: clock[0])
    for at in _POLLED_AT:
        clock[0] = at
        for remote_task_id in ids:
            await asking.poll_remote_task(remote_task_id)
    return recorder.samples


def _provider_over(
    name: str, recorder: RecordingTransport, now: Callable[[], float]
) -> tuple[Provider, RecordingTransport]:
    exports: dict[str, str] = {}
    for wire in all_wires():
        exports |= wire.exports(_BASE_URL, "recorded-key")
    variables = variables_of(name)
    config = ProviderConfig(
        exports[variables.host],
        exports[variables.key],
        recorder,
        now=now,
        extra={"storage_uri": exports.get("VERTEX_STORAGE_URI", "")},
    )
    provider: Provider = installed_providers()[name].load()(config)
    return provider, recorder


# --- comparing --------------------------------------------------------------------------------------------


def _unlike(sample: Sample, known: Sequence[Sample]) -> Iterator[str]:
    same_question = [each for each in known if _place(each) == _place(sample)]
    if not same_question:
        yield "the simulator is never asked so"
        return
    answers = [each.answered for each in same_question if each.status == sample.status]
    if not answers:
        yield f"the simulator never answers HTTP {sample.status}"
        return
    possible = _merged(answers)
    for path, kinds in sample.answered.items():
        if path not in possible:
            yield f"{path}: is new"
            continue
        for kind in kinds:
            if kind not in possible[path]:
                yield f"{path}: is {kind}, not {' or '.join(sorted(possible[path]))}"
    alike = [answer for answer in answers if _words(answer) == _words(sample.answered)]
    for path in sorted(_always(alike) - sample.answered.keys()):
        yield f"{path}: is missing"


def _place(sample: Sample) -> tuple[str, tuple[str, ...]]:
    """The question without where the host's base path leads: an operator's may have another one."""
    method, _, path = sample.question.partition(" ")
    return f"{method} {'/'.join(path.split('/')[-3:])}", tuple(sample.query)


def _merged(answers: Iterable[Shape]) -> dict[str, set[str]]:
    possible: dict[str, set[str]] = {}
    for answer in answers:
        for path, kinds in answer.items():
            possible.setdefault(path, set()).update(kinds)
    return possible


def _always(answers: Sequence[Shape]) -> set[str]:
    found = [set(answer) for answer in answers]
    return set.intersection(*found) if found else set()


def _words(answer: Shape) -> set[tuple[str, str]]:
    """The words of state in an answer."""
    return {(path, kind) for path, kinds in answer.items() for kind in kinds if kind.startswith('"')}
