"""A provider for rushes in one file: the models of an invented service, Acme, and how to talk to it.

    submit   POST /jobs {model, text, seconds?}  -> {job}
    poll     GET  /jobs/{job}                    -> {job, state, percent?, video?: {href}, reason?}

`state` is one of `rendering`, `done`, `broken` and `forbidden` (moderated). A refusal has an HTTP status and
`{reason}`. The service does not exist; everything else here works as it would with one that does.
"""

from typing import Any, Literal, assert_never

import msgspec

from rushes.plugin import (
    NO_SUCH_ID,
    UNDECODABLE,
    Failed,
    FailureType,
    HttpProvider,
    Model,
    PollResult,
    Processing,
    Provider,
    ProviderConfig,
    Rejected,
    Response,
    SubmitOutcome,
    SubmitRequest,
    WholeNumber,
    accepted,
    failure_type_of_text,
    path_segment,
    progress_of,
    require_same_task,
    succeeded,
    words_in,
)

MODELS = [
    Model(
        name="acme-1",
        provider="acme",
        api_model="acme-1",
        credits=12,
        render_time_p50_seconds=60.0,
        soft_deadline_seconds=600.0,
        hard_deadline_seconds=3600.0,
        options={"duration": WholeNumber(1, 10)},
    )
]


class _Job(msgspec.Struct, frozen=True):
    job: str


class _Video(msgspec.Struct, frozen=True):
    href: str


class _State(msgspec.Struct, frozen=True):
    job: str
    state: Literal["rendering", "done", "broken", "forbidden"]
    percent: Any = None
    video: _Video | None = None
    reason: Any = None


class _Refusal(msgspec.Struct, frozen=True):
    reason: str


_OPTIONS = {"duration": "seconds"}
_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(_Job).decode
_decode_state = msgspec.json.Decoder(_State).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode


class AcmeProvider(HttpProvider):
    """One account at Acme."""

    name = "acme"

    def __init__(self, config: ProviderConfig) -> None:
        super().__init__(config, headers={"authorization": f"Bearer {config.api_key}"})

    async def submit(self, request: SubmitRequest) -> SubmitOutcome:
        """Send one attempt, once."""
        body = {"model": request.api_model, "text": request.prompt}
        for option, value in request.options.items():
            if option not in _OPTIONS:
                return Rejected(f"acme has no option {option}", FailureType.PARAM_ERROR)
            body[_OPTIONS[option]] = value
        try:
            data = _encode(body)
        except UnicodeEncodeError:
            return Rejected("the prompt is not valid text", FailureType.PARAM_ERROR)
        return await self.send_submit(f"{self.host}/jobs", data, lambda body: accepted(_decode_job(body).job))

    async def poll_remote_task(self, remote_task_id: str) -> PollResult:
        """Ask once."""
        try:
            url = f"{self.host}/jobs/{path_segment(remote_task_id)}"
        except ValueError:
            return NO_SUCH_ID
        return await self.send_poll("GET", url, None, lambda body: self._verdict(body, remote_task_id))

    def _verdict(self, body: bytes, asked: str) -> PollResult:
        state = _decode_state(body)
        require_same_task(asked, state.job)
        match state.state:
            case "rendering":
                return Processing(progress_of(state.percent))
            case "done":
                return succeeded(state.video.href if state.video else "", 100)
            case "broken":
                text = self.words.clean(words_in(state.reason) or "broken")
                return Failed(text, failure_type_of_text(text) or FailureType.MODEL_ERROR)
            case "forbidden":
                text = self.words.clean(words_in(state.reason) or "forbidden")
                return Failed(text, FailureType.OUTPUT_MODERATION)
            case other:
                assert_never(other)

    def complaint(self, body: bytes) -> str | None:
        """The `reason` of a refusal."""
        try:
            return _decode_refusal(body).reason
        except UNDECODABLE:
            return None

    def poll_refused(self, response: Response) -> PollResult:
        """A 404 in the service's own words: there is no such job."""
        reason = self.complaint(response.body) if response.status == 404 else None
        if reason:
            return Failed(self.words.clean(reason), FailureType.NOT_FOUND)
        return super().poll_refused(response)


def build(config: ProviderConfig) -> Provider:
    """The entry point of `rushes.providers`."""
    return AcmeProvider(config)
