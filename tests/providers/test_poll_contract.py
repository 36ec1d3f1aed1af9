"""The poll contract, line by line, for Sora's, Veo's and the unified API's formats, over real HTTP.

One parametrised table serves all three formats: a row gives the facts, a format writes them down as its
wire does.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.task import (
    Failed,
    FailureType,
    NoAnswer,
    PollResult,
    Processing,
    Succeeded,
    TaskStatus,
)
from rushes.providers.answers import MESSAGE_CHARACTERS_MAX
from rushes.providers.base import Provider, ProviderConfig
from rushes.providers.families import grsai, grsai_unified
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Response, Transport, TransportError
from tests.providers.local_http import HANG_SECONDS, Exchange, http1_server

URL = "https://files.example/v/1.mp4?sig=a%2Fb&x=1"
ID = "14-8e2b1c7e/ä +1"
KEY = "sk-canary-77aa01"
LEFT_OUT: Any = object()

Json = Mapping[str, Any]


# --- three formats ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Format:
    """Where a wire format puts the facts of a result."""

    name: str
    enveloped: bool
    url_in_results: bool
    build: Callable[[ProviderConfig], Provider]

    def result(
        self, status: Any, *, url: Any = LEFT_OUT, progress: Any = 40, **fields: Any
    ) -> dict[str, Any]:
        """The result object. `url` may be a URL, or whatever stands in the place of the URL's holder."""
        answer: dict[str, Any] = {"id": ID, "status": status, "progress": progress, **fields}
        if url is not LEFT_OUT and self.url_in_results:
            file = {"url": url}
            if self.enveloped:
                file |= {"removeWatermark": True, "pid": "s_1"}
            answer["results"] = [file] if isinstance(url, str) else url
        elif url is not LEFT_OUT:
            answer["url"] = url
        return {name: value for name, value in answer.items() if value is not LEFT_OUT}

    def body(self, status: Any, **fields: Any) -> bytes:
        """The whole answer of a poll."""
        return self.wrap(self.result(status, **fields))

    def wrap(self, result: Any) -> bytes:
        answer = {"code": 0, "msg": "success", "data": result} if self.enveloped else result
        return json.dumps(answer).encode()

    def business_error(self, code: Any, message: Any = LEFT_OUT, **fields: Any) -> bytes:
        """An answer with a code; `fields` are added as they are."""
        text = "msg" if self.enveloped else "error"
        answer = {"code": code, **({} if message is LEFT_OUT else {text: message}), **fields}
        return json.dumps(answer).encode()


SORA = Format("sora", enveloped=True, url_in_results=True, build=grsai.build)
VEO = Format("veo", enveloped=True, url_in_results=False, build=grsai.build)
UNIFIED = Format("unified", enveloped=False, url_in_results=True, build=grsai_unified.build)

all_formats = pytest.mark.parametrize("wire", [SORA, VEO, UNIFIED], ids=lambda wire: wire.name)
enveloped_formats = pytest.mark.parametrize("wire", [SORA, VEO], ids=lambda wire: wire.name)


@contextlib.asynccontextmanager
async def provider_for(wire: Format, host: str, *, timeout_seconds: float = 5.0) -> AsyncIterator[Provider]:
    transport = HttpTransport(connect_timeout_seconds=1)
    config = ProviderConfig(host=host, api_key=KEY, transport=transport, timeout_seconds=timeout_seconds)
    try:
        yield wire.build(config)
    finally:
        await transport.close()


