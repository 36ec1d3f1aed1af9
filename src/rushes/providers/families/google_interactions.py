"""Gemini Omni's interactions, alike in the Gemini API and Vertex AI: what is sent, and what answers say.

    submit   POST …/interactions {model, input, background, response_format}  -> {id, status}
    poll     GET  …/interactions/{id}                                         -> {id, status, steps?, errors?}
    cancel   POST …/interactions/{id}/cancel                                  -> {id, status}

Checked against `_gaos/types/interactions` of google-genai 3.6.1.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, assert_never

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
)
from rushes.providers.answers import (
    QUEUED,
    RENDERING,
    UNDECODABLE,
    RemoteId,
    Words,
    failure_type_of_text,
    require_same_task,
    succeeded,
    words_in,
)
from rushes.providers.base import SubmitRequest
from rushes.providers.http_provider import HttpProvider
from rushes.providers.inputs import InputFile

_FIELDS: Final = {"aspect_ratio": "aspect_ratio", "duration": "duration", "resolution": "resolution"}
_INPUTS: Final = {"first_frame": "image", "references": "image", "source_video": "video"}
_TASKS: Final = {
    "first_frame": "image_to_video",
    "references": "reference_to_video",
    "source_video": "edit",
}
_ID: Final = re.compile(r"[A-Za-z0-9_\-]+")
_INVALID_ARGUMENT: Final = 3
_NOT_OURS: Final = frozenset({"user_input", "thought"})
"""Steps of an interaction that hold no output."""


# --- the wire -------------------------------------------------------------------------------------------


class _Started(msgspec.Struct, frozen=True):
    id: RemoteId


class Interaction(msgspec.Struct, frozen=True):
    """Id and status are strict, and so is the video of a success. The rest is read as far as it can be."""

    id: RemoteId
    status: Literal[
        "queued", "in_progress", "completed", "failed", "cancelled", "incomplete", "budget_exceeded"
    ]
    steps: msgspec.Raw = msgspec.Raw(b"null")
    errors: Any = None


class _Kind(msgspec.Struct, frozen=True):
    type: str


class VideoContent(msgspec.Struct, frozen=True):
    """A part of what the model answers; a video's bytes or address, or a text."""

    type: str
    uri: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")
    text: Any = None

    @property
    def address(self) -> str:
        """Where the video is; empty where it has no address."""
        return _decode_text(self.uri) or ""

    @property
    def is_inline(self) -> bool:
        """Whether its bytes stand in the answer."""
        return is_text(self.data)

    @property
    def base64(self) -> str:
        """Its bytes, as they stand in the answer."""
        return _decode_text(self.data) or ""


class _ModelOutput(msgspec.Struct, frozen=True):
    content: list[VideoContent] | None = None
    error: Any = None


_encode = msgspec.json.Encoder().encode
_decode_started = msgspec.json.Decoder(_Started).decode
interaction_of = msgspec.json.Decoder(Interaction).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_steps = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_output = msgspec.json.Decoder(_ModelOutput).decode


def is_text(value: msgspec.Raw) -> bool:
    """Whether a text stands there that is not empty; it may be megabytes of Base64, and is not decoded."""
    data = memoryview(value)
    return len(data) > len('""') and bytes(data[:1]) == b'"'


# --- what is sent ---------------------------------------------------------------------------------------


def interaction_body(request: SubmitRequest, delivery: Mapping[str, str], **more: Any) -> bytes:
    """The JSON of an interaction; `delivery` says where the video goes, `more` are fields beside.

    Raises `ValueError` for what Omni does not take.
    """
    options = dict(request.options)
    config: dict[str, Any] = {"seed": options.pop("seed")} if "seed" in options else {}
    wanted = options_in(options, _FIELDS, request.api_model)
    if "duration" in wanted:
        wanted["duration"] = f"{wanted['duration']}s"
    task = _task(request)
    if task is not None:
        config["video_config"] = {"task": task}
    body = {
        "model": request.api_model,
        "input": _input(request),
        "background": True,
        "store": True,
        "response_format": {"type": "video", **delivery, **wanted},
        **({"generation_config": config} if config else {}),
        **more,
    }
    return _encode(body)


def _input(request: SubmitRequest) -> str | list[dict[str, Any]]:
    """The prompt; with files one step of contents, the files first in the order of their parts."""
    if not request.inputs:
        return request.prompt
    contents: list[dict[str, Any]] = []
    for role, kind in _INPUTS.items():
        for file in request.inputs.get(role, ()):
            content_type, data = inline(file, request.api_model)
            contents.append({"type": kind, "data": data, "mime_type": content_type})
    for role in request.inputs:
        if role not in _INPUTS:
            raise ValueError(f"{request.api_model} has no input {role}")
    contents.append({"type": "text", "text": request.prompt})
    return [{"type": "user_input", "content": contents}]


