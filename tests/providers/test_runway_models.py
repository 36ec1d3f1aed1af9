"""The bodies of Runway's models, in every shape and resolution, held against the official SDK's types."""

import asyncio
import itertools
import json
from typing import Any, get_args, get_type_hints

import pytest
from runwayml.types import image_to_video_create_params as image
from runwayml.types import text_to_video_create_params as text

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import values_of
from rushes.domain.task import Accepted
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import runway
from rushes.providers.http.transport import Response
from rushes.providers.inputs import InputFile
from tests.providers.scripted import Scripted

MODELS = [model for model in DEFAULT_CATALOGUE if model.provider == "runway"]


def types_by_model(union: Any) -> dict[str, Any]:
    """The SDK's typed dictionaries by the name of their model."""
    return {get_args(get_type_hints(each)["model"])[0]: each for each in get_args(union)}


TYPES = {
    "text_to_video": types_by_model(text.TextToVideoCreateParams),
    "image_to_video": types_by_model(image.ImageToVideoCreateParams),
}
CAMEL = {"prompt_text": "promptText", "prompt_image": "promptImage", "negative_prompt": "negativePrompt"}


def bodies_of(model: Model, *, has_image: bool) -> list[tuple[str, dict[str, Any]]]:
    """Path and body for each combination of values that can be listed."""
    listed = {
        name: values[:: max(1, len(values) - 1)] if name == "duration" and len(values) > 3 else values
        for name, spec in model.options.items()
        if (values := values_of(spec)) is not None
    }
    inputs = {"first_frame": (InputFile(url="https://i.example/1.png"),)} if has_image else {}
    transport = Scripted(Response(200, {}, b'{"id":"t-1"}'))
    provider = runway.build(ProviderConfig("https://runway.example", "key-canary", transport))

    async def submit_each() -> None:
        for values in itertools.product(*listed.values()):
            options = dict(zip(listed, values, strict=True))
            outcome = await provider.submit(
                SubmitRequest(model.api_model, "a fox", options, wires=model.wires, inputs=inputs)
            )
            assert outcome == Accepted("t-1"), (options, outcome)

    asyncio.run(submit_each())
    return [(asked.url.rpartition("/")[2], json.loads(asked.body or b"")) for asked in transport.asked]


@pytest.mark.parametrize("has_image", [False, True])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_body_is_one_of_the_sdk_s(model: Model, has_image: bool) -> None:
    found = bodies_of(model, has_image=has_image)
    assert found
    for path, body in found:
        kind = TYPES[path][model.api_model]
        hints = get_type_hints(kind)
        fields = {CAMEL.get(name, name): hint for name, hint in hints.items()}
        assert body.keys() <= fields.keys()
        required = {CAMEL.get(name, name) for name in kind.__required_keys__}
        assert required <= body.keys()
        for name in ("ratio", "resolution", "duration"):
            allowed = get_args(fields[name]) if name in fields else ()
            is_listed = bool(allowed) and not any(isinstance(each, type) for each in allowed)
            assert name not in body or not is_listed or body[name] in allowed, (name, body)
    ratios = {body["ratio"] for _, body in found}
    assert len(ratios) >= 2