def poll(
    wire: Format, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> PollResult:
    """What a poll comes to when a real server answers it with `body`."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(status, body, headers)

    async def test() -> PollResult:
        async with asyncio.timeout(10), http1_server(answer) as server:
            async with provider_for(wire, server.url) as provider:
                result = await provider.poll_remote_task(ID)
            (request,) = server.requests
            assert request.headers["authorization"] == f"Bearer {KEY}"
            if wire.enveloped:
                assert (request.method, request.path) == ("POST", "/v1/draw/result")
                assert json.loads(request.body) == {"id": ID}
                assert request.headers["content-type"] == "application/json"
            else:
                assert request.method == "GET"
                assert request.path == "/v1/api/result?id=14-8e2b1c7e%2F%C3%A4%20%2B1"
                assert request.body == b""
            return result

    return asyncio.run(test())


def is_no_answer(result: PollResult, *, http_status: int | None) -> bool:
    assert result.ok is isinstance(result, Processing | Succeeded | Failed)
    return isinstance(result, NoAnswer) and bool(result.error) and result.http_status == http_status


# --- line 1: no answer, the task is left as it is --------------------------------------------------------


@all_formats
def test_a_transport_error_is_no_answer(wire: Format) -> None:
    async def resets(exchange: Exchange) -> None:
        await exchange.reset()

    async def cuts(exchange: Exchange) -> None:
        body = wire.body("succeeded", url=URL)
        await exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        await exchange.close()

    async def hangs(exchange: Exchange) -> None:
        await asyncio.sleep(HANG_SECONDS)

    async def test() -> None:
        for answer in (resets, cuts, hangs):
            async with (
                http1_server(answer) as server,
                provider_for(wire, server.url, timeout_seconds=0.3) as provider,
            ):
                assert is_no_answer(await provider.poll_remote_task(ID), http_status=None)
        async with provider_for(wire, server.url) as provider:  # nobody listens there any more
            assert is_no_answer(await provider.poll_remote_task(ID), http_status=None)

    asyncio.run(test())


@all_formats
@pytest.mark.parametrize("status", [201, 206])
def test_any_2xx_is_read(wire: Format, status: int) -> None:
    assert poll(wire, wire.body("succeeded", url=URL), status=status) == Succeeded(URL, 40)


@all_formats
def test_a_byte_order_mark_is_accepted(wire: Format) -> None:
    assert poll(wire, b"\xef\xbb\xbf" + wire.body("succeeded", url=URL)) == Succeeded(URL, 40)


@all_formats
@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504, 599])
def test_another_http_status_is_no_answer_whatever_the_body_says(wire: Format, status: int) -> None:
    for body in (wire.body("succeeded", url=URL), wire.body("failed"), wire.business_error(-22, "gone")):
        assert is_no_answer(poll(wire, body, status=status), http_status=status)


@all_formats
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_passed_on(wire: Format, status: int) -> None:
    result = poll(wire, b"", status=status, headers={"Retry-After": "17"})
    assert result == NoAnswer(f"HTTP {status}", status, 17.0)


def undecodable(wire: Format) -> dict[str, bytes]:
    """Bodies that are no answer, by what is wrong with them."""
    good = wire.body("succeeded", url=URL)
    bodies = {
        "empty": b"",
        "HTML": b"<html><body>502 Bad Gateway</body></html>",
        "truncated": good[:-1],
        "two answers": good + good,
        "UTF-16": good.decode().encode("utf-16"),
        "invalid UTF-8 in a field": good.replace(b"files", b"fil\xff"),
        "lone surrogate": good.replace(b"files", b"\\ud800"),
        "NUL in the URL": good.replace(b"files", b"\\u0000"),
        "stream": b"data: " + good + b"\n\n",
        "null": b"null",
        "list": b"[" + good + b"]",
        "text": json.dumps(good.decode()).encode(),
        "number": b"0",
        "deeply nested": b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
        "no result": wire.wrap({}),
        "null result": wire.wrap(None),
        "result in a list": wire.wrap([wire.result("succeeded", url=URL)]),
        "unknown status": wire.body("queued", url=URL),
        "status in capitals": wire.body("SUCCEEDED", url=URL),
        "empty status": wire.body("", url=URL),
        "no status": wire.body(LEFT_OUT, url=URL),
        "null status": wire.body(None, url=URL),
        "number as status": wire.body(1, url=URL),
        "no id": wire.body("succeeded", url=URL, id=LEFT_OUT),
        "null id": wire.body("succeeded", url=URL, id=None),
        "list as id": wire.body("failed", id=[ID]),
        "truth as id": wire.body("failed", id=True),
        "fraction as id": wire.body("failed", id=1.5),
        "text as code": wire.business_error("0", "oops"),
        "truth as code": wire.business_error(True, "oops"),
        "fraction as code": wire.business_error(-22.5, "oops"),
    }
    if not wire.enveloped:  # a code beside the result is one only if it is a number
        bodies = {name: body for name, body in bodies.items() if not name.endswith("as code")}
    if wire.url_in_results:
        bodies |= {
            "results is a text": wire.body("succeeded", url=LEFT_OUT, results=URL),
            "results is an object": wire.body("succeeded", url={"url": URL}),
            "file is a text": wire.body("succeeded", url=[URL]),
            "file is null": wire.body("succeeded", url=[None]),
        }
    else:
        bodies |= {
            "number as url": wire.body("succeeded", url=5),
            "list as url": wire.body("succeeded", url=[URL]),
        }
    if wire.enveloped:
        bodies |= {
            "code 0 without data": wire.business_error(0, "success"),
            "no envelope": json.dumps(wire.result("succeeded", url=URL)).encode(),
            "null code": wire.business_error(None, "success", data=wire.result("failed")),
            "status of the other generation": wire.body("violation"),
        }
    return bodies


@all_formats
def test_what_does_not_decode_is_no_answer(wire: Format) -> None:
    async def test() -> None:
        bodies = undecodable(wire)
        in_turn = iter(bodies.values())

        async def answer(exchange: Exchange) -> None:
            await exchange.answer(200, next(in_turn))

        async with http1_server(answer) as server, provider_for(wire, server.url) as provider:
            for name in bodies:
                result = await provider.poll_remote_task(ID)
                assert is_no_answer(result, http_status=200), (name, result)
                assert cast(NoAnswer, result).error.isprintable(), name

    asyncio.run(test())


# --- which task it is about, and what decides nothing -------------------------------------------------------

OTHER = "14-8e2b1c7e/another"


def named_otherwise(wire: Format) -> list[bytes]:
    """Answers that would be something if they were about this task."""
    bodies = [
        wire.body("running", id=OTHER),
        wire.body("succeeded", id=OTHER, url=URL),
        wire.body("succeeded", id=OTHER),
        wire.body("failed", id=OTHER, failure_reason="error"),
        wire.body("running", id=14),
        wire.body("running", id=ID.upper()),
        wire.body("running", id=ID + " "),
    ]
    fields = {"data": {"id": OTHER}} if wire.enveloped else {"id": OTHER}
    return [*bodies, wire.business_error(-22, "gone", **fields), wire.business_error(-1, "no", **fields)]


@all_formats
def test_an_answer_about_another_task_is_no_answer(wire: Format) -> None:
    for body in named_otherwise(wire):
        result = poll(wire, body)
        expected = NoAnswer("the answer is about another task", 200, is_about_another_task=True)
        assert result == expected, (body, result)


@all_formats
def test_an_answer_about_another_task_closes_its_connection(wire: Format) -> None:
    bodies = iter([wire.body("running"), wire.body("failed", id=OTHER), wire.body("running")])

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, next(bodies))

    async def test() -> None:
        async with http1_server(answer) as server, provider_for(wire, server.url) as provider:
            kinds = [type(await provider.poll_remote_task(ID)) for _ in range(2)]
            assert (kinds, server.connections) == ([Processing, NoAnswer], 1)
            assert isinstance(await provider.poll_remote_task(ID), Processing)
            assert server.connections == 2

    asyncio.run(test())


@all_formats
def test_an_id_that_is_a_number_is_its_text(wire: Format) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(200, wire.body("succeeded", id=1415, url=URL))

    async def test() -> None:
        async with http1_server(answer) as server, provider_for(wire, server.url) as provider:
            assert await provider.poll_remote_task("1415") == Succeeded(URL, 40)
            assert isinstance(await provider.poll_remote_task("14"), NoAnswer)

    asyncio.run(test())


@all_formats
@pytest.mark.parametrize("code", [-22, -1])
def test_a_code_that_names_no_task_counts_over_a_fresh_connection_only(wire: Format, code: int) -> None:
    """On a used one it may be the late answer to another question; the second answer counts."""
    said = wire.business_error(code, "gone")

    async def outcome_of(*bodies: bytes) -> tuple[PollResult, int, int]:
        in_turn = iter(bodies)

        async def answer(exchange: Exchange) -> None:
            await exchange.answer(200, next(in_turn))

        async with http1_server(answer) as server, provider_for(wire, server.url) as provider:
            result = await provider.poll_remote_task(ID)
            if len(bodies) > 1:
                result = await provider.poll_remote_task(ID)
            return result, len(server.requests), server.connections

    running = wire.body("running")
    result, requests, connections = asyncio.run(outcome_of(said))
    assert (type(result), requests, connections) == (Failed, 1, 1)
    result, requests, connections = asyncio.run(outcome_of(running, said, said))
    assert (type(result), requests, connections) == (Failed, 3, 2)
    result, requests, connections = asyncio.run(outcome_of(running, said, running))
    assert (type(result), requests, connections) == (Processing, 3, 2)


ODD_PROGRESS: list[tuple[Any, int | None]] = [
    (LEFT_OUT, None),
    (None, None),
    ("", None),
    ("soon", None),
    ([], None),
    ({"percent": 4}, None),
    (True, None),
    ("40", 40),
    ("40%", 40),
    (" 99.5 % ", 99),
    (99.5, 99),
    (-1, 0),
    (101, 100),
    (1e30, 100),
    ("nan", None),
    ("1e999", 100),
    (10**30, 100),
]


@all_formats
@pytest.mark.parametrize(("progress", "expected"), ODD_PROGRESS)
def test_the_progress_decides_nothing(wire: Format, progress: Any, expected: int | None) -> None:
    assert poll_in_process(wire, wire.body("running", progress=progress)) == Processing(expected)
    full = 100 if expected is None else expected
    assert poll_in_process(wire, wire.body("succeeded", progress=progress, url=URL)) == Succeeded(URL, full)
    failed = poll_in_process(wire, wire.body("failed", progress=progress, failure_reason="error"))
    assert failed == Failed("error", FailureType.MODEL_ERROR)


@all_formats
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"failure_reason": 7}, "REMOTE_TASK_FAILED"),
        ({"failure_reason": []}, "REMOTE_TASK_FAILED"),
        ({"error": {"message": "no"}}, "no"),
        ({"error": {"code": 5, "message": None}}, "REMOTE_TASK_FAILED"),
        ({"error": ["a", "b"]}, "a; b"),
        ({"failure_reason": {}, "error": "no"}, "no"),
        ({"error": True}, "REMOTE_TASK_FAILED"),
    ],
)
def test_a_failure_is_one_whatever_the_form_of_its_words(wire: Format, fields: Json, message: str) -> None:
    result = poll_in_process(wire, wire.body("failed", **fields))
    assert isinstance(result, Failed)
    assert result.error_message == message


@all_formats
@pytest.mark.parametrize(
    ("message", "expected"), [(5, "REMOTE_ERROR"), ({"text": 1}, "REMOTE_ERROR"), (["a"], "a")]
)
def test_a_code_is_one_whatever_the_form_of_its_message(wire: Format, message: Any, expected: str) -> None:
    result = poll_in_process(wire, wire.business_error(-1, message))
    assert result == Failed(expected, FailureType.UNKNOWN)


def test_a_code_of_generation_2_that_is_no_number_is_not_looked_at() -> None:
    codes: list[Any] = ["0", "success", True, -22.5, []]
    for code in codes:
        assert poll_in_process(UNIFIED, UNIFIED.body("succeeded", url=URL, code=code)) == Succeeded(URL, 40)


def test_of_the_files_only_the_first_url_is_read() -> None:
    good: list[Any] = [
        [{"url": URL, "removeWatermark": "no", "pid": 1}],
        [{"url": URL}, {"url": 1}],
        [{"url": URL}, None],
    ]
    for wire in (SORA, UNIFIED):
        for files in good:
            assert poll_in_process(wire, wire.body("succeeded", url=files)) == Succeeded(URL, 40)
        for files in ([{}], [{"url": None}], [{"url": ""}]):
            result = poll_in_process(wire, wire.body("succeeded", url=files))
            assert result == Failed("SUCCEEDED_WITHOUT_VIDEO_URL", FailureType.MODEL_ERROR)


@all_formats
def test_an_id_that_is_not_text_is_no_answer(wire: Format) -> None:
    async def test() -> None:
        async with provider_for(wire, "http://127.0.0.1:9") as provider:
            assert is_no_answer(await provider.poll_remote_task("\ud800"), http_status=None)

    asyncio.run(test())


# --- line 2: a code that is not 0 -------------------------------------------------------------------------


@all_formats
@pytest.mark.parametrize("code", [-1, 1, 500, 10**30])
def test_another_code_is_a_failure_with_its_message(wire: Format, code: int) -> None:
    expected = Failed("upstream refused", FailureType.UNKNOWN)
    assert poll(wire, wire.business_error(code, "upstream refused")) == expected


@all_formats
@pytest.mark.parametrize("message", [LEFT_OUT, None, ""])
def test_another_code_without_a_message_is_a_remote_error(wire: Format, message: Any) -> None:
    assert poll(wire, wire.business_error(-5, message)) == Failed("REMOTE_ERROR", FailureType.UNKNOWN)


@all_formats
def test_code_minus_22_is_no_such_task(wire: Format) -> None:
    result = poll(wire, wire.business_error(-22, "task does not exist"))
    assert result == Failed("task does not exist", FailureType.NOT_FOUND)


@enveloped_formats
def test_with_another_code_the_data_is_not_looked_at(wire: Format) -> None:
    ignored: list[Any] = [None, {}, [], "text", 5, {"status": 7}, wire.result("succeeded", url=URL), [[[]]]]
    for data in ignored:
        result = poll(wire, wire.business_error(-1, "system busy", data=data))
        assert result == Failed("system busy", FailureType.UNKNOWN)


def test_with_another_code_the_rest_is_not_looked_at() -> None:
    body = UNIFIED.business_error(-1, "system busy", status=7, id=None, progress="x", results={})
    assert poll(UNIFIED, body) == Failed("system busy", FailureType.UNKNOWN)
    body = UNIFIED.business_error(-1, "system busy", **UNIFIED.result("succeeded", url=URL))
    assert poll(UNIFIED, body) == Failed("system busy", FailureType.UNKNOWN)


# --- line 3: running --------------------------------------------------------------------------------------


@all_formats
@pytest.mark.parametrize("progress", [0, 1, 99, 100])
@pytest.mark.parametrize("url", [LEFT_OUT, None, ""])
@pytest.mark.parametrize("silence", [LEFT_OUT, None, ""])
def test_running_is_processing(wire: Format, progress: int, url: Any, silence: Any) -> None:
    nothing = [] if url == "" and wire.url_in_results else url
    body = wire.body("running", progress=progress, url=nothing, failure_reason=silence, error=silence)
    result = poll(wire, body)
    assert result == Processing(progress)
    assert (result.ok, result.status) == (True, TaskStatus.PROCESSING)


@all_formats
def test_running_with_a_url_or_a_reason_is_still_processing(wire: Format) -> None:
    assert poll(wire, wire.body("running", url=URL, failure_reason="error", error="x")) == Processing(40)


@pytest.mark.parametrize("progress", [LEFT_OUT, None])
def test_generation_2_may_leave_out_the_progress(progress: Any) -> None:
    assert poll(UNIFIED, UNIFIED.body("running", progress=progress)) == Processing(None)
    assert poll(UNIFIED, UNIFIED.body("succeeded", progress=progress, url=URL)) == Succeeded(URL, 100)


@pytest.mark.parametrize("code", [0, None])
def test_generation_2_may_say_code_0(code: Any) -> None:
    assert poll(UNIFIED, UNIFIED.body("running", code=code)) == Processing(40)


# --- lines 4 and 5: succeeded ------------------------------------------------------------------------------


@all_formats
@pytest.mark.parametrize("progress", [0, 100])
def test_succeeded_with_a_url_is_a_success(wire: Format, progress: int) -> None:
    result = poll(wire, wire.body("succeeded", url=URL, progress=progress))
    assert result == Succeeded(URL, progress)
    assert (result.ok, result.status) == (True, TaskStatus.SUCCEEDED)


@all_formats
def test_fields_that_the_protocol_does_not_have_are_ignored(wire: Format) -> None:
    extra = {"start_time": 1, "end_time": None, "nested": {"a": [1]}, "Status": "failed"}
    assert poll(wire, wire.body("succeeded", url=URL, **extra)) == Succeeded(URL, 40)


def test_both_places_of_the_url_are_read_whatever_the_model() -> None:
    both = SORA.body("succeeded", url=LEFT_OUT, results=[{"url": "https://a.example/1"}]).decode()
    assert poll(SORA, both.encode()) == Succeeded("https://a.example/1", 40)
    other = json.loads(both)
    other["data"]["url"] = "https://b.example/2"
    assert poll(SORA, json.dumps(other).encode()) == Succeeded("https://a.example/1", 40)
    other["data"]["results"][0]["url"] = ""
    assert poll(VEO, json.dumps(other).encode()) == Succeeded("https://b.example/2", 40)


def test_of_several_files_the_first_counts() -> None:
    files = [{"url": URL}, {"url": "https://files.example/2.mp4"}]
    for wire in (SORA, UNIFIED):
        assert poll(wire, wire.body("succeeded", url=files)) == Succeeded(URL, 40)


@all_formats
@pytest.mark.parametrize("url", [LEFT_OUT, None, ""])
def test_succeeded_without_a_url_is_a_failure(wire: Format, url: Any) -> None:
    result = poll(wire, wire.body("succeeded", url=url))
    assert result == Failed("SUCCEEDED_WITHOUT_VIDEO_URL", FailureType.MODEL_ERROR)


@pytest.mark.parametrize("wire", [SORA, UNIFIED], ids=lambda wire: wire.name)
def test_succeeded_without_files_is_a_failure(wire: Format) -> None:
    result = poll(wire, wire.body("succeeded", url=[]))
    assert result == Failed("SUCCEEDED_WITHOUT_VIDEO_URL", FailureType.MODEL_ERROR)


# --- line 6: failed ---------------------------------------------------------------------------------------


@all_formats
@pytest.mark.parametrize(
    ("failure_reason", "error", "expected"),
    [
        ("output_moderation", "…", Failed("output_moderation", FailureType.OUTPUT_MODERATION)),
        ("input_moderation", "", Failed("input_moderation", FailureType.INPUT_MODERATION)),
        ("error", "system error, please try again", Failed("error", FailureType.MODEL_ERROR)),
        ("error", "third-party similarity …", Failed("error", FailureType.OUTPUT_MODERATION)),
        ("error", "invalid parameter: duration", Failed("error", FailureType.PARAM_ERROR)),
        ("error", "invalid api key", Failed("error", FailureType.UNKNOWN)),
        ("gpu_lost", None, Failed("gpu_lost", FailureType.MODEL_ERROR)),
        ("", "Failed to generate …", Failed("Failed to generate …", FailureType.MODEL_ERROR)),
        (None, "content policy", Failed("content policy", FailureType.OUTPUT_MODERATION)),
        (None, "内容违规", Failed("内容违规", FailureType.OUTPUT_MODERATION)),
        ("", "", Failed("REMOTE_TASK_FAILED", FailureType.MODEL_ERROR)),
        (None, None, Failed("REMOTE_TASK_FAILED", FailureType.MODEL_ERROR)),
        (LEFT_OUT, LEFT_OUT, Failed("REMOTE_TASK_FAILED", FailureType.MODEL_ERROR)),
    ],
)
def test_failed_is_a_failure_with_its_reason(
    wire: Format, failure_reason: Any, error: Any, expected: Failed
) -> None:
    result = poll(wire, wire.body("failed", failure_reason=failure_reason, error=error, url=URL))
    assert result == expected
    assert (result.ok, result.status) == (True, TaskStatus.FAILED)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Failed("REMOTE_TASK_FAILED", FailureType.OUTPUT_MODERATION)),
        ({"error": "no weapons"}, Failed("no weapons", FailureType.OUTPUT_MODERATION)),
        ({"failure_reason": "error"}, Failed("error", FailureType.OUTPUT_MODERATION)),
        (
            {"failure_reason": "input_moderation"},
            Failed("input_moderation", FailureType.INPUT_MODERATION),
        ),
    ],
)
def test_violation_is_a_moderated_failure(fields: Json, expected: Failed) -> None:
    assert poll(UNIFIED, UNIFIED.body("violation", **fields)) == expected


@all_formats
def test_a_message_is_made_fit_to_be_kept(wire: Format) -> None:
    result = poll(wire, wire.body("failed", error=f"a\x00b\nkey {KEY} " + "x" * 5000))
    assert isinstance(result, Failed)
    assert result.error_message.startswith("a b key *** xxx")
    assert len(result.error_message) == MESSAGE_CHARACTERS_MAX
    assert result.error_message.isprintable()


# --- whatever is answered ---------------------------------------------------------------------------------


class Answering:
    """A transport that answers every request with the same bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        fresh: bool = False,
    ) -> Response:
        return Response(200, {}, self._body)

    async def prepare(self, url: str, count: int) -> int:
        return count

    async def close(self) -> None:
        return


