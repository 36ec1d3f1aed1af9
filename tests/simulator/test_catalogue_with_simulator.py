"""Whatever the catalogue lets through, its provider sends and the strict simulator takes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rushes.domain.catalogue import Model
from rushes.domain.errors import InputError
from rushes.domain.models import DEFAULT_CATALOGUE
from rushes.domain.options import OneOf, OptionSpec, Url, UrlList, WholeNumber
from rushes.domain.task import Accepted
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.registry import installed_providers
from rushes.providers.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport

URLS = [f"https://i.example/{n}.png" for n in range(9)]


def values_of(spec: OptionSpec) -> list[Any]:
    """Every value of a short list; the ends of a range."""
    match spec:
        case OneOf(values=values):
            return list(values)
        case WholeNumber(minimum=minimum, maximum=maximum):
            return [minimum, maximum]
        case Url():
            return [URLS[0]]
        case UrlList(count_max=count_max):
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
        path = "/v1" if model.provider == "openai-video" else ""
        config = ProviderConfig(f"https://simulator.test{path}", "key-1", transport)
        provider = installed_providers()[model.provider].load()(config)
        asked = 0
        for options in choices_of(model):
            try:
                normalised = model.normalise_options(options)
            except InputError:
                continue  # what does not go together is refused before it is sent
            outcome = await provider.submit(SubmitRequest(model.api_model, f"prompt {asked}", normalised))
            assert isinstance(outcome, Accepted), (options, outcome)
            asked += 1
        assert core.report(0.0).accepted == asked > 0

    asyncio.run(submit_all())
