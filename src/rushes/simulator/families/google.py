"""Google's Gemini API: `/v1/interactions`, `…:predictLongRunning`, operations and generated files.

`/v1` and `/v1beta` are the same. As strict as grsai.py. Files need the key. How an interaction tells
of moderation is not published; here it is a failed one whose error says so.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from rushes.simulator.families.grsai import Prompt
from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
    CancelCall,
    Cancelling,
    FileCall,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    Wire,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

_OURS: Final = re.compile(r"/v1(beta)?/(interactions(/.*)?|models/.*|files/.*)")
_START: Final = re.compile(r"/v1(?:beta)?/interactions")
_INTERACTION: Final = re.compile(r"/v1(?:beta)?/interactions/([a-z0-9\-]{1,100})")
_CANCEL: Final = re.compile(r"/v1(?:beta)?/interactions/([a-z0-9\-]{1,100})/cancel")
_SUBMIT: Final = re.compile(r"/v1(?:beta)?/models/([a-z0-9.\-]+):predictLongRunning")
_OPERATION: Final = re.compile(r"/v1(?:beta)?/models/([a-z0-9.\-]+)/operations/([a-z0-9\-]{1,100})")
_FILE: Final = re.compile(r"/v1(?:beta)?/files/([a-z0-9]{32}):download")

VEO_MODELS: Final = {
    "veo-3.1-generate-preview": Family.VEO_PRO,
    "veo-3.1-fast-generate-preview": Family.VEO_FAST,
}

AspectRatio = Literal["16:9", "9:16"]


class InlineImage(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A picture within the request."""

    bytes_base64_encoded: Annotated[str, msgspec.Meta(min_length=4)]
    mime_type: Annotated[str, msgspec.Meta(pattern="^image/")]


