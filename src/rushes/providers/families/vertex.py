"""Veo and Gemini Omni on Vertex AI, with a service account whose tokens rushes fetches and renews.

    Veo      POST /v1/{place}/publishers/google/models/{m}:predictLongRunning     -> {name}
             POST /v1/{place}/publishers/google/models/{m}:fetchPredictOperation  -> {name, done?, error?, …}
    Omni     POST /v1beta1/{place}/interactions {model, input, …}  -> {id, status}
             GET  /v1beta1/{place}/interactions/{id}               -> {id, status, steps?, errors?}
             POST /v1beta1/{place}/interactions/{id}/cancel        -> {id, status}, of one that has not ended
    file     GET  {storage}/storage/v1/b/{bucket}/o/{object}?alt=media, with a token

`{place}` is `projects/{p}/locations/{l}`: the project of the service account, the location of the host.
Results go to a bucket of the operator's, or come in the answer that says that they are done. There is no
progress and no callback, and Veo has no cancel. Checked against google-genai 3.6.1.
"""

import asyncio
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from rushes.domain.errors import SettingsError
from rushes.domain.task import (
    SUCCEEDED_WITHOUT_VIDEO_URL,
    CancelRefused,
    CancelResult,
    Failed,
    FailureType,
    NoAnswer,
    OutputKind,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    RENDERING,
    UNDECODABLE,
    accepted,
    complaint_of,
    require_same_task,
    succeeded,
    text_in,
    words_in,
)
from rushes.providers.base import (
    INLINE_ANSWER_BYTES_MAX,
    InlineFile,
    Provider,
    ProviderConfig,
    SubmitRequest,
    origin_of,
)
from rushes.providers.credentials import FetchedToken, ServiceAccount
from rushes.providers.described import body_of, described_options
from rushes.providers.families.google_interactions import (
    cancel_if_queued,
    failure,
    inline,
    interaction_body,
    interaction_in,
    interaction_of,
    is_text,
    last_video,
    started,
    verdict_on,
)
from rushes.providers.http.transport import TOO_LARGE, Response, answers_up_to
from rushes.providers.http_provider import HttpProvider

OMNI: Final = "gemini-omni"
"""How the names of Omni's models start."""

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
STORAGE_HOST: Final = "https://storage.googleapis.com"
LINK_SECONDS: Final = 7 * 86_400.0
"""An object stays until the bucket's own rules remove it; rushes counts on a week."""

KEY_FILE_BYTES_MAX: Final = 65_536

LARGE_ANSWERS_AT_ONCE_MAX: Final = 4
"""Answers with videos in them that are read at the same time."""

_OPERATION: Final = re.compile(
    r"(projects/[\w.:\-]+/locations/[a-z0-9\-]+/publishers/google/models/[a-z0-9.\-]+)/operations/[\w\-]+",
    re.ASCII,
)
_INTERACTION: Final = re.compile(r"projects/[\w.:\-]+/locations/[a-z0-9\-]+/interactions/([\w\-]+)", re.ASCII)
_INLINE: Final = re.compile(
    rf"/(v1(?:beta1)?)/({_OPERATION.pattern}|{_INTERACTION.pattern})#video-(\d{{1,2}})", re.ASCII
)
"""What follows the host in our own address of a video that is in an answer."""

_REGIONAL: Final = re.compile(r"([a-z0-9\-]+)-aiplatform\.googleapis\.com")
_NOWHERE: Final = "the video's address is none of Cloud Storage"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


# --- the wire -------------------------------------------------------------------------------------------


class _Started(msgspec.Struct, frozen=True):
    name: str


class _Video(msgspec.Struct, frozen=True, rename="camel"):
    gcs_uri: str | None = None
    bytes_base64_encoded: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def is_inline(self) -> bool:
        """Whether its bytes stand in the answer."""
        return is_text(self.bytes_base64_encoded)


class _Response(msgspec.Struct, frozen=True, rename="camel"):
    videos: list[msgspec.Raw] | None = None
    rai_media_filtered_count: Any = None
    rai_media_filtered_reasons: Any = None


