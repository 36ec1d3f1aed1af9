"""What a submit sends and what each answer to it means, on both generations, over real HTTP."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.task import (
    Accepted,
    FailureType,
    NotSent,
    Rejected,
    SubmitOutcome,
    Throttled,
    Unknown,
)
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest, origin_of
from rushes.providers.families import grsai, grsai_unified
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Response
from rushes.providers.inputs import InputFile
from tests.providers.local_http import HANG_SECONDS, Exchange, http1_server, server_tls
from tests.providers.service import request_of

KEY = "sk-canary-31c9d0"
CALLBACK = "https://rushes.example/callbacks/grsai/token"
Answer = Callable[[Exchange], Awaitable[None]]
Build = Callable[[ProviderConfig], Provider]

SORA = SubmitRequest(api_model="sora-2", prompt='雨夜的城市 "neon"\n')
VEO = SubmitRequest(api_model="veo3.1-fast", prompt="a lighthouse")
MINIMAX = SubmitRequest(api_model="minimax-h3", prompt="a fox")

FAMILIES = [
    pytest.param(grsai.build, SORA, id="sora"),
    pytest.param(grsai.build, VEO, id="veo"),
    pytest.param(grsai_unified.build, MINIMAX, id="unified"),
]
both_generations_and_families = pytest.mark.parametrize(("build", "request_"), FAMILIES)


def submit_to(
    answer: Answer, build: Build, request: SubmitRequest, *, timeout_seconds: float = 8.0
) -> tuple[SubmitOutcome, list[Exchange]]:
    """The outcome of one submit, and what the server read."""

    async def test() -> tuple[SubmitOutcome, list[Exchange]]:
        async with asyncio.timeout(20), http1_server(answer) as server:
            transport = HttpTransport(connect_timeout_seconds=8)
            config = ProviderConfig(
                host=server.url + "/", api_key=KEY, transport=transport, timeout_seconds=timeout_seconds
            )
            outcome = await build(config).submit(request)
            await asyncio.sleep(0.01)
            await transport.close()
            return outcome, server.requests

    return asyncio.run(test())


def answering(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(status, body, headers)

    return answer


def accepting(remote_task_id: str = "14-ab") -> Answer:
    """An answer that either generation reads as accepted."""
    return answering(
        200, json.dumps({"code": 0, "id": remote_task_id, "data": {"id": remote_task_id}}).encode()
    )


def outcome_of(
    build: Build, request: SubmitRequest, status: int, body: bytes, **headers: str
) -> SubmitOutcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    outcome, requests = submit_to(answering(status, body, named), build, request)
    assert len(requests) == 1
    return outcome


# --- what is sent -----------------------------------------------------------------------------------------


def sent(build: Build, request: SubmitRequest) -> tuple[str, dict[str, Any]]:
    outcome, (exchange,) = submit_to(accepting(), build, request)
    assert outcome == Accepted("14-ab")
    assert exchange.method == "POST"
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.headers["content-type"] == "application/json"
    return exchange.path, json.loads(exchange.body)


@pytest.mark.parametrize(
    ("callback_url", "web_hook"), [(None, "-1"), (CALLBACK, CALLBACK)], ids=["polling", "callback"]
)
@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (SORA, "/v1/video/sora-video"),
        *(
            (SubmitRequest(model, "p"), "/v1/video/veo")
            for model in ("veo3.1-fast", "veo3.1-pro", "veo3-fast", "veo3-pro")
        ),
    ],
    ids=lambda value: value.api_model if isinstance(value, SubmitRequest) else None,
)
def test_generation_1_is_told_where_to_call_back_or_that_we_poll(
    request_: SubmitRequest, path: str, callback_url: str | None, web_hook: str
) -> None:
    request = SubmitRequest(request_.api_model, request_.prompt, callback_url=callback_url)
    assert sent(grsai.build, request) == (
        path,
        {"model": request.api_model, "prompt": request.prompt, "webHook": web_hook},
    )


@pytest.mark.parametrize("callback_url", [None, CALLBACK])
def test_generation_2_polls_whether_or_not_there_is_a_callback_url(callback_url: str | None) -> None:
    request = SubmitRequest("minimax-h3", "a fox", callback_url=callback_url)
    assert sent(grsai_unified.build, request) == (
        "/v1/api/generate",
        {"model": "minimax-h3", "prompt": "a fox", "replyType": "async"},
    )


IMAGE, OTHER = "https://i.example/1.png", "https://i.example/2.png"


@pytest.mark.parametrize(
    ("build", "api_model", "options", "fields"),
    [
        (
            grsai.build,
            "sora-2",
            {"aspect_ratio": "9:16", "duration": 15, "size": "large", "references": (InputFile(IMAGE),)},
            {"aspectRatio": "9:16", "duration": 15, "size": "large", "url": IMAGE},
        ),
        (
            grsai.build,
            "veo3.1-pro",
            {"aspect_ratio": "16:9", "first_frame": (InputFile(IMAGE),), "last_frame": (InputFile(OTHER),)},
            {"aspectRatio": "16:9", "firstFrameUrl": IMAGE, "lastFrameUrl": OTHER},
        ),
        (
            grsai.build,
            "veo3.1-fast",
            {"references": (InputFile(IMAGE), InputFile(OTHER))},
            {"urls": [IMAGE, OTHER]},
        ),
        (
            grsai_unified.build,
            "minimax-h3",
            {
                "aspect_ratio": "9:16",
                "resolution": "1080p",
                "duration": 10,
                "references": (InputFile(IMAGE),),
                "audio": (InputFile(OTHER),),
                "seed": 7,
            },
            {
                "aspectRatio": "portrait",
                "resolution": "1080p",
                "duration": 10,
                "images": [IMAGE],
                "audios": [OTHER],
                "seed": 7,
            },
        ),
        (grsai_unified.build, "minimax-h3", {"aspect_ratio": "16:9"}, {"aspectRatio": "landscape"}),
        (grsai_unified.build, "minimax-h3", {"aspect_ratio": "portrait"}, {"aspectRatio": "portrait"}),
    ],
)
def test_options_are_sent_in_the_words_of_the_api(
    build: Build, api_model: str, options: dict[str, Any], fields: dict[str, Any]
) -> None:
    _, body = sent(build, request_of(api_model, "p", options))
    assert {
        name: body[name] for name in body if name not in ("model", "prompt", "webHook", "replyType")
    } == fields


@pytest.mark.parametrize(
    ("build", "request_"),
    [
        (grsai.build, SubmitRequest("minimax-h3", "p")),
        (grsai.build, request_of("sora-2", "p", {"first_frame": (InputFile(IMAGE),)})),
        (grsai.build, SubmitRequest("veo3-pro", "p", options={"duration": 10})),
        (grsai.build, SubmitRequest("sora-2", "\ud800")),
        (grsai_unified.build, SubmitRequest("minimax-h3", "p", options={"size": "large"})),
        (grsai_unified.build, request_of("minimax-h3", "p", {"references": (InputFile("\udfff"),)})),
    ],
)
def test_what_the_api_cannot_be_told_is_refused_without_sending(
    build: Build, request_: SubmitRequest
) -> None:
    outcome, requests = submit_to(accepting(), build, request_)
    assert isinstance(outcome, Rejected)
    assert outcome.failure_type is FailureType.PARAM_ERROR
    assert requests == []


# --- what the answer means: the service's own words --------------------------------------------------------


def envelope(code: Any = 0, **fields: Any) -> bytes:
    return json.dumps({"code": code, **fields}).encode()


GENERATION_1 = [
    # accepted
    (envelope(msg="success", data={"id": "14-ab"}), Accepted("14-ab")),
    (envelope(data={"id": "14-ab", "extra": 1}, extra=None), Accepted("14-ab")),
    (envelope(data={"id": 14}), Accepted("14")),
    (envelope(data={"id": "14-ab", "status": "NOT_START", "progress": "0%"}), Accepted("14-ab")),
    (envelope(data={"id": "14-ab", "status": 5, "progress": None}, msg=[5]), Accepted("14-ab")),
    (b"\xef\xbb\xbf" + envelope(data={"id": "14-ab"}), Accepted("14-ab")),
    # refused
    (envelope(-1, msg="insufficient credits"), Rejected("insufficient credits", FailureType.UNKNOWN)),
    (envelope(-1, msg="the api key is disabled"), Rejected("the api key is disabled", FailureType.UNKNOWN)),
    (envelope(-1, msg="invalid duration"), Rejected("invalid duration", FailureType.PARAM_ERROR)),
    (envelope(-1, msg="content policy"), Rejected("content policy", FailureType.INPUT_MODERATION)),
    (envelope(-1, msg="bad prompt"), Rejected("bad prompt", FailureType.INPUT_MODERATION)),
    (envelope(-1, msg=f"no {KEY}"), Rejected("no ***", FailureType.UNKNOWN)),
    (envelope(7, msg="", data={"id": "14-ab"}), Rejected("REMOTE_ERROR", FailureType.UNKNOWN)),
    (envelope(-1, msg=None, data=[5]), Rejected("REMOTE_ERROR", FailureType.UNKNOWN)),
    (envelope(-1), Rejected("REMOTE_ERROR", FailureType.UNKNOWN)),
    # nobody knows
    (envelope(msg="success"), None),
    (envelope(data=None), None),
    (envelope(data={}), None),
    (envelope(data={"id": ""}), None),
    (envelope(data={"id": None}), None),
    (envelope(data={"id": True}), None),
    (envelope(data={"id": 1.5}), None),
    (envelope(data={"id": "a\x00b"}), None),
    (envelope(data={"id": "x" * 1000}), None),
    (envelope(data={"id": "14-ab"})[:-1], None),
    (envelope("0", data={"id": "14-ab"}), None),
    (envelope(False, data={"id": "14-ab"}), None),
    (json.dumps({"data": {"id": "14-ab"}}).encode(), None),
    (b'data: {"id":"14-ab","status":"running","progress":0}\n\n', None),
]
GENERATION_2 = [
    # accepted
    (b'{"id":"14-ab"}', Accepted("14-ab")),
    (b'{"id":"14-ab","status":"running","extra":1}', Accepted("14-ab")),
    (b'{"id":"14-ab","status":"failed","error":"no"}', Accepted("14-ab")),
    (b'{"id":14}', Accepted("14")),
    (b'{"id":"14-ab","error":5}', Accepted("14-ab")),
    (b'{"id":"14-ab","status":["NOT_START"],"code":"x","msg":{}}', Accepted("14-ab")),
    # refused
    (
        b'{"id":"","status":"failed","error":"insufficient credits"}',
        Rejected("insufficient credits", FailureType.UNKNOWN),
    ),
    (b'{"error":"invalid duration"}', Rejected("invalid duration", FailureType.PARAM_ERROR)),
    (b'{"status":"violation"}', Rejected("REMOTE_TASK_FAILED", FailureType.INPUT_MODERATION)),
    (b'{"id":null,"status":"failed"}', Rejected("REMOTE_TASK_FAILED", FailureType.UNKNOWN)),
    (b'{"code":-1,"msg":"apikey error"}', Rejected("apikey error", FailureType.UNKNOWN)),
    (b'{"code":-1}', Rejected("REMOTE_ERROR", FailureType.UNKNOWN)),
    # nobody knows
    (b"{}", None),
    (b'{"id":""}', None),
    (b'{"status":"running"}', None),
    (b'{"id":"a\\u0000b"}', None),
    (b'{"id":"14-ab"', None),
    (b'{"error":5}', None),
    (b'{"id":false}', None),
    (b'[{"id":"14-ab"}]', None),
]
EITHER = [b"", b"<html>", b"null", b"[]", b"5", b"\xff\xfe", b'{"a":' * 50_000]


@pytest.mark.parametrize(
    ("build", "request_", "body", "expected"),
    [(grsai.build, request, *row) for request in (SORA, VEO) for row in GENERATION_1]
    + [(grsai_unified.build, MINIMAX, *row) for row in GENERATION_2]
    + [(*family.values, body, None) for family in FAMILIES for body in EITHER],
)
def test_an_answer_is_accepted_refused_or_unknown(
    build: Build, request_: SubmitRequest, body: bytes, expected: SubmitOutcome | None
) -> None:
    outcome = outcome_of(build, request_, 200, body)
    if expected is None:
        assert isinstance(outcome, Unknown)
        assert outcome.reason
        assert outcome.reason.isprintable()
    else:
        assert outcome == expected


# --- what the answer means: HTTP ---------------------------------------------------------------------------


@both_generations_and_families
@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 307, 308])
def test_a_refused_key_or_a_wrong_host_is_not_sent_and_pauses_the_provider(
    build: Build, request_: SubmitRequest, status: int
) -> None:
    body = json.dumps({"code": -1, "msg": f"bad key {KEY}"}).encode()
    outcome = outcome_of(build, request_, status, body, Location="/elsewhere")
    assert isinstance(outcome, NotSent)
    assert outcome.pauses_provider
    assert f"HTTP {status}: bad key ***" in outcome.reason


@both_generations_and_families
@pytest.mark.parametrize("status", [301, 302])
@pytest.mark.parametrize("body", [b"", b"<html>Moved</html>"])
def test_a_host_that_has_moved_is_not_sent_and_pauses_the_provider(
    build: Build, request_: SubmitRequest, status: int, body: bytes
) -> None:
    outcome = outcome_of(build, request_, status, body, Location="/elsewhere")
    assert isinstance(outcome, NotSent)
    assert outcome.pauses_provider


@both_generations_and_families
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (303, b""),
        (303, b"<html>See other</html>"),
        (303, b'{"id":"t1"}'),
        (301, b'{"id":"t1"}'),
        (302, b' [{"id":"t1"}]'),
        (300, b""),
        (304, b""),
        (399, b""),
    ],
)
def test_a_redirect_that_may_follow_an_accepted_task_is_unknown(
    build: Build, request_: SubmitRequest, status: int, body: bytes
) -> None:
    assert isinstance(outcome_of(build, request_, status, body, Location="/tasks/t1"), Unknown)


@both_generations_and_families
def test_429_is_throttled_for_as_long_as_it_says(build: Build, request_: SubmitRequest) -> None:
    assert outcome_of(build, request_, 429, b"") == Throttled("HTTP 429", None)
    assert outcome_of(build, request_, 429, b"", Retry_After="7") == Throttled("HTTP 429", 7.0)
    dated = outcome_of(
        build,
        request_,
        429,
        b"",
        Retry_After="Tue, 28 Jul 2026 10:00:30 GMT",
        Date="Tue, 28 Jul 2026 10:00:00 GMT",
    )
    assert dated == Throttled("HTTP 429", 30.0)


@both_generations_and_families
@pytest.mark.parametrize("status", [400, 413, 414, 415, 422])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", None),
        (b"<html>", None),
        (b'{"code":-1,"msg":"too long"}', "too long"),
        (b'{"error":"too long"}', "too long"),
        (b'{"error":{"message":"too long"}}', "too long"),
    ],
)
def test_a_bad_request_is_rejected(
    build: Build, request_: SubmitRequest, status: int, body: bytes, reason: str | None
) -> None:
    expected = Rejected(reason or f"HTTP {status}", FailureType.PARAM_ERROR)
    assert outcome_of(build, request_, status, body) == expected


@both_generations_and_families
@pytest.mark.parametrize("status", [406, 408, 409, 410, 418, 425, 499, 500, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("body", [b"", b'{"code":0,"msg":"","data":{"id":"14-ab"},"id":"14-ab"}'])
def test_every_other_status_is_unknown(
    build: Build, request_: SubmitRequest, status: int, body: bytes
) -> None:
    assert outcome_of(build, request_, status, body, Retry_After="5") == Unknown(f"HTTP {status}")


# --- what the network does ---------------------------------------------------------------------------------


async def reset_after(exchange: Exchange) -> None:
    await exchange.reset()


async def close_after(exchange: Exchange) -> None:
    await exchange.close()


async def hang_after(exchange: Exchange) -> None:
    await asyncio.sleep(HANG_SECONDS)


async def cut_body(exchange: Exchange) -> None:
    await exchange.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"code":0')
    await exchange.close()


@both_generations_and_families
@pytest.mark.parametrize("answer", [reset_after, close_after, hang_after, cut_body])
def test_a_submit_that_was_read_is_unknown_and_not_repeated(
    build: Build, request_: SubmitRequest, answer: Answer
) -> None:
    waits = {"timeout_seconds": 1.0} if answer is hang_after else {}
    outcome, requests = submit_to(answer, build, request_, **waits)
    assert isinstance(outcome, Unknown)
    assert len(requests) == 1


@both_generations_and_families
@pytest.mark.parametrize("fault", ["refused", "certificate", "bad key"])
def test_a_submit_that_never_left_is_not_sent(build: Build, request_: SubmitRequest, fault: str) -> None:
    async def test() -> None:
        async with http1_server(accepting(), tls=server_tls("other.example")) as server:
            host = "http://127.0.0.1:1" if fault == "refused" else server.url
            transport = HttpTransport(connect_timeout_seconds=1)
            key = KEY + "\n" if fault == "bad key" else KEY
            provider = build(ProviderConfig(host=host, api_key=key, transport=transport, timeout_seconds=5))
            outcome = await provider.submit(request_)
            assert isinstance(outcome, NotSent)
            assert not outcome.pauses_provider
            assert KEY not in repr(outcome)
            assert server.requests == []
            await transport.close()

    asyncio.run(test())


class Answering:
    """A transport that answers every request with the same bytes."""

    def __init__(self, status: int, body: bytes) -> None:
        self._response = Response(status, {}, body)

    async def prepare(self, url: str, count: int) -> int:
        return count

    async def request(self, *args: Any, **options: Any) -> Response:
        return self._response

    async def close(self) -> None:
        return


words = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"',
        b'"id"',
        b'"code"',
        b'"data"',
        b'"msg"',
        b"0",
        b"-1",
        b"null",
        b'"x"',
    ]
)


@given(
    family=st.sampled_from(FAMILIES),
    status=st.sampled_from([200, 200, 200, 400, 401, 404, 429, 500]),
    body=st.binary(max_size=100) | st.lists(words, max_size=25).map(b"".join),
)
@settings(max_examples=600, deadline=None)
def test_no_answer_raises_and_none_is_accepted_that_names_no_id(
    family: Any, status: int, body: bytes
) -> None:
    build, request = family.values
    provider = build(ProviderConfig(host="http://x", api_key=KEY, transport=Answering(status, body)))
    outcome = asyncio.run(provider.submit(request))
    assert isinstance(outcome, Accepted | Rejected | Throttled | NotSent | Unknown)
    if isinstance(outcome, Accepted):
        answer = json.loads(body)
        named = answer["data"]["id"] if build is grsai.build else answer["id"]
        assert outcome.remote_task_id == named


# --- callbacks and limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "remote_task_id"),
    [
        (b'{"id":"14-ab","status":"running","progress":3}', "14-ab"),
        (b'{"id":"14-ab"}', "14-ab"),
        (b'{"id":""}', None),
        (b'{"id":5}', "5"),
        (b'{"id":true}', None),
        (b'{"id":"a\\u0000"}', None),
        (b"{}", None),
        (b"", None),
        (b"\xff", None),
        (b'{"id":"14-ab"', None),
        (b'{"a":' * 100_000, None),
        (b'{"code":0,"data":{"id":"14-ab"}}', None),
    ],
)
def test_a_callback_is_read_for_its_id_alone(body: bytes, remote_task_id: str | None) -> None:
    config = ProviderConfig(host="http://x", api_key=KEY, transport=Answering(200, b""))
    assert grsai.build(config).remote_task_id_of_callback(body) == remote_task_id
    assert grsai_unified.build(config).remote_task_id_of_callback(body) is None


def test_providers_are_named_as_in_the_catalogue_and_show_no_key() -> None:
    config = ProviderConfig(host="http://x", api_key=KEY, transport=Answering(200, b""))
    for build, name in ((grsai.build, "grsai"), (grsai_unified.build, "grsai-unified")):
        provider = build(config)
        assert provider.name == name
        assert KEY not in repr(provider)
        assert provider.limits.in_flight_tasks_max is None
        assert provider.limits.connections_max == 64


def test_result_files_come_from_the_configured_host_and_other_hosts_get_no_key() -> None:
    for build in (grsai.build, grsai_unified.build):
        config = ProviderConfig(host="http://127.0.0.1:8899/", api_key=KEY, transport=Answering(200, b""))
        files = build(config).result_files
        assert files.trusted_origin == "http://127.0.0.1:8899"
        assert files.link_seconds == 7200
        assert files.headers == {}


def test_an_origin_has_its_port_and_no_capitals() -> None:
    assert origin_of("https://Example.com/a?b") == "https://example.com:443"
    assert origin_of("http://[::1]/x") == "http://[::1]:80"
