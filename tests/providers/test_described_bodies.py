"""Models of a known provider that are described as data alone: what is sent for them."""

import json
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import FailureType, Rejected
from rushes.providers.base import SubmitRequest
from rushes.providers.families import fal, runway
from rushes.run.inputs.source import urls_of
from tests.providers.service import Reply, Service

MODELS = DEFAULT_CATALOGUE.with_overrides(
    {
        "seedance": {
            "provider": "fal",
            "api_model": "bytedance/seedance-2.0/text-to-video",
            "credits": 1,
            "options": {
                "duration": {"kind": "whole_number", "minimum": 4, "maximum": 15, "default": 5},
                "resolution": {"kind": "choice", "values": ["480p", "720p"], "default": "720p"},
                "audio": {"kind": "yes_no", "default": False, "wire": {"path": "generate_audio"}},
                "strength": {"kind": "decimal", "minimum": 0, "maximum": 1, "wire": {"path": "settings.cfg"}},
                "first_frame_url": {"kind": "url", "wire": {"path": "start_image_url"}},
            },
        },
        "gen5": {
            "provider": "runway",
            "api_model": "gen5",
            "credits": 1,
            "prompt_units_max": 3500,
            "prompt_unit": "utf16",
            "options": {
                "aspect_ratio": {
                    "kind": "choice",
                    "values": ["1:1", "21:9"],
                    "default": "1:1",
                    "wire": {"path": "ratio", "values": {"1:1": "960:960", "21:9": "1584:672"}},
                },
                "audio": {"kind": "yes_no", "default": True},
            },
        },
    }
)


def body_of(build: Any, path: str, model_name: str, options: dict[str, Any], prompt: str = "a boat") -> Any:
    model = MODELS.get(model_name)
    completed = model.completed(model.normalise_options(options))
    request = SubmitRequest(
        model.api_model,
        prompt,
        model.without_media(completed),
        wires=model.wires,
        inputs=urls_of(model, completed),
    )
    _outcome, (exchange,) = Service(build, {path: Reply({"id": "1", "request_id": "1"})}).submit(request)
    return json.loads(exchange.body)


def test_a_fal_model_without_code_of_its_own() -> None:
    path = "/bytedance/seedance-2.0/text-to-video"
    assert body_of(fal.build, path, "seedance", {}) == {
        "prompt": "a boat",
        "duration": "5",
        "resolution": "720p",
        "generate_audio": False,
    }
    options = {"audio": True, "strength": 0.5, "first_frame_url": "https://i.example/1.png", "duration": 9}
    assert body_of(fal.build, path, "seedance", options) == {
        "prompt": "a boat",
        "duration": "9",
        "resolution": "720p",
        "generate_audio": True,
        "settings": {"cfg": 0.5},
        "start_image_url": "https://i.example/1.png",
    }


def test_a_runway_model_with_ratios_of_its_own() -> None:
    prompt = "a" * 3500
    assert body_of(runway.build, "/v1/text_to_video", "gen5", {"aspect_ratio": "21:9"}, prompt) == {
        "model": "gen5",
        "promptText": prompt,
        "ratio": "1584:672",
        "audio": True,
    }
    assert MODELS.get("gen5").prompt_problem(prompt + "a") == (
        "3501 UTF-16 code units, more than the 3500 that gen5 takes"
    )


@pytest.mark.parametrize("build", [fal.build, runway.build])
def test_an_option_that_nobody_describes_is_refused(build: Any) -> None:
    outcome, exchanges = Service(build, {}).submit(SubmitRequest("x", "a boat", {"sound": True}))
    assert outcome == Rejected("x has no option sound", FailureType.PARAM_ERROR)
    assert exchanges == []
