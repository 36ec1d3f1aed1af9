"""Vertex AI: Veo's operations, Omni's interactions, a bucket's objects, and tokens.

`exports` makes a service account of its own, whose key nobody else has; any that asks gets a token.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import unquote

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rushes.simulator.families.google import (
    SECONDS_MAX,
    OmniBody,
    OmniFormat,
    OmniWire,
    VideoConfig,
    interaction_of,
    omni_call,
    omni_interaction,
    rpc_error,
)
from rushes.simulator.families.grsai import Prompt
from rushes.simulator.families.wire import (
    UNREADABLE,
    Call,
    CancelCall,
    FileCall,
    MalformedCall,
    PollCall,
    Refusal,
    SubmitCall,
    TokenCall,
)
from rushes.simulator.fate import Family, Outcome
from rushes.simulator.files import video_of
from rushes.simulator.message import SimRequest, SimResponse
from rushes.simulator.work import SimTask, TaskView

TOKEN_PATH: Final = "/vertex/token"  # noqa: S105 - an address
BUCKET: Final = "rushes-simulator"
_PROJECT: Final = "/v1/projects/simulated/locations/us-central1"
_MODEL: Final = re.compile(
    re.escape(_PROJECT)
    + r"/publishers/google/models/([a-z0-9.\-]+):(predictLongRunning|fetchPredictOperation)"
)
_INTERACTIONS: Final = _PROJECT.replace("/v1/", "/v1beta1/") + "/interactions"
_INTERACTION: Final = re.compile(re.escape(_INTERACTIONS) + r"/([a-z0-9\-]{1,100})(/cancel)?")
_OBJECT: Final = re.compile(rf"/storage/v1/b/{BUCKET}/o/(.+)")
_MODELS: Final = {
    "veo-3.1-generate-001": Family.VEO_PRO,
    "veo-3.1-fast-generate-001": Family.VEO_FAST,
    "veo-3.1-lite-generate-001": Family.VEO_FAST,
}
_INTERNAL: Final = 13
_HELD_BACK: Final = "The prompt could not be submitted: it contains words that violate our usage guidelines."


Labels: TypeAlias = dict[
    Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_\-]{0,62}$")],
    Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_\-]{0,63}$")],
]


class Picture(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Its bytes."""

    bytes_base64_encoded: Annotated[str, msgspec.Meta(min_length=1)]
    mime_type: Literal["image/png", "image/jpeg"]


