"""The dialects of OpenAI-compatible servers: each shape of the table in docs/providers.md, over real HTTP."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    Throttled,
    Unknown,
)
from rushes.providers.answers import QUEUED
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import openai_video
from rushes.providers.http.client import HttpTransport
from rushes.providers.openai_dialects import STATUSES, Standing, video_url_of
from tests.providers.local_http import Exchange, http1_server
from tests.providers.service import Reply, Service

ID = "video_1"
MODERATED = FailureType.INPUT_MODERATION
MODEL_ERROR = FailureType.MODEL_ERROR
OOM = "out of memory"


def submit(body: Any, status: int = 200, **headers: str) -> SubmitOutcome:
    service = Service(openai_video.build, {"/videos": Reply(body, status, headers)})
    return service.submit(SubmitRequest("sora-2", "a fox"))[0]


def poll(body: Any, status: int = 200, remote_task_id: str = ID) -> PollResult:
    path = f"/videos/{remote_task_id}"
    return Service(openai_video.build, {path: Reply(body, status)}).poll(remote_task_id)[0]


def packed(text: str) -> str:
    return f"video_{base64.b64encode(text.encode()).decode().rstrip('=')}"


def handed_on(error: dict[str, Any]) -> dict[str, Any]:
    """An upstream's error in the text of a gateway's own."""
    return {"code": "fail_to_fetch_task", "message": json.dumps({"error": error}), "data": None}


# --- submits: an id in its place ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "remote_task_id"),
    [
        ({"id": "t", "status": "NOT_START"}, "t"),
        ({"id": "t", "status": "queued", "progress": "0%"}, "t"),
        ({"id": "t", "status": "failed", "error": {"message": "no"}}, "t"),
        ({"id": "t", "status": 5, "progress": [], "error": 1, "created_at": "now"}, "t"),
        ({"id": "t"}, "t"),
        ({"id": 4326796003218200779123, "status": "queued"}, "4326796003218200779123"),
        ({"task_id": "4326796003218200779"}, "4326796003218200779"),
        ({"id": "", "task_id": "t"}, "t"),
        ({"id": "t", "task_id": "u"}, "t"),
        ({"id": 7, "task_id": "t"}, "t"),
        ({"code": "success", "message": "", "data": {"id": 7, "task_id": "t", "status": "NOT_START"}}, "t"),
        ({"code": 0, "data": {"task_id": "t", "task_status": "submitted"}}, "t"),
        ({"code": 200, "msg": "success", "data": {"taskId": "t"}}, "t"),
        ({"data": [{"id": "t", "status": "queued"}]}, "t"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_readable_id_in_its_place_is_an_acceptance(body: Any, remote_task_id: str, status: int) -> None:
    assert submit(body, status) == Accepted(remote_task_id)


def test_a_long_id_of_litellm_is_accepted() -> None:
    long = packed(f"litellm:custom_llm_provider:openai;model_id:{'a' * 64};video_id:video_{'b' * 48}")
    assert 200 < len(long) < 300
    assert submit({"id": long, "object": "video", "status": "queued"}) == Accepted(long)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"status": "queued"}, "without a usable id"),
        ({"id": None, "status": "queued"}, "without a usable id"),
        ({"id": True}, "without a usable id"),
        ({"id": "x" * 501}, "without a usable id"),
        ({"id": {"id": "t"}}, "without a usable id"),
        ({"code": "fail_to_fetch_task", "message": "try later", "data": None}, "try later"),
    ],
)
def test_without_a_readable_id_nobody_knows(body: Any, words: str) -> None:
    outcome = submit(body)
    assert isinstance(outcome, Unknown)
    assert words in outcome.reason


# --- submits: refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"code": "fail_to_fetch_task", "message": "flagged by moderation", "data": None},
            "flagged by moderation",
        ),
        ({"error": {"message": "flagged by moderation", "code": 1301, "type": "t"}}, "flagged by moderation"),
        ({"error": "flagged by moderation"}, "flagged by moderation"),
        ({"detail": {"error": {"message": "flagged by moderation", "code": "x"}}}, "flagged by moderation"),
        ({"error": {"message": None, "code": "moderation_blocked"}}, "moderation_blocked"),
        ({"error": {"message": "no", "code": "sensitive_words_detected"}}, "no"),
        (
            handed_on({"message": "no", "code": "moderation_blocked"}),
            "no",
        ),
    ],
)
def test_a_moderation_keeps_its_reason_in_every_shape(body: Any, reason: str) -> None:
    assert submit(body, 400) == Rejected(reason, MODERATED)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"code": "invalid_request", "message": "field seconds is wrong", "data": None},
            "field seconds is wrong",
        ),
        ({"error": "bad size"}, "bad size"),
        ({"error": {"code": 1201, "message": None}}, "1201"),
        (
            {"detail": [{"loc": ["body", "size"], "msg": "Field required", "type": "missing"}]},
            "Field required",
        ),
        ({"code": 400, "msg": "bad size"}, "bad size"),
        ({"error": {"message": {"odd": 1}}}, "HTTP 400"),
        (b"<html>", "HTTP 400"),
    ],
)
def test_another_refusal_keeps_its_reason_in_every_shape(body: Any, reason: str) -> None:
    assert submit(body, 400) == Rejected(reason, FailureType.PARAM_ERROR)


@pytest.mark.parametrize("status", [403, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        {"code": "insufficient_user_quota", "message": "用户额度不足", "data": None},
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
    ],
)
def test_an_account_without_credit_pauses_whatever_the_status_is(body: Any, status: int) -> None:
    outcome = submit(body, status)
    assert isinstance(outcome, NotSent)
    assert (outcome.pauses_provider, outcome.key_refused) == (True, False)
    assert "用户额度不足" in outcome.reason or "You exceeded" in outcome.reason


@pytest.mark.parametrize(
    "error",
    [
        {"message": "No available channel for model sora-2 under group default", "code": "model_not_found"},
        {"message": "当前分组 default 下对于模型 sora-2 无可用渠道", "type": "one_api_error"},
        {"message": "no available channel", "code": ""},
    ],
)
def test_a_router_without_a_channel_sent_nothing(error: Any) -> None:
    outcome = submit({"error": error}, 503, **{"retry-after": "7"})
    assert outcome == Throttled(f"HTTP 503: {error['message']}", 7.0)
    # the same words are certain with no other 5xx
    assert isinstance(submit({"error": error}, 502), Unknown)


def test_a_prompt_that_the_gateway_itself_refused_is_certain_with_a_5xx() -> None:
    body = {"error": {"message": "sensitive words detected", "code": "sensitive_words_detected"}}
    assert submit(body, 500) == Rejected("sensitive words detected", MODERATED)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"code": "do_request_failed", "message": "请求上游地址失败", "data": None}),
        (503, {"code": "fail_to_fetch_task", "message": "upstream is busy", "data": None}),
        (500, {"code": "get_channel_failed", "message": "可用渠道不存在(retry)", "data": None}),
        (503, {"error": {"message": "no available channel (retry)", "code": "model_not_found"}}),
        (500, {"error": {"message": "prompt was blocked", "code": "prompt_blocked"}}),
        (503, handed_on({"message": "No available channel", "code": "model_not_found"})),
        (500, handed_on({"message": "no credit", "code": "insufficient_user_quota"})),
    ],
)
def test_any_other_5xx_is_unknown_and_keeps_its_words(status: int, body: Any) -> None:
    outcome = submit(body, status)
    assert isinstance(outcome, Unknown)
    error = body.get("error") or body
    if error["message"].startswith("{"):
        error = json.loads(error["message"])["error"]
    assert outcome.reason == f"HTTP {status}: {error['message']}"


# --- polls: statuses ----------------------------------------------------------------------------------------


def test_the_documentation_has_every_status_as_it_is_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    rows = text.partition("**Statuses of polls**")[2].partition("**Other fields")[0].splitlines()
    documented: dict[str, Standing] = {}
    for words, reading in (row.split("|")[1:3] for row in rows if row.startswith("| `")):
        standing = Standing(reading.strip().partition(",")[0].partition(":")[0])
        documented |= dict.fromkeys(re.findall("`([a-z_]+)`", words), standing)
    assert documented == STATUSES


def shapes_of(word: str) -> list[str]:
    return [word, word.upper(), word.title(), word.replace("_", "-"), word.replace("_", " "), f" {word} "]


@pytest.mark.parametrize("word", STATUSES)
def test_a_known_status_is_understood_in_any_case(word: str) -> None:
    for status in shapes_of(word):
        result = poll({"id": ID, "status": status})
        match STATUSES[word]:
            case Standing.QUEUED:
                assert repr(result) == repr(QUEUED)
            case Standing.OPEN:
                assert repr(result) == repr(Processing(None))
            case Standing.SUCCEEDED:
                assert isinstance(result, Succeeded)
                assert result.video_url.endswith(f"/videos/{ID}/content")
            case Standing.FAILED:
                assert isinstance(result, Failed)


@pytest.mark.parametrize(
    ("progress", "read"),
    [
        *((0, 0), (40, 40), ("40%", 40), ("40", 40), (99.5, 99), (140, 100), (-3, 0), (" 7 % ", 7)),
        *((None, None), ("soon", None), ([40], None), (True, None), ("nan", None), ("9" * 40, 100)),
    ],
)
def test_progress_is_clamped_or_dropped_and_never_decides(progress: Any, read: int | None) -> None:
    assert poll({"id": ID, "status": "in_progress", "progress": progress}) == Processing(read)
    assert isinstance(poll({"id": ID, "status": "SUCCESS", "progress": progress}), Succeeded)
    assert isinstance(poll({"id": ID, "status": "failed", "progress": progress}), Failed)


@pytest.mark.parametrize(
    ("body", "message", "failure_type"),
    [
        ({"status": "failed"}, REMOTE_TASK_FAILED, MODEL_ERROR),
        ({"status": "failed", "error": {"code": "x", "message": OOM}}, OOM, MODEL_ERROR),
        ({"status": "failed", "error": OOM}, OOM, MODEL_ERROR),
        (
            {"status": "failed", "error": {"code": "y", "message": json.dumps({"error": {"message": OOM}})}},
            OOM,
            MODEL_ERROR,
        ),
        ({"status": "failed", "error": {"code": 1301, "message": None}}, "1301", MODEL_ERROR),
        ({"status": "failed", "error": {"code": 0, "message": ""}}, REMOTE_TASK_FAILED, MODEL_ERROR),
        (
            {"status": "failed", "error": {"code": "moderation_blocked", "message": None}},
            "moderation_blocked",
            FailureType.OUTPUT_MODERATION,
        ),
        (
            {"status": "failed", "error": "blocked: content policy"},
            "blocked: content policy",
            FailureType.OUTPUT_MODERATION,
        ),
        ({"status": "FAILURE", "fail_reason": OOM}, OOM, MODEL_ERROR),
        ({"status": "expired"}, "expired", FailureType.TIMEOUT),
        ({"status": "cancelled"}, "cancelled", FailureType.UNKNOWN),
        (
            {"status": "Canceled", "error": {"message": "by the operator"}},
            "by the operator",
            FailureType.UNKNOWN,
        ),
        ({"status": "violation"}, "violation", FailureType.OUTPUT_MODERATION),
        ({"status": "failed", "code": "upstream", "message": OOM, "data": None}, OOM, MODEL_ERROR),
        ({"status": "failed", "message": "success", "error": None}, REMOTE_TASK_FAILED, MODEL_ERROR),
        (
            {
                "code": "success",
                "message": "",
                "data": {"id": 9, "task_id": ID, "status": "FAILURE", "progress": "100%", "fail_reason": OOM},
            },
            OOM,
            MODEL_ERROR,
        ),
    ],
)
def test_a_failure_ends_at_once_with_the_best_reason(
    body: Any, message: str, failure_type: FailureType
) -> None:
    assert poll({**body, **({} if "data" in body else {"id": ID})}) == Failed(message, failure_type)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"id": ID, "status": "polishing"}, 'the unknown status "polishing"'),
        ({"id": ID, "status": "polishing", "error": "later"}, 'the unknown status "polishing": later'),
        ({"id": ID}, "no status in the answer"),
        ({"id": ID, "status": 3}, "no status in the answer"),
        ({"error": {"message": "rate limited"}}, "no status in the answer: rate limited"),
        ({"status": "success", "data": {"status": "processing"}}, "success, and in data processing"),
        ([], "no status in the answer"),
    ],
)
def test_what_is_in_no_table_is_no_answer_and_keeps_its_words(body: Any, words: str) -> None:
    result = poll(body)
    assert isinstance(result, NoAnswer)
    assert words in result.error


# --- polls: whose answer it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"status": "completed"},
        {"id": ID, "status": "completed"},
        {"id": None, "task_id": ID, "status": "completed"},
        {"id": "upstream", "task_id": ID, "status": "completed"},
        {"code": "success", "data": {"id": 12, "task_id": ID, "status": "SUCCESS"}},
        {"status": "success", "data": {"id": ID, "status": "completed"}},
        {"id": ID, "status": "completed", "data": {"id": "upstream", "status": "running"}},
    ],
)
def test_an_answer_about_the_task_or_about_none_is_taken(body: Any) -> None:
    assert isinstance(poll(body), Succeeded)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "video_2", "status": "completed"},
        {"id": 1, "status": "failed", "error": "no"},
        {"task_id": "video_2", "status": "completed"},
        {"code": "success", "data": {"id": 12, "task_id": "video_2", "status": "SUCCESS"}},
    ],
)
def test_an_answer_about_another_task_is_none(body: Any) -> None:
    result = poll(body)
    assert isinstance(result, NoAnswer)
    assert result.error == "the answer is about another task"


@pytest.mark.parametrize("body", [{"status": "completed"}, {"status": "failed"}, {"status": "queued"}])
def test_a_verdict_that_names_no_task_counts_only_from_a_fresh_connection(body: Any) -> None:
    async def polled_twice() -> tuple[list[PollResult], int, int]:
        async def answer(exchange: Exchange) -> None:
            await exchange.answer(200, json.dumps(body).encode())

        async with asyncio.timeout(10), http1_server(answer) as server:
            transport = HttpTransport(connect_timeout_seconds=1)
            provider = openai_video.build(ProviderConfig(server.url, "sk-1", transport, timeout_seconds=1.0))
            results = [await provider.poll_remote_task(ID) for _ in range(2)]
            await transport.close()
            return results, len(server.requests), server.connections

    results, requests, connections = asyncio.run(polled_twice())
    assert results[0] == results[1]
    assert results[0].ok
    is_open = body["status"] == "queued"
    assert (requests, connections) == ((2, 1) if is_open else (3, 2))


def test_a_number_asked_about_as_text_is_the_same_task() -> None:
    assert isinstance(poll({"id": 4711, "status": "completed"}, remote_task_id="4711"), Succeeded)


def test_litellm_s_ids_are_compared_by_what_is_packed_in_them() -> None:
    asked = packed("litellm:custom_llm_provider:openai;model_id:abc;video_id:video_9")
    other_route = packed("litellm:custom_llm_provider:openai;model_id:;video_id:video_9")
    other_task = packed("litellm:custom_llm_provider:openai;model_id:abc;video_id:video_8")
    assert isinstance(poll({"id": other_route, "status": "completed"}, remote_task_id=asked), Succeeded)
    assert isinstance(poll({"id": other_task, "status": "completed"}, remote_task_id=asked), NoAnswer)


# --- polls: other HTTP statuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"error": {"message": "Video with id 'x' not found.", "code": None}}),
        (404, {"detail": "Task not found"}),
        (404, {"error": {"message": "gone", "code": "task_not_found"}}),
        (400, {"code": "task_not_exist", "message": "task_not_exist", "data": None}),
    ],
)
def test_a_server_s_own_words_that_there_is_no_task_are_a_verdict(status: int, body: Any) -> None:
    result = poll(body, status)
    assert isinstance(result, Failed)
    assert result.failure_type is FailureType.NOT_FOUND


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"detail": "Not Found"}, "HTTP 404: Not Found"),
        (
            404,
            {"error": {"message": "Invalid URL (GET /v1/videos/x)", "code": ""}},
            "HTTP 404: Invalid URL (GET /v1/videos/x)",
        ),
        (404, {"error": {"message": "model not found"}}, "HTTP 404: model not found"),
        (
            500,
            {"code": "get_task_failed", "message": "database is locked", "data": None},
            "HTTP 500: database is locked",
        ),
        (500, {"error": {"message": "Task not found"}}, "HTTP 500: Task not found"),
        (400, {"detail": "Task not found"}, "HTTP 400: Task not found"),
        (502, b"<html>", "HTTP 502"),
    ],
)
def test_another_refused_poll_is_no_answer_and_keeps_its_words(status: int, body: Any, error: str) -> None:
    assert poll(body, status) == NoAnswer(error, status)


# --- where the URL stands -----------------------------------------------------------------------------------

URL = "https://cdn.example/v.mp4"


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL},
        {"video_url": URL, "url": None},
        {"result_url": URL, "data": {"url": "ftp://x/"}},
        {"data": {"url": URL}},
        {"code": "success", "data": {"result_url": URL, "url": ""}},
        {"metadata": {"url": URL}},
        {"output": URL},
        {"output": [URL, "https://cdn.example/other.mp4"]},
        {"output": {"video_url": URL}},
        {"video": {"url": URL}},
        {"content": {"video_url": URL}},
        {"assets": {"video": URL}},
        {"results": [{"url": URL}]},
        {"data": {"task_result": {"videos": [{"id": "1", "url": URL}]}}},
    ],
)
def test_the_url_is_found_where_it_stands(body: Any) -> None:
    assert video_url_of(json.dumps(body).encode()) == URL


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"5",
        b"null",
        b'{"thumbnail_url": "https://cdn.example/t.jpg"}',
        b'{"url": "file:///etc/passwd"}',
        b'{"url": {"url": {"url": {}}}}',
        b'{"data":' * 50 + b'{"url":"https://x/"}' + b"}" * 50,
    ],
)
def test_what_names_no_video_has_no_url(body: bytes) -> None:
    assert video_url_of(body) is None


# --- anything beside one readable fact ----------------------------------------------------------------------

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("a", "status", "message", "error", "url", "code")), inner, max_size=3
        )
    ),
    max_leaves=8,
)
BESIDE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("progress", "error", "message", "code", "data", "metadata", "url", "created_at", "detail"), JUNK
    ),
)


def cased(word: str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.sampled_from((letter, letter.upper())) for letter in word)).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    word=st.sampled_from(sorted(STATUSES)).flatmap(lambda w: st.tuples(st.just(w), cased(w))), beside=BESIDE
)
def test_a_known_status_is_the_verdict_whatever_is_beside_it(
    word: tuple[str, str], beside: dict[str, Any]
) -> None:
    result = poll({**beside, "id": ID, "status": word[1]})
    kind = {
        Standing.QUEUED: Processing,
        Standing.OPEN: Processing,
        Standing.SUCCEEDED: Succeeded,
        Standing.FAILED: Failed,
    }[STATUSES[word[0]]]
    assert isinstance(result, kind), result


@settings(max_examples=150, deadline=None)
@given(named=st.text("abc-_:/.", min_size=1, max_size=9) | st.integers(), beside=BESIDE, status=JUNK)
def test_a_readable_id_is_accepted_whatever_is_beside_it(
    named: str | int, beside: dict[str, Any], status: Any
) -> None:
    assert submit({**beside, "status": status, "id": named}) == Accepted(str(named))
