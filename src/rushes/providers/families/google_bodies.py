"""What is sent to Google's Gemini API: instances for Veo, contents for Omni, files within the request."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rushes.providers.base import SubmitRequest
from rushes.providers.inputs import InputFile

_encode = msgspec.json.Encoder().encode

_VEO_FIELDS: Final = {
    "aspect_ratio": "aspectRatio",
    "duration": "durationSeconds",
    "resolution": "resolution",
}
_OMNI_FIELDS: Final = {"aspect_ratio": "aspect_ratio", "duration": "duration", "resolution": "resolution"}
_VEO_INPUTS: Final = {"first_frame": "image", "last_frame": "lastFrame"}
_OMNI_INPUTS: Final = {"first_frame": "image", "references": "image", "source_video": "video"}
_OMNI_TASKS: Final = {
    "first_frame": "image_to_video",
    "references": "reference_to_video",
    "source_video": "edit",
}


def veo_body(request: SubmitRequest) -> bytes:
    """The JSON of a Veo operation. Raises `ValueError` for what the model does not take."""
    parameters = _options(request, _VEO_FIELDS)
    instance: dict[str, Any] = {"prompt": request.prompt}
    for role, files in request.inputs.items():
        if role not in _VEO_INPUTS:
            raise ValueError(f"{request.api_model} has no input {role}")
        content_type, data = _inline(files[0], request.api_model)
        instance[_VEO_INPUTS[role]] = {"bytesBase64Encoded": data, "mimeType": content_type}
    return _encode({"instances": [instance], "parameters": {"sampleCount": 1, **parameters}})


def omni_body(request: SubmitRequest) -> bytes:
    """The JSON of an interaction. Raises `ValueError` as above."""
    wanted = _options(request, _OMNI_FIELDS)
    if "duration" in wanted:
        wanted["duration"] = f"{wanted['duration']}s"
    body = {
        "model": request.api_model,
        "input": _omni_input(request),
        "background": True,
        "store": True,
        "response_format": {"type": "video", "delivery": "uri", **wanted},
    }
    task = _omni_task(request)
    return _encode(body if task is None else body | {"generation_config": {"video_config": {"task": task}}})


def _omni_input(request: SubmitRequest) -> str | list[dict[str, Any]]:
    """The prompt; with files one step of contents, the files first in the order of their parts."""
    if not request.inputs:
        return request.prompt
    contents: list[dict[str, Any]] = []
    for role, kind in _OMNI_INPUTS.items():
        for file in request.inputs.get(role, ()):
            content_type, data = _inline(file, request.api_model)
            contents.append({"type": kind, "data": data, "mime_type": content_type})
    for role in request.inputs:
        if role not in _OMNI_INPUTS:
            raise ValueError(f"{request.api_model} has no input {role}")
    contents.append({"type": "text", "text": request.prompt})
    return [{"type": "user_input", "content": contents}]


def _omni_task(request: SubmitRequest) -> str | None:
    """What is to be done with the files; the service's own guess where they play several parts."""
    tasks = {task for role, task in _OMNI_TASKS.items() if role in request.inputs}
    return tasks.pop() if len(tasks) == 1 else None


def _inline(file: InputFile, model: str) -> tuple[str, str]:
    """A file's content type and Base64; raises `ValueError` for one at a URL: the API fetches none."""
    if file.data is None:
        raise ValueError(f"{model} takes files within the request, no URL")
    return file.content_type, file.base64


def _options(request: SubmitRequest, fields: Mapping[str, str]) -> dict[str, Any]:
    """The options in the API's words; raises `ValueError` for one that it does not have."""
    for option in request.options:
        if option not in fields:
            raise ValueError(f"{request.api_model} has no option {option}")
    return {fields[option]: value for option, value in request.options.items()}