class Instance(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What Veo is to show."""

    prompt: Prompt
    image: Picture | None = None
    last_frame: Picture | None = None


class Parameters(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """How; results go to the bucket, or come inline."""

    storage_uri: Annotated[str, msgspec.Meta(pattern=r"^gs://")] | None = None
    sample_count: Literal[1, 2, 3, 4] = 1
    aspect_ratio: Literal["16:9", "9:16"] = "16:9"
    duration_seconds: Literal[4, 6, 8] = 8
    resolution: Literal["720p", "1080p", "4k"] = "720p"
    generate_audio: bool = True
    seed: int | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send; labels as Google has them."""

    instances: Annotated[list[Instance], msgspec.Meta(min_length=1, max_length=1)]
    parameters: Parameters
    labels: Labels = {}


class VertexVideoFormat(OmniFormat, frozen=True):
    """Where the video goes: into the answer, or to a bucket, which must be named."""

    delivery: Literal["uri", "inline"]
    gcs_uri: Annotated[str, msgspec.Meta(pattern=r"^gs://")] | None = None

    def __post_init__(self) -> None:
        if (self.delivery == "uri") != (self.gcs_uri is not None):
            raise ValueError("gcs_uri goes with the delivery by uri")


class VertexGenerationConfig(msgspec.Struct, forbid_unknown_fields=True):
    """How to generate."""

    video_config: VideoConfig | None = None
    seed: int | None = None


class VertexInteraction(OmniBody, frozen=True):
    """What a client may send for Omni here."""

    model: Literal["gemini-omni-1.2-flash", "gemini-omni-1.1-flash-preview"]
    response_format: VertexVideoFormat
    generation_config: VertexGenerationConfig | None = None
    labels: Labels = msgspec.field(default_factory=dict)


class Question(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which operation is asked about."""

    operation_name: str


_read_body = msgspec.json.Decoder(Body).decode
_read_interaction = msgspec.json.Decoder(VertexInteraction).decode
_read_question = msgspec.json.Decoder(Question).decode
_write = msgspec.json.Encoder().encode

_REFUSALS: Final = {
    Refusal.UNAUTHORISED: (401, "UNAUTHENTICATED"),
    Refusal.KEY_DISABLED: (403, "PERMISSION_DENIED"),
    Refusal.BALANCE_EXHAUSTED: (403, "PERMISSION_DENIED"),
}


class VertexWire(OmniWire):
    """An operation or an interaction for a submit and a poll; `{error: {code, message, status}}` else."""

    name = "vertex"

    @property
    def token_path(self) -> str:
        """Where tokens are granted."""
        return TOKEN_PATH

    def exports(self, base_url: str, api_key: str) -> Mapping[str, str]:
        """The host, the bucket, and a service account whose tokens are granted here."""
        account = {
            "type": "service_account",
            "project_id": "simulated",
            "private_key": _private_key(),
            "client_email": "rushes@simulated.example",
            "token_uri": base_url + TOKEN_PATH,
        }
        return {
            "VERTEX_HOST": base_url,
            "VERTEX_CREDENTIALS": b64encode(_write(account)).decode(),
            "VERTEX_STORAGE_URI": f"gs://{BUCKET}/out",
        }

    def match(self, method: str, path: str) -> bool:
        """POST for models, interactions and tokens, GET for the project, interactions and objects."""
        if path == _INTERACTIONS or _INTERACTION.fullmatch(path) is not None:
            return method in ("GET", "POST")
        if method == "POST":
            return path == TOKEN_PATH or _MODEL.fullmatch(path) is not None
        return method == "GET" and (path == _PROJECT or _OBJECT.fullmatch(path) is not None)

    def read(self, request: SimRequest) -> Call:
        """A submit, a question for an operation, a file, or a token."""
        if request.path == TOKEN_PATH:
            return TokenCall()
        if request.path.startswith(_INTERACTIONS):
            return _omni_call(request)
        if request.path == _PROJECT:
            return PollCall("")  # asked for free, to see whether the token serves: there is no such page
        held = _OBJECT.fullmatch(request.path)
        if held is not None:
            return FileCall(unquote(held[1]).split("/")[1]) if request.query == "alt=media" else _NO_OBJECT
        asked = _MODEL.fullmatch(request.path)
        if asked is None or asked[1] not in _MODELS:
            return MalformedCall("there is no such model", submit=asked is not None)
        try:
            if asked[2] == "fetchPredictOperation":
                model, _, task_id = _read_question(request.body).operation_name.rpartition("/operations/")
                return PollCall(task_id, model.rpartition("/")[2])
            body = _read_body(request.body)
        except UNREADABLE as error:
            return MalformedCall(str(error), submit=asked[2] == "predictLongRunning")
        return SubmitCall(
            model=asked[1],
            family=_MODELS[asked[1]],
            prompt=body.instances[0].prompt,
            portrait=body.parameters.aspect_ratio == "9:16",
            duration_seconds=body.parameters.duration_seconds,
            resolution=body.parameters.resolution,
            videos=body.parameters.sample_count,
            is_inline=body.parameters.storage_uri is None,
        )

    def accepted(self, task: SimTask, base_url: str) -> SimResponse:
        """The operation's name, or the interaction."""
        if task.model in SECONDS_MAX:
            return SimResponse(200, _write(interaction_of(task, "in_progress")))
        return SimResponse(200, _write({"name": _name(task)}))

    def refused(self, refusal: Refusal, reason: str) -> SimResponse:
        """google.rpc's error."""
        status, word = _REFUSALS.get(refusal, (400, "INVALID_ARGUMENT"))
        if reason == "there is no such model":
            status, word = 404, "NOT_FOUND"
        return rpc_error(status, word, _HELD_BACK if refusal is Refusal.PROMPT else reason)

    def result(self, view: TaskView, detail: str) -> SimResponse:
        """The operation, or the interaction, as it stands."""
        task = view.task
        is_omni = task.model in SECONDS_MAX
        if view.outcome is Outcome.FORGOTTEN or detail != ("" if is_omni else task.model):
            return self.no_such_task(task.id, detail)
        return SimResponse(200, _write(_omni(view) if is_omni else _operation(view)))

    def no_such_task(self, task_id: str, detail: str) -> SimResponse:
        """404 in Google's own words."""
        return rpc_error(404, "NOT_FOUND", f"The operation {task_id} was not found.")


_NO_OBJECT: Final = MalformedCall("expected alt=media", submit=False)


@cache
def _private_key() -> str:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _name(task: SimTask) -> str:
    return f"{_PROJECT.removeprefix('/v1/')}/publishers/google/models/{task.model}/operations/{task.id}"


def _operation(view: TaskView) -> dict[str, Any]:
    operation: dict[str, Any] = {"name": _name(view.task)}
    if view.status is not None:
        return operation | {"done": view.status}
    fate = view.task.fate
    match view.outcome:
        case None | Outcome.STUCK:
            return operation
        case Outcome.SUCCEEDED:
            uri = f"gs://{BUCKET}/out/{view.task.id}/sample_"
            samples = [f"{uri}{number}.mp4" for number in range(view.task.videos)]
            response: dict[str, Any] = {
                "videos": [{"gcsUri": sample, "mimeType": "video/mp4"} for sample in samples]
            }
            if view.task.is_inline:
                response["videos"] = [
                    {"bytesBase64Encoded": b64encode(video).decode(), "mimeType": "video/mp4"}
                    for video in (video_of(view.task, number=each) for each in range(view.task.videos))
                ]
        case Outcome.SUCCEEDED_WITHOUT_URL:
            response = {"videos": []} if fate.wording & 1 else {}
        case Outcome.OUTPUT_MODERATION | Outcome.INPUT_MODERATION:
            response = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [fate.text or _HELD_BACK]}
        case Outcome.FAILED_WITHOUT_REASON:
            return operation | {"done": True, "error": {"code": _INTERNAL}}
        case _:
            return operation | {"done": True, "error": {"code": _INTERNAL, "message": fate.text}}
    return operation | {"done": True, "response": response}


def _omni_call(request: SimRequest) -> Call:
    named = _INTERACTION.fullmatch(request.path)
    if named is not None and named[2]:
        return CancelCall(named[1])
    if named is not None:
        return PollCall(named[1])
    try:
        wanted = _read_interaction(request.body)
        return omni_call(wanted, is_inline=wanted.response_format.delivery == "inline")
    except UNREADABLE as error:
        return MalformedCall(str(error), submit=True)


def _omni(view: TaskView) -> dict[str, Any]:
    video: dict[str, Any] = {"type": "video", "mime_type": "video/mp4"}
    if view.outcome is Outcome.SUCCEEDED and view.task.is_inline:
        video["data"] = b64encode(video_of(view.task)).decode()
    else:
        video["uri"] = f"gs://{BUCKET}/out/{view.task.id}/sample_0.mp4"
    return omni_interaction(view, video)