class _Error(msgspec.Struct, frozen=True):
    status: str
    message: Any = None


class _Refused(msgspec.Struct, frozen=True):
    error: _Error


class _Operation(msgspec.Struct, frozen=True):
    """Name and `done` are strict, and so is the video of a success."""

    name: str
    done: bool = False
    error: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")


_decode_started = msgspec.json.Decoder(_Started).decode
_decode_operation = msgspec.json.Decoder(_Operation).decode
_decode_response = msgspec.json.Decoder(_Response | None).decode
_decode_video = msgspec.json.Decoder(_Video).decode
_decode_refused = msgspec.json.Decoder(_Refused).decode
_decode_account = msgspec.json.Decoder(ServiceAccount).decode


def read_account(key: str) -> ServiceAccount:
    """A service account's key: the path of its file, or the file's Base64. Raises `SettingsError`."""
    try:
        if key.startswith(("eyJ", "ew")):  # how the Base64 of JSON starts
            data = b64decode(key, validate=True)
        else:
            with Path(key).open("rb") as file:
                data = file.read(KEY_FILE_BYTES_MAX)
        account = _decode_account(data)
        account.rsa_key()
    except OSError as error:
        raise SettingsError(f"VERTEX_CREDENTIALS: the key file cannot be read: {error.strerror}") from None
    except UNDECODABLE:
        raise SettingsError("VERTEX_CREDENTIALS: no key file of a service account") from None
    except ValueError as error:
        raise SettingsError(f"VERTEX_CREDENTIALS: {error}") from None
    if not account.project_id or not _is_safe(account.token_uri):
        raise SettingsError("VERTEX_CREDENTIALS: the key file has no project_id, or no https token_uri")
    return account


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


# --- the provider ---------------------------------------------------------------------------------------