def poll_in_process(wire: Format, body: bytes) -> PollResult:
    transport: Transport = Answering(body)
    provider = wire.build(ProviderConfig(host="http://x", api_key=KEY, transport=transport))
    coroutine = provider.poll_remote_task(ID)
    try:
        coroutine.send(None)  # nothing in it waits, so no loop is needed
    except StopIteration as done:
        return cast(PollResult, done.value)
    raise AssertionError("the poll waited")


def expected_kind(wire: Format, body: bytes) -> type[object]:
    """The contract once more, naively, on Python's own JSON."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return NoAnswer
    if not isinstance(answer, dict):
        return NoAnswer
    code = answer.get("code") if not wire.enveloped else answer.get("code", "missing")
    if wire.enveloped and type(code) is not int:
        return NoAnswer
    result = answer.get("data") if wire.enveloped else answer
    named = result.get("id") if isinstance(result, dict) else None
    if type(code) is int and code != 0:
        return NoAnswer if type(named) in (str, int) and str(named) != ID else Failed
    if not isinstance(result, dict) or named != ID:
        return NoAnswer
    return kind_of_result(wire, result)


def kind_of_result(wire: Format, result: Json) -> type[object]:
    match result.get("status"):
        case "running":
            return Processing
        case "succeeded":
            return kind_of_success(wire, result)
        case "failed":
            return Failed
        case "violation" if not wire.enveloped:
            return Failed
        case _:
            return NoAnswer


def kind_of_success(wire: Format, result: Json) -> type[object]:
    files = result.get("results")
    if files is not None and not isinstance(files, list):
        return NoAnswer
    url = None
    if files:
        if not isinstance(files[0], dict) or not isinstance(files[0].get("url"), str | None):
            return NoAnswer
        url = files[0].get("url")
    if not url and wire.enveloped:
        url = result.get("url")
        if not isinstance(url, str | None):
            return NoAnswer
    if not url:
        return Failed
    return Succeeded if url.isprintable() else NoAnswer


def check_shape(result: PollResult) -> None:
    """What every result promises."""
    match result:
        case NoAnswer(error=error):
            assert error
            assert error.isprintable()
        case Processing(progress=progress):
            assert progress is None or 0 <= progress <= 100
        case Succeeded(video_url=video_url, progress=progress):
            assert video_url
            assert video_url.isprintable()
            assert 0 <= progress <= 100
        case Failed(error_message=error_message, failure_type=failure_type):
            assert error_message
            assert error_message.isprintable()
            assert isinstance(failure_type, FailureType)


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    """Mostly a good value; now and then nothing, null, or another type."""
    return st.sampled_from([*values, *values, *values, LEFT_OUT, None, "", 0, 1.5, True, [], {}, "x", [None]])


files = st.lists(
    st.fixed_dictionaries({"url": maybe(URL)}, optional={"removeWatermark": maybe(True), "pid": maybe("s")}),
    max_size=2,
)
near_results = st.fixed_dictionaries(
    {
        "id": maybe(ID),
        "status": maybe("running", "succeeded", "failed", "violation"),
        "progress": maybe(0, 40, 100, -1, 101),
        "results": st.one_of(files, maybe([{"url": URL}])),
        "url": maybe(URL),
        "failure_reason": maybe("error", "output_moderation"),
        "error": maybe("text"),
    }
)


def present(fields: Json) -> dict[str, Any]:
    return {
        name: [present(v) if isinstance(v, dict) else v for v in value] if isinstance(value, list) else value
        for name, value in fields.items()
        if value is not LEFT_OUT
    }


@st.composite
def near_answers(draw: st.DrawFn, wire: Format) -> bytes:
    result = present(draw(near_results))
    head = present(draw(st.fixed_dictionaries({"code": maybe(0, 0, 0, -22), "msg": maybe("success")})))
    if wire.enveloped:
        answer = {**head, **present({"data": draw(st.one_of(st.just(result), maybe(result)))})}
    else:
        answer = {**result, **head} if draw(st.booleans()) else result
    return json.dumps(answer).encode()


@st.composite
def mutilated_answers(draw: st.DrawFn, wire: Format) -> bytes:
    body = bytearray(
        draw(
            st.sampled_from(
                [
                    wire.body("running"),
                    wire.body("succeeded", url=URL),
                    wire.body("failed", failure_reason="error", error="text"),
                    wire.business_error(-22, "gone"),
                ]
            )
        )
    )
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 3))
        body[place : place + length] = draw(st.binary(max_size=3) | st.sampled_from([b'"', b"0", b"}", b","]))
    return bytes(body)


wires = st.sampled_from([SORA, VEO, UNIFIED])


@given(wire=wires, body=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_end_a_task(wire: Format, body: bytes) -> None:
    result = poll_in_process(wire, body)
    assert isinstance(result, NoAnswer)
    check_shape(result)


@given(data=st.data(), wire=wires)
@settings(max_examples=600, deadline=None)
def test_an_answer_of_nearly_the_right_shape_is_judged_by_the_contract(
    data: st.DataObject, wire: Format
) -> None:
    body = data.draw(near_answers(wire))
    result = poll_in_process(wire, body)
    assert type(result) is expected_kind(wire, body), (wire.name, body, result)
    check_shape(result)


@given(data=st.data(), wire=wires)
@settings(max_examples=600, deadline=None)
def test_a_mutilated_answer_never_ends_a_task_unless_it_still_decodes(
    data: st.DataObject, wire: Format
) -> None:
    body = data.draw(mutilated_answers(wire))
    result = poll_in_process(wire, body)
    check_shape(result)
    if not isinstance(result, NoAnswer):
        # invalid UTF-8 in a text that nobody reads is let pass, so the text is read leniently here
        readable = body.decode(errors="replace").encode()
        assert type(result) is expected_kind(wire, readable), (wire.name, body, result)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children),
    max_leaves=20,
)


@given(wire=wires, answer=json_values)
@settings(max_examples=300, deadline=None)
def test_any_json_is_judged_by_the_contract(wire: Format, answer: Any) -> None:
    for body in (json.dumps(answer).encode(), wire.wrap(answer)):
        result = poll_in_process(wire, body)
        assert type(result) is expected_kind(wire, body), (wire.name, body, result)
        check_shape(result)


def test_the_transport_error_of_any_kind_is_no_answer() -> None:
    class Failing(Answering):
        async def request(self, *args: Any, **options: Any) -> Response:
            raise TransportError("cut", may_have_been_received=False)

    for wire in (SORA, UNIFIED):
        config = ProviderConfig(host="http://x", api_key=KEY, transport=Failing(b""))
        assert asyncio.run(wire.build(config).poll_remote_task(ID)) == NoAnswer("cut")


@pytest.mark.parametrize("wire", [SORA, UNIFIED], ids=lambda wire: wire.name)
def test_cancelling_a_poll_cancels_it(wire: Format) -> None:
    async def hangs(exchange: Exchange) -> None:
        await asyncio.sleep(HANG_SECONDS)

    async def test() -> None:
        async with http1_server(hangs) as server, provider_for(wire, server.url) as provider:
            polling = asyncio.create_task(provider.poll_remote_task(ID))
            await server.arrived.wait()
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling

    asyncio.run(test())