class Instance(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What Veo is to show."""

    prompt: Prompt
    image: InlineImage | None = None
    last_frame: InlineImage | None = None


class Parameters(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """How."""

    sample_count: Literal[1] = 1
    aspect_ratio: AspectRatio = "16:9"
    duration_seconds: Literal[4, 6, 8] = 8
    resolution: Literal["720p", "1080p", "4k"] = "720p"
    negative_prompt: str | None = None
    person_generation: Literal["allow_all", "allow_adult", "dont_allow"] | None = None


class VeoBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send for Veo."""

    instances: Annotated[list[Instance], msgspec.Meta(min_length=1, max_length=1)]
    parameters: Parameters = msgspec.field(default_factory=Parameters)


class OmniFormat(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What an interaction is to answer with; how it is delivered is each service's own."""

    type: Literal["video"]
    delivery: str
    aspect_ratio: AspectRatio = "16:9"
    duration: Annotated[str, msgspec.Meta(pattern=r"^([3-9]|1[0-5])s$")] = "8s"
    resolution: Literal["360p", "720p", "1080p", "4k"] = "720p"


class VideoFormat(OmniFormat, frozen=True):
    """A video's URI."""

    delivery: Literal["uri"]


class TextContent(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """The prompt, beside files."""

    text: Prompt


class ImageContent(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="image"):
    """A picture within the request."""

    data: Annotated[str, msgspec.Meta(min_length=4)]
    mime_type: Annotated[str, msgspec.Meta(pattern="^image/")]


class VideoContent(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="video"):
    """A video within the request."""

    data: Annotated[str, msgspec.Meta(min_length=4)]
    mime_type: Annotated[str, msgspec.Meta(pattern="^video/")]


class UserInput(msgspec.Struct, forbid_unknown_fields=True):
    """A step of contents, as the official SDK sends them."""

    type: Literal["user_input"]
    content: list[TextContent | ImageContent | VideoContent]


class VideoConfig(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done with the files."""

    task: Literal["text_to_video", "image_to_video", "reference_to_video", "edit"]


class GenerationConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How to generate."""

    video_config: VideoConfig


class OmniBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a client may send for Omni: in the background, so that it is answered at once."""

    model: str
    input: Prompt | Annotated[list[UserInput], msgspec.Meta(min_length=1, max_length=1)]
    response_format: OmniFormat
    background: Literal[True]
    store: Literal[True] = True
    stream: Literal[False] = False


class InteractionBody(OmniBody, frozen=True):
    """What the Gemini API takes."""

    model: Literal["gemini-omni-1.2-flash", "gemini-omni-1.1-flash"]
    response_format: VideoFormat
    generation_config: GenerationConfig | None = None


SECONDS_MAX: Final = {
    "gemini-omni-1.2-flash": 15,
    "gemini-omni-1.1-flash": 10,
    "gemini-omni-1.1-flash-preview": 10,
}
"""Of a video. The last name is Vertex AI's."""

_read_veo = msgspec.json.Decoder(VeoBody).decode
_read_interaction = msgspec.json.Decoder(InteractionBody).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (400, "INVALID_ARGUMENT", "API_KEY_INVALID"),
    Refusal.KEY_DISABLED: (403, "PERMISSION_DENIED", "API_KEY_SERVICE_BLOCKED"),
    Refusal.BALANCE_EXHAUSTED: (400, "FAILED_PRECONDITION", "BILLING_DISABLED"),
    Refusal.PROMPT: (400, "INVALID_ARGUMENT", None),
    Refusal.MALFORMED: (400, "INVALID_ARGUMENT", None),
    Refusal.DUPLICATE: (409, "ALREADY_EXISTS", None),
}
_INTERNAL: Final = 13
_HELD_BACK: Final = "The prompt could not be submitted: it contains words that violate our usage guidelines."


class OmniWire(Wire):
    """What the services that have Omni answer alike."""

    def cancelled(self, call: CancelCall, came_to: Cancelling) -> SimResponse:
        """The interaction; 400 when it has ended or renders."""
        match came_to:
            case Cancelling.DONE:
                answer = {"id": call.task_id, "object": "interaction", "status": "cancelled"}
                return SimResponse(200, _write(answer))
            case Cancelling.NO_SUCH_TASK:
                return self.no_such_task(call.task_id, call.detail)
            case Cancelling.RUNNING | Cancelling.ENDED:
                return rpc_error(400, "FAILED_PRECONDITION", "The interaction is not cancellable.")


class GoogleWire(OmniWire):
    """An operation or an interaction for a submit and a poll; `{error: {code, message, status}}` else."""

    name = "google"
    outcomes = frozenset(Outcome) - {Outcome.VIOLATION}

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """The Gemini API's host and key."""
        return {"GEMINI_HOST": base_url, "GEMINI_API_KEY": api_key}

    def key(self, request: SimRequest) -> str | None:
        """`x-goog-api-key`."""
        return request.headers.get("x-goog-api-key")

    def match(self, method: str, path: str) -> bool:
        """POST for submits, GET for operations, interactions and files."""
        return method in ("GET", "POST") and _OURS.fullmatch(path) is not None

    def read(self, request: SimRequest) -> Call:
        """A submit, a cancel, a question for a task, or for its file."""
        if request.method == "POST":
            cancel = _CANCEL.fullmatch(request.path)
            return _submit_call(request) if cancel is None else CancelCall(cancel[1])
        file = _FILE.fullmatch(request.path)
        if file is not None and request.query == "alt=media":
            return FileCall(_task_id(file[1]))
        operation = _OPERATION.fullmatch(request.path)
        if operation is not None:
            return PollCall(operation[2], operation[1])
        interaction = _INTERACTION.fullmatch(request.path)
        if interaction is not None:
            return PollCall(interaction[1])
        return MalformedCall("expected an operation, an interaction or a file", submit=False)

    def video_path(self, task_id: str) -> str:
        """A generated file, whose name has letters and digits only."""
        return f"/v1beta/files/{task_id.replace('-', '')}:download?alt=media"

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """The operation's name, or the interaction."""
        if task.model in VEO_MODELS:
            return SimResponse(200, _write({"name": _name(task)}))
        return SimResponse(200, _write(interaction_of(task, "in_progress")))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """google.rpc's error, with its reason in the details."""
        status, word, why = _REFUSALS[refusal]
        text = _HELD_BACK if refusal is Refusal.PROMPT else reason
        return rpc_error(status, word, text, [] if why is None else [why])

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The operation, or the interaction, as it stands."""
        task = view.task
        is_veo = task.model in VEO_MODELS
        if view.outcome is Outcome.FORGOTTEN or detail != (task.model if is_veo else ""):
            return self.no_such_task(task.id, detail)
        video = {"type": "video", "mime_type": "video/mp4", "uri": view.video_url}
        return SimResponse(200, _write(_veo(view) if is_veo else omni_interaction(view, video)))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404 in the API's own words."""
        return rpc_error(404, "NOT_FOUND", f"Requested entity {task_id} was not found.")


def _submit_call(request: SimRequest) -> Call:
    try:
        if _START.fullmatch(request.path):
            return omni_call(_read_interaction(request.body))
        model = _SUBMIT.fullmatch(request.path)
        if model is None or model[1] not in VEO_MODELS:
            return MalformedCall("there is no such model", submit=True)
        body = _read_veo(request.body)
    except UNREADABLE as error:
        return MalformedCall(str(error), submit=True)
    return SubmitCall(
        model=model[1],
        family=VEO_MODELS[model[1]],
        prompt=body.instances[0].prompt,
        portrait=body.parameters.aspect_ratio == "9:16",
        duration_seconds=body.parameters.duration_seconds,
    )


def omni_call(wanted: OmniBody, *, is_inline: bool = False) -> Call:
    """An interaction that is asked for. Raises `ValidationError` for contents without one prompt."""
    seconds, seconds_max = int(wanted.response_format.duration[:-1]), SECONDS_MAX[wanted.model]
    if seconds > seconds_max:
        return MalformedCall(f"{wanted.model} makes at most {seconds_max} s", submit=True)
    return SubmitCall(
        model=wanted.model,
        family=Family.SORA,
        prompt=_prompt_of(wanted),
        portrait=wanted.response_format.aspect_ratio == "9:16",
        duration_seconds=seconds,
        resolution=wanted.response_format.resolution,
        is_inline=is_inline,
    )


def _prompt_of(wanted: OmniBody) -> str:
    """The one text among the contents. Raises `ValidationError` for none or several."""
    if isinstance(wanted.input, str):
        return wanted.input
    texts = [content.text for content in wanted.input[0].content if isinstance(content, TextContent)]
    if len(texts) != 1:
        raise msgspec.ValidationError(f"expected one text content, found {len(texts)}")
    return texts[0]


def _name(task: SimTask) -> str:
    return f"models/{task.model}/operations/{task.id}"


def _task_id(file_name: str) -> str:
    """The id of the task whose file this is: with its dashes again."""
    ends = (2, 10, 14, 18, 32)
    return "-".join(file_name[start:end] for start, end in zip((0, *ends), ends, strict=False))


def _veo(view: TaskView) -> dict[str, Any]:
    operation: dict[str, Any] = {"name": _name(view.task)}
    if view.status is not None:
        return operation | {"done": view.status}
    fate = view.task.fate
    match view.outcome:
        case None | Outcome.STUCK:
            return operation
        case Outcome.SUCCEEDED:
            videos: dict[str, Any] = {"generatedSamples": [{"video": {"uri": view.video_url}}]}
        case Outcome.SUCCEEDED_WITHOUT_URL:
            videos = {} if fate.wording & 1 else {"generatedSamples": []}
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION:
            videos = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [fate.text or _HELD_BACK]}
        case Outcome.FAILED_WITHOUT_REASON:
            return operation | {"done": True, "error": {"code": _INTERNAL}}
        case _:
            return operation | {"done": True, "error": {"code": _INTERNAL, "message": fate.text}}
    kind = "type.googleapis.com/google.ai.generativelanguage.v1beta.PredictLongRunningResponse"
    return operation | {"done": True, "response": {"@type": kind, "generateVideoResponse": videos}}


def interaction_of(task: SimTask, status: str) -> dict[str, Any]:
    """An interaction that says nothing yet but how it stands."""
    times = {"created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z"}
    return {"id": task.id, "object": "interaction", "model": task.model, "status": status, **times}


def omni_interaction(view: TaskView, video: Mapping[str, Any]) -> dict[str, Any]:
    """The interaction as it stands; `video` is the content of a success."""
    task, fate = view.task, view.task.fate
    asked = {"type": "user_input", "content": [{"type": "text", "text": task.prompt}]}
    match view.outcome:
        case None | Outcome.STUCK:
            answer = interaction_of(task, "queued" if view.waits else "in_progress")
        case Outcome.CANCELLED:
            answer = interaction_of(task, "cancelled")
        case Outcome.SUCCEEDED:
            answer = interaction_of(task, "completed")
            answer["steps"] = [asked, {"type": "model_output", "content": [video]}]
        case Outcome.SUCCEEDED_WITHOUT_URL:
            answer = interaction_of(task, "completed") | {"steps": [asked]}
        case Outcome.FAILED_WITHOUT_REASON:
            answer = interaction_of(task, "failed")
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION:
            answer = interaction_of(task, "failed") | {"errors": [{"message": fate.text or _HELD_BACK}]}
        case _:
            answer = interaction_of(task, "failed")
            answer["errors"] = [{"code": "internal_error", "message": fate.text}]
    return answer if view.status is None else answer | {"status": view.status}


def rpc_error(status: int, word: str, message: str, reasons: Sequence[str] = ()) -> SimResponse:
    """google.rpc's error, with these reasons in its details."""
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    details = [{"@type": kind, "reason": reason, "domain": "googleapis.com"} for reason in reasons]
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    return SimResponse(status, _write({"error": error | ({"details": details} if details else {})}))