class VertexProvider(HttpProvider):
    """One project in one location. A remote task id is the operation's name."""

    name = "vertex"

    def __init__(self, config: ProviderConfig) -> None:
        account = read_account(config.api_key)
        super().__init__(
            config,
            headers={},
            link_seconds=LINK_SECONDS,
            credentials=lambda words: FetchedToken(
                account,
                scope=SCOPE,
                transport=config.transport,
                timeout_seconds=config.timeout_seconds,
                now=config.now,
                words=words,
            ),
        )
        self.words.keep(account.private_key)
        host = urlsplit(self.host).hostname or ""
        regional = _REGIONAL.fullmatch(host)
        elsewhere = "global" if host == "aiplatform.googleapis.com" else "us-central1"
        location = regional[1] if regional else elsewhere
        self._place = f"projects/{account.project_id}/locations/{location}"
        self._storage_uri = config.extra.get("storage_uri", "")
        self._storage = self.host if host in _LOOPBACK else STORAGE_HOST
        self.result_files = replace(
            self.result_files,
            trusted_origin=origin_of(self._storage),
            fresh_headers=self._file_headers(),
            inline=self._inline_file,
        )
        self._large_answers = asyncio.Semaphore(LARGE_ANSWERS_AT_ONCE_MAX)

    def _file_headers(self) -> Callable[[], Awaitable[Mapping[str, str]]] | None:
        return None if self._credentials is None else self._credentials.headers

    async def check(self) -> str | None:
        """Ask for the project's location, which is free."""
        place = f"{self.host}/v1/{self._place}"
        found = await self.send_question("GET", place, None, lambda answer: answer)
        if isinstance(found, NoAnswer):
            return found.error
        if found.status in (200, 404):  # some hosts have no such page, and tell so to those who may ask
            return None
        said = complaint_of(found.body)
        return self.words.clean(f"HTTP {found.status}: {said.text}" if said else f"HTTP {found.status}")

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        is_omni = request.api_model.startswith(OMNI)
        try:
            body = self._omni_body(request) if is_omni else self._veo_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        if is_omni:
            url = f"{self.host}/v1beta1/{self._place}/interactions"
            return await self.send_submit(url, body, self._interaction)
        model = quote(request.api_model, safe="")
        url = f"{self.host}/v1/{self._place}/publishers/google/models/{model}:predictLongRunning"
        return await self.send_submit(url, body, _operation)

    def _veo_body(self, request: SubmitRequest) -> bytes:
        instance: dict[str, Any] = {"prompt": request.prompt}
        for role, files in request.inputs.items():
            if role not in ("first_frame", "last_frame"):
                raise ValueError(f"{request.api_model} has no input {role}")
            content_type, data = inline(files[0], request.api_model)
            name = "image" if role == "first_frame" else "lastFrame"
            instance[name] = {"bytesBase64Encoded": data, "mimeType": content_type}
        parameters = described_options(request).pop("parameters", {})
        parameters = {"sampleCount": 1, **parameters}
        if self._storage_uri:
            parameters["storageUri"] = self._storage_uri
        return body_of({"instances": [instance], "parameters": parameters, **_labels(request)})

    def _omni_body(self, request: SubmitRequest) -> bytes:
        to_bucket = {"delivery": "uri", "gcs_uri": self._storage_uri}
        delivery = to_bucket if self._storage_uri else {"delivery": "inline"}
        return interaction_body(request, delivery, **_labels(request))

    def _interaction(self, body: bytes) -> SubmitOutcome:
        interaction_id = started(body)
        return accepted(f"{self._place}/interactions/{interaction_id}" if interaction_id else "")

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """A 404 in Google's own words is the model's; all else is what its status says."""
        missing = _missing(response)
        if missing is not None:
            return Rejected(self.words.clean(missing), FailureType.PARAM_ERROR)
        return super().submit_refused(response)

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once."""
        asked = self._question(remote_task_id)
        if asked is None:
            return NO_SUCH_ID
        url, body = asked
        verdict = self._veo_verdict if body else self._omni_verdict

        async def ask() -> PollResult:
            method = "POST" if body else "GET"
            return await self.send_poll(method, url, body, lambda answer: verdict(answer, remote_task_id))

        result = await ask()
        if isinstance(result, NoAnswer) and result.error.startswith(TOO_LARGE):
            async with self._large_answers:  # it is done, and its video is in the answer
                with answers_up_to(INLINE_ANSWER_BYTES_MAX):
                    result = await ask()
        return result

    def _question(self, remote_task_id: str) -> tuple[str, bytes | None] | None:
        """Where an operation or an interaction is asked for, by POST with a body or else by GET."""
        operation = _OPERATION.fullmatch(remote_task_id)
        if operation is not None:
            url = f"{self.host}/v1/{operation[1]}:fetchPredictOperation"
            return url, body_of({"operationName": remote_task_id})
        is_interaction = _INTERACTION.fullmatch(remote_task_id) is not None
        return (f"{self.host}/v1beta1/{remote_task_id}", None) if is_interaction else None

    async def cancel(self, remote_task_id: str) -> CancelResult:
        """Cancel an interaction that is queued. Veo's operations cannot be cancelled."""
        found = _INTERACTION.fullmatch(remote_task_id)
        if found is None:
            return CancelRefused("only an interaction can be cancelled")
        return await cancel_if_queued(self, f"{self.host}/v1beta1/{remote_task_id}", found[1])

    def _inline_file(self, address: str) -> InlineFile | None:
        """How a video is fetched that is in the answer about its task."""
        named = _INLINE.fullmatch(address.removeprefix(self.host))
        asked = None if named is None else self._question(named[2])
        if named is None or asked is None:
            return None
        number, (url, question) = int(named[named.lastindex or 0]), asked

        def read(body: bytes) -> bytes:
            data = _data_in_operation(body, number) if question else _data_in_interaction(body)
            return b64decode(data, validate=True)

        return InlineFile(url, read, question)

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 in Google's own words is an operation that is not there."""
        missing = _missing(response)
        if missing is None:
            return self.no_answer(response)
        return Failed(self.words.clean(missing), FailureType.NOT_FOUND)

    def _omni_verdict(self, body: bytes, asked: str) -> PollResult:
        interaction = interaction_in(body, asked.rpartition("/")[2])
        video = last_video(interaction) if interaction.status == "completed" else None
        if video is None:
            return verdict_on(interaction, self.words, lambda _video: "")
        in_answer = f"{self.host}/v1beta1/{asked}#video-0" if video.is_inline else ""
        address = self._address_of(video.address) or in_answer
        if video.address and not address:
            return NoAnswer(_NOWHERE, 200)
        return succeeded(address, 100)

    def _veo_verdict(self, body: bytes, asked: str) -> PollResult:
        operation = _decode_operation(body)
        require_same_task(asked, operation.name)
        if not operation.done:
            return RENDERING
        if operation.error is not None:
            code = operation.error.get("code") if isinstance(operation.error, dict) else None
            return failure(words_in(operation.error), self.words, code)
        response = _decode_response(operation.response)
        if response is None:
            return Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
        if response.rai_media_filtered_count or response.rai_media_filtered_reasons:
            reasons = words_in(response.rai_media_filtered_reasons)
            message = self.words.clean(reasons or "the video was held back by moderation")
            return Failed(message, FailureType.OUTPUT_MODERATION)
        first, *others = response.videos or [msgspec.Raw(b"{}")]
        video = _decode_video(first)
        uri = video.gcs_uri or ""
        address = self._address_of(uri) or self._address_in_answer(asked, 0, is_there=video.is_inline)
        if response.videos and not address:
            return NoAnswer(_NOWHERE, 200)
        further = [
            (
                OutputKind.VIDEO,
                self._address_of(text_in(each, "gcsUri") or "")
                or self._address_in_answer(asked, number, is_there=_is_inline(each)),
            )
            for number, each in enumerate(others, 1)
        ]
        return succeeded(address, 100, further_files=further)

    def _address_in_answer(self, operation: str, number: int, *, is_there: bool) -> str:
        """Our own address of a video that is in the operation's answer; empty where there is none."""
        return f"{self.host}/v1/{operation}#video-{number}" if is_there else ""

    def _address_of(self, uri: str) -> str:
        """Where an object of Cloud Storage is fetched; empty for what is no `gs://` address."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        if not uri.startswith("gs://") or not bucket or not name:
            return ""
        return f"{self._storage}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}?alt=media"


def _is_inline(video: msgspec.Raw) -> bool:
    """Whether its bytes stand in the answer; what is odd there is no file, and costs no verdict."""
    try:
        return _decode_video(video).is_inline
    except UNDECODABLE:
        return False


def _data_in_operation(body: bytes, number: int) -> str:
    """The Base64 of the operation's video of that number. Raises `ValueError` when there is none."""
    response = _decode_response(_decode_operation(body).response)
    videos = (response.videos if response else None) or []
    if number >= len(videos):
        raise ValueError("there is no such video")
    return text_in(videos[number], "bytesBase64Encoded") or ""


def _data_in_interaction(body: bytes) -> str:
    """The Base64 of the interaction's video. Raises `ValueError` when there is none."""
    video = last_video(interaction_of(body))
    if video is None:
        raise ValueError("there is no video")
    return video.base64


def _labels(request: SubmitRequest) -> dict[str, Any]:
    """Google takes labels in small letters."""
    return {"labels": {"rushes-submit": request.submit_key.lower()}} if request.submit_key else {}


def _missing(response: Response) -> str | None:
    """What a 404 in Google's own words says; None for what anybody else may have written."""
    try:
        error = _decode_refused(response.body).error
    except UNDECODABLE:
        return None
    is_own = response.status == 404 and error.status == "NOT_FOUND"
    return (words_in(error.message) or "HTTP 404") if is_own else None


def _operation(body: bytes) -> SubmitOutcome:
    name = _decode_started(body).name
    return accepted(name if _OPERATION.fullmatch(name) else "")


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`. Raises `SettingsError` for a key that cannot be used."""
    return VertexProvider(config)
