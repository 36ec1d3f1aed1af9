"""Kling's own API: two generations beside each other, and a name of ours by which a lost submit is found.

    newer    POST /text-to-video/{model}, /image-to-video/{model}   -> {code, data: {id, status}}
             GET  /tasks?task_ids={id} or ?external_task_ids={key}  -> {code, data: [{id, status, …}]}
    older    POST /v1/videos/text2video, /v1/videos/image2video     -> {code, data: {task_id, task_status}}
             GET  /v1/videos/text2video/{id or key}                 -> {code, data: {task_id, task_status, …}}

A remote task id of the older generation says its kind (`text2video/…`): the path needs it. There is no
progress and no cancel. A key `ACCESS:SECRET` is the older form, for which each request carries a token that
we sign; any other is an API key. What went wrong is a number in `code`, whatever the HTTP status.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal, assert_never
from urllib.parse import quote

import msgspec

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    Accepted,
    Failed,
    FailureType,
    FindResult,
    NeverTaken,
    NoAnswer,
    NotSent,
    OutputKind,
    PollResult,
    Rejected,
    SubmitOutcome,
)
from rushes.providers.answers import (
    NO_SUCH_ID,
    QUEUED,
    RENDERING,
    UNDECODABLE,
    AboutAnotherTask,
    RemoteId,
    accepted,
    amount_in,
    complaint_of,
    failure_type_of_text,
    kind_of_file,
    require_same_task,
    succeeded,
    text_in,
    words_in,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.codes import Meaning, Meanings, coded_refusal
from rushes.providers.credentials import SignedToken, clock_hint
from rushes.providers.described import body_of, described_options
from rushes.providers.http.transport import Response
from rushes.providers.http_provider import HttpProvider
from rushes.providers.signatures import CallbackSignature

LINK_SECONDS: Final = 29 * 86_400.0
"""Kling clears videos after 30 days."""

COST_UNIT: Final = "units"

_KINDS: Final = ("text2video", "image2video")
_OLDER_ID: Final = re.compile(r"(text2video|image2video)/([A-Za-z0-9_\-]{1,200})")
_NEWER_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,200}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NO_SUCH_RESOURCE: Final = "1203"

_MEANINGS: Final[Meanings] = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), Meaning.KEY),
    **dict.fromkeys(("1100", "1101", "1102", "1103", "1304"), Meaning.ACCOUNT),
    **dict.fromkeys(("1200", "1201"), Meaning.PARAMETER),
    **dict.fromkeys(("1202", _NO_SUCH_RESOURCE), Meaning.MODEL),
    **dict.fromkeys(("1300", "1301"), Meaning.INPUT_MODERATION),
    **dict.fromkeys(("1302", "1303"), Meaning.BUSY),
}
_HINTS: Final = {
    "1101": "the account is in arrears",
    "1102": "the resource pack is used up or has expired",
    "1103": "the account is not entitled to this",
    "1304": "this machine's address is not allowed",
}


# --- the wire -------------------------------------------------------------------------------------------


class _Taken(msgspec.Struct, frozen=True):
    """The task that a submit made."""

    id: RemoteId


class _OlderTaken(msgspec.Struct, frozen=True):
    """The same of the older generation."""

    task_id: RemoteId


class _Submitted(msgspec.Struct, frozen=True):
    data: msgspec.Raw
    code: Any = 0


class _Output(msgspec.Struct, frozen=True):
    type: str
    url: msgspec.Raw = msgspec.Raw(b"null")


class _Task(msgspec.Struct, frozen=True):
    """A task of the newer generation."""

    id: RemoteId
    status: Literal["submitted", "processing", "succeeded", "failed"]
    outputs: msgspec.Raw = msgspec.Raw(b"null")
    external_id: Any = None
    message: Any = None
    billing: Any = None


class _Tasks(msgspec.Struct, frozen=True):
    data: list[_Task]
    code: int


class _Video(msgspec.Struct, frozen=True):
    url: str | None = None


class _Result(msgspec.Struct, frozen=True):
    videos: list[msgspec.Raw] | None = None


class _OlderTask(msgspec.Struct, frozen=True):
    """A task of the older generation, which writes `succeed`."""

    task_id: RemoteId
    task_status: Literal["submitted", "processing", "succeed", "failed"]
    task_result: msgspec.Raw = msgspec.Raw(b"null")
    task_info: Any = None
    task_status_msg: Any = None
    final_unit_deduction: Any = None


class _OlderAnswer(msgspec.Struct, frozen=True):
    data: _OlderTask
    code: int


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_taken = msgspec.json.Decoder(_Taken).decode
_decode_older_taken = msgspec.json.Decoder(_OlderTaken).decode
_decode_tasks = msgspec.json.Decoder(_Tasks).decode
_decode_outputs = msgspec.json.Decoder(list[_Output] | None).decode
_decode_older = msgspec.json.Decoder(_OlderAnswer).decode
_decode_result = msgspec.json.Decoder(_Result | None).decode
_decode_video = msgspec.json.Decoder(_Video).decode
_decode_url = msgspec.json.Decoder(str | None).decode


def is_older(api_model: str) -> bool:
    """Whether the model is one of the older generation, whose names start with `kling-v`."""
    return api_model.startswith("kling-v")


def _newer_body(request: SubmitRequest) -> bytes:
    body = described_options(request)
    frames = request.inputs.get("first_frame", ())
    if frames:
        body.get("settings", {}).pop("aspect_ratio", None)  # the picture has its own
        prompt: dict[str, Any] = {"type": "prompt", "text": request.prompt}
        body["contents"] = [prompt, {"type": "first_frame", "url": frames[0].address}]
    else:
        body["prompt"] = request.prompt
    named = {"external_task_id": request.submit_key, "callback_url": request.callback_url}
    body["options"] = {name: value for name, value in named.items() if value}
    return body_of(body)


def _older_body(request: SubmitRequest) -> bytes:
    body = {"model_name": request.api_model, "prompt": request.prompt, **described_options(request)}
    frames = request.inputs.get("first_frame", ())
    if frames:
        body.pop("aspect_ratio", None)
        body["image"] = frames[0].url or frames[0].base64
    named = {"external_task_id": request.submit_key, "callback_url": request.callback_url}
    return body_of(body | {name: value for name, value in named.items() if value})


# --- the provider ---------------------------------------------------------------------------------------


class KlingProvider(HttpProvider):
    """One account of Kling, with an API key or with an access key and a secret key."""

    name = "kling"

    def __init__(self, config: ProviderConfig) -> None:
        access_key, colon, secret_key = config.api_key.partition(":")
        is_signed = bool(access_key and colon and secret_key)
        self._now = config.now
        super().__init__(
            config,
            headers={} if is_signed else {"authorization": f"Bearer {config.api_key}"},
            link_seconds=LINK_SECONDS,
            credentials=(
                (lambda words: SignedToken(access_key, secret_key, config.now, words)) if is_signed else None
            ),
        )
        self.words.keep(secret_key)
        self._signature = CallbackSignature(config.extra.get("webhook_secret", ""), "KLING_WEBHOOK_SECRET")

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once, with our key; a first frame makes it an image-to-video task."""
        has_image = bool(request.inputs.get("first_frame"))
        try:
            if is_older(request.api_model):
                kind = _KINDS[has_image]
                url, body = f"{self.host}/v1/videos/{kind}", _older_body(request)
                return await self.send_submit(url, body, lambda answer: self._taken(answer, kind))
            kind = "image-to-video" if has_image else "text-to-video"
            url, body = f"{self.host}/{kind}/{quote(request.api_model, safe='')}", _newer_body(request)
        except ValueError as error:
            return Rejected(str(error), FailureType.PARAM_ERROR)
        return await self.send_submit(url, body, lambda answer: self._taken(answer, None))

    def _taken(self, body: bytes, kind: str | None) -> SubmitOutcome:
        submitted = _decode_submitted(body)
        if kind is None:
            return accepted(_decode_taken(submitted.data).id)
        named = str(_decode_older_taken(submitted.data).task_id)
        return accepted(f"{kind}/{named}" if named else "")

    def submit_refused(self, response: Response) -> SubmitOutcome:
        """Kling's code says what it is: an account without money is answered 429, as a full queue is."""
        refused = coded_refusal(response, _MEANINGS, self.words, _HINTS)
        outcome = super().submit_refused(response) if refused is None else refused
        hint = clock_hint(response, self._now()) if self._credentials is not None else ""
        if hint and isinstance(outcome, NotSent) and outcome.key_refused:
            return NotSent(outcome.reason + hint, pauses_provider=True, key_refused=True)
        return outcome

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once."""
        older = _OLDER_ID.fullmatch(remote_task_id)
        if older is not None:
            url = f"{self.host}/v1/videos/{older[1]}/{older[2]}"
            return await self.send_poll("GET", url, None, lambda body: self._older_verdict(body, older[2]))
        if _NEWER_ID.fullmatch(remote_task_id):
            url = f"{self.host}/tasks?task_ids={remote_task_id}"
            return await self.send_poll("GET", url, None, lambda body: self._verdict(body, remote_task_id))
        return NO_SUCH_ID

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 with Kling's code for it is a task that is not there."""
        said = complaint_of(response.body) if response.status == 404 else None
        if said is None or said.code != _NO_SUCH_RESOURCE:
            return self.no_answer(response)
        return Failed(self.words.clean(said.text), FailureType.NOT_FOUND)

    def _verdict(self, body: bytes, asked: str) -> PollResult:
        answer = _decode_tasks(body)
        if answer.code != 0:
            return NoAnswer(f"code {answer.code}", 200)
        if not answer.data:
            return NoAnswer("the list of tasks is empty", 200)
        task = answer.data[0]
        require_same_task(asked, task.id)
        cost, unit = _billed(task.billing)
        match task.status:
            case "submitted":
                return QUEUED
            case "processing":
                return RENDERING
            case "succeeded":
                outputs = _decode_outputs(task.outputs) or []
                videos = [output for output in outputs if output.type == "video"]
                if outputs and not videos:
                    return NoAnswer("it has succeeded, with nothing that is known to be a video", 200)
                url = (_decode_url(videos[0].url) if videos else None) or ""
                others = [output for output in outputs if output is not videos[0]]
                further = [(kind_of_file(output.type), text_in(output.url)) for output in others]
                return succeeded(url, 100, cost, unit, further)
            case "failed":
                return self._failed(words_in(task.message), cost, unit)
            case other:
                assert_never(other)

    def _older_verdict(self, body: bytes, asked: str) -> PollResult:
        answer = _decode_older(body)
        task = answer.data
        if answer.code != 0:
            return NoAnswer(f"code {answer.code}", 200)
        require_same_task(asked, task.task_id)
        cost = amount_in(task.final_unit_deduction)
        unit = None if cost is None else COST_UNIT
        match task.task_status:
            case "submitted":
                return QUEUED
            case "processing":
                return RENDERING
            case "succeed":
                result = _decode_result(task.task_result)
                videos = (result.videos if result else None) or []
                url = (_decode_video(videos[0]).url if videos else None) or ""
                further = [(OutputKind.VIDEO, text_in(video, "url")) for video in videos[1:]]
                return succeeded(url, 100, cost, unit, further)
            case "failed":
                return self._failed(words_in(task.task_status_msg), cost, unit)
            case other:
                assert_never(other)

    def _failed(self, said: str | None, cost: float | None, unit: str | None) -> Failed:
        message = self.words.clean(said or REMOTE_TASK_FAILED)
        return Failed(message, failure_type_of_text(message) or FailureType.MODEL_ERROR, cost, unit)

    # --- by our own key -----------------------------------------------------------------------------------

    async def find(self, submit_key: str) -> FindResult:
        """The task that Kling has by our key, of either generation."""
        if not _NEWER_ID.fullmatch(submit_key):
            return NoAnswer("the submit key cannot be asked about")
        url = f"{self.host}/tasks?external_task_ids={submit_key}"
        found = await self.send_question("GET", url, None, lambda answer: self._found(answer, submit_key))
        for kind in _KINDS:
            if not isinstance(found, NeverTaken):
                break
            url = f"{self.host}/v1/videos/{kind}/{submit_key}"
            read = partial(self._older_found, asked=submit_key, kind=kind)
            found = await self.send_question("GET", url, None, read)
        return found

    def _found(self, response: Response, asked: str) -> FindResult:
        if response.status != 200:
            return self.no_answer(response)
        answer = _decode_tasks(response.body)
        if answer.code != 0:
            return NoAnswer(f"code {answer.code}", 200)
        if not answer.data:
            return NeverTaken()
        return _named(answer.data[0].id, answer.data[0].external_id, asked)

    def _older_found(self, response: Response, *, asked: str, kind: str) -> FindResult:
        if isinstance(self.poll_refused(response), Failed):
            return NeverTaken()
        if response.status != 200:
            return self.no_answer(response)
        answer = _decode_older(response.body)
        if answer.code != 0:
            return NoAnswer(f"code {answer.code}", 200)
        info = answer.data.task_info
        named = info.get("external_task_id") if isinstance(info, dict) else None
        if not str(answer.data.task_id):
            return NoAnswer("found without a usable id", 200)
        return _named(f"{kind}/{answer.data.task_id}", named, asked)

    def callback_is_genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the service signed it, where its secret is set."""
        return self._signature.is_genuine(body, headers)

    def remote_task_id_of_callback(self, body: bytes) -> str | None:
        """The id of a task of the newer generation; the older one's callbacks do not say its kind."""
        try:
            named = str(msgspec.json.decode(body, type=_Task).id)
        except UNDECODABLE:
            return None
        return named if _NEWER_ID.fullmatch(named) else None


def _named(remote_task_id: RemoteId, key: object, asked: str) -> FindResult:
    """Raises `AboutAnotherTask` when the task that was found does not name the key."""
    if key != asked:
        raise AboutAnotherTask
    found = accepted(remote_task_id)
    return found if isinstance(found, Accepted) else NoAnswer(found.reason, 200)


def _billed(billing: object) -> tuple[float | None, str | None]:
    """What was charged: money of one currency, or units; nothing where the two are mixed."""
    amounts: dict[str, float] = {}
    for entry in billing if isinstance(billing, list) else []:
        match entry:
            case {"charge_type": "cash", "amount": amount, "currency": str(unit)}:
                if not _CURRENCY.fullmatch(unit):
                    return None, None
            case {"charge_type": "unit", "amount": amount}:
                unit = COST_UNIT
            case _:
                return None, None
        found = amount_in(amount)
        if found is None:
            return None, None
        amounts[unit] = amounts.get(unit, 0.0) + found
    if len(amounts) != 1:
        return None, None
    ((unit, total),) = amounts.items()
    return round(total, 6), unit


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return KlingProvider(config)
