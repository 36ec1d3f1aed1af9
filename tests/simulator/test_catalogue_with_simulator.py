"""Whatever the catalogue lets through, its provider sends and the strict simulator takes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OneOf, OptionSpec, WholeNumber, YesNo
from rushes.domain.errors import InputError
from rushes.domain.task import Accepted
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.registry import installed_providers, variables_of
from rushes.run.inputs.source import urls_of
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from rushes.simulator.families.wires import all_wires

URLS = [f"https://i.example/{n}.png" for n in range(9)]


def host_of(provider: str) -> str:
    """The host that the simulator's own `export` lines give the provider."""
    variable = variables_of(provider).host
    exports = [wire.exports("https://simulator.test", "key-1") for wire in all_wires()]
    return next(found[variable] for found in exports if variable in found)


def key_of(provider: str) -> str:
    """The key that they give it."""
    variable = variables_of(provider).key
    exports = [wire.exports("https://simulator.test", "key-1") for wire in all_wires()]
    return next(found[variable] for found in exports if variable in found)


def values_of(spec: OptionSpec) -> list[Any]:
    """Every value of a short list; the ends of a range."""
    match spec:
        case OneOf(values=values):
            return list(values)
        case WholeNumber(minimum=minimum, maximum=maximum):
            return [minimum, maximum]
        case MediaInput(is_list=False):
            return [URLS[0]]
        case YesNo():
            return [True, False]
        case MediaInput(count_max=count_max):
            return [URLS[:1], URLS[:count_max]]
        case other:
            raise AssertionError(other)


def choices_of(model: Model) -> Iterator[dict[str, Any]]:
    """No option, each value of each option alone, and each once with the first values of all others."""
    yield {}
    first = {name: values_of(spec)[0] for name, spec in model.options.items()}
    for name, spec in model.options.items():
        for value in values_of(spec):
            yield {name: value}
            yield {**first, name: value}


@pytest.mark.parametrize("model", DEFAULT_CATALOGUE, ids=lambda model: model.name)
def test_each_model_with_each_option_is_accepted(model: Model) -> None:
    async def submit_all() -> None:
        core = SimulatorCore(SimulatorKnobs())
        transport = SimulatorTransport(core, clock=asyncio.get_running_loop().time)
        config = ProviderConfig(
            host_of(model.provider),
            key_of(model.provider),
            transport,
            extra={"storage_uri": "gs://rushes-simulator/out"},
        )
        provider = installed_providers()[model.provider].load()(config)
        asked = 0
        for options in choices_of(model):
            try:
                normalised = model.normalise_options(options)
            except InputError:
                continue  # what does not go together is refused before it is sent
            request = SubmitRequest(
                model.api_model,
                f"prompt {asked}",
                model.without_media(model.completed(normalised)),
                wires=model.wires,
                inputs=urls_of(model, normalised),
            )
            outcome = await provider.submit(request)
            assert isinstance(outcome, Accepted), (options, outcome)
            asked += 1
        assert core.report(0.0).accepted == asked > 0

    asyncio.run(submit_all())