def _task(request: SubmitRequest) -> str | None:
    """What is to be done with the files; the service's own guess where they play several parts."""
    tasks = {task for role, task in _TASKS.items() if role in request.inputs}
    return tasks.pop() if len(tasks) == 1 else None


def inline(file: InputFile, model: str) -> tuple[str, str]:
    """A file's content type and Base64; raises `ValueError` for one at a URL: Google fetches none."""
    if file.data is None:
        raise ValueError(f"{model} takes files within the request, no URL")
    return file.content_type, file.base64


def options_in(options: Mapping[str, Any], fields: Mapping[str, str], model: str) -> dict[str, Any]:
    """The options in Google's words; raises `ValueError` for one that it does not have."""
    for option in options:
        if option not in fields:
            raise ValueError(f"{model} has no option {option}")
    return {fields[option]: value for option, value in options.items()}


# --- what answers say -----------------------------------------------------------------------------------


def started(body: bytes) -> str:
    """The id of the interaction that a submit has started; empty for one that is no id."""
    interaction_id = str(_decode_started(body).id)
    return interaction_id if _ID.fullmatch(interaction_id) else ""


def interaction_in(body: bytes, asked_id: str) -> Interaction:
    """The interaction as it stands. Raises what says that the answer is about another."""
    interaction = interaction_of(body)
    require_same_task(asked_id, interaction.id)
    return interaction


async def cancel_if_queued(provider: HttpProvider, url: str, interaction_id: str) -> CancelResult:
    """Cancel the interaction at that URL while it is queued."""

    def standing(body: bytes) -> str | None:
        status = interaction_in(body, interaction_id).status
        return None if status == "queued" else f"it is {status}"

    cancel = ("POST", f"{url}/cancel", b"{}")
    return await provider.cancel_if_waiting(url, standing, cancel, too_late=(400, 409))


def verdict_on(
    interaction: Interaction, words: Words, address_of: Callable[[VideoContent], str]
) -> PollResult:
    """What the interaction says of its task; `address_of` tells where a video is fetched, if it can be."""
    match interaction.status:
        case "queued":
            return QUEUED
        case "in_progress":
            return RENDERING
        case "completed":
            return _output(interaction, words, address_of)
        case "cancelled":
            return Failed("the interaction was cancelled", FailureType.CANCELLED)
        case "failed" | "incomplete" | "budget_exceeded":
            said = "; ".join(filter(None, (_said_by(interaction.errors), _errors_in_steps(interaction))))
            return failure(said or f"the interaction is {interaction.status}", words)
        case other:
            assert_never(other)


def failure(message: str | None, words: Words, code: object = None) -> Failed:
    """A failure in Google's words, its type by them, else by google.rpc's `code`."""
    text = words.clean(message or REMOTE_TASK_FAILED)
    by_code = FailureType.PARAM_ERROR if code == _INVALID_ARGUMENT else FailureType.MODEL_ERROR
    return Failed(text, failure_type_of_text(text) or by_code)


def last_video(interaction: Interaction) -> VideoContent | None:
    """The last video of what the model has answered: those before it are drafts."""
    return next((content for content in reversed(_contents(interaction)) if content.type == "video"), None)


def _output(interaction: Interaction, words: Words, address_of: Callable[[VideoContent], str]) -> PollResult:
    """The last video of a completed interaction; without one, what it said instead."""
    video = last_video(interaction)
    if video is not None:
        return succeeded(address_of(video), 100)
    contents = _contents(interaction)
    texts = [words_in(content.text) for content in contents if content.type == "text"]
    text = " ".join(filter(None, texts))
    if text:
        return failure(text, words)
    if all(content.type == "text" for content in contents) and not _unknown(interaction):
        return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
    return NoAnswer("it is completed, with nothing that is known to be a video", 200)


def _contents(interaction: Interaction) -> list[VideoContent]:
    return [content for output in _outputs(interaction) for content in output.content or ()]


def _outputs(interaction: Interaction) -> list[_ModelOutput]:
    steps = _decode_steps(interaction.steps) or ()
    return [_decode_output(step) for step in steps if _decode_kind(step).type == "model_output"]


def _said_by(errors: object) -> str | None:
    """Messages, or else codes."""
    faults = errors if isinstance(errors, list) else [errors]
    said = [words_in(fault) or _code_of(fault) for fault in faults]
    return "; ".join(filter(None, said)) or None


def _code_of(fault: object) -> str | None:
    return words_in(fault.get("code")) if isinstance(fault, dict) else None


def _errors_in_steps(interaction: Interaction) -> str | None:
    """What the steps of a failed interaction say; a form that is not known says nothing."""
    try:
        return "; ".join(filter(None, (words_in(output.error) for output in _outputs(interaction))))
    except UNDECODABLE:
        return None


def _unknown(interaction: Interaction) -> bool:
    """Whether there is a step of a kind that this version does not know."""
    kinds = {_decode_kind(step).type for step in _decode_steps(interaction.steps) or ()}
    return bool(kinds - _NOT_OURS - {"model_output"})
