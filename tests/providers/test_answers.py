"""What a refusal says, in every shape that services use: read by one reader, for every provider."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from rushes.domain.task import Accepted, FailureType, NotSent, Rejected, SubmitOutcome, Throttled, Unknown
from rushes.providers.answers import Complaint, complaint_of, progress_of, words_in
from rushes.providers.base import Provider, ProviderConfig, SubmitRequest
from rushes.providers.families import (
    ark,
    dashscope,
    fal,
    google,
    grsai,
    grsai_unified,
    minimax,
    openai_video,
    runway,
    xai,
)
from rushes.providers.http.transport import Response

KEY = "sk-canary-5e1f0a"

SHAPES: list[tuple[Any, Complaint]] = [
    ({"code": "bad_prompt", "message": "flagged", "data": None}, Complaint("flagged", "bad_prompt")),
    ({"code": 400, "msg": "flagged"}, Complaint("flagged", "400")),
    ({"error": "flagged"}, Complaint("flagged")),
    ({"error": {"message": "flagged", "code": "c", "type": "t"}}, Complaint("flagged", "c")),
    ({"error": {"message": "flagged", "type": "t", "code": None}}, Complaint("flagged", "t")),
    ({"error": {"message": None, "code": 1026}}, Complaint("", "1026")),
    ({"code": 400, "error": {"code": "inner", "message": "flagged"}}, Complaint("flagged", "inner")),
    ({"error": {"message": "", "code": "c"}, "message": "outer"}, Complaint("outer", "c")),
    ({"detail": "flagged"}, Complaint("flagged")),
    ({"detail": {"message": "flagged", "code": "c"}}, Complaint("flagged", "c")),
    ({"detail": [{"loc": ["body"], "msg": "a", "type": "t"}, {"msg": "b"}]}, Complaint("a; b", "t")),
    ({"errors": [{"message": "a"}, "b"]}, Complaint("a; b")),
    (
        [{"error": {"message": "flagged", "status": "INVALID_ARGUMENT"}}],
        Complaint("flagged", "INVALID_ARGUMENT"),
    ),
    ({"title": "Not taken", "detail": "flagged", "status": 400}, Complaint("flagged", "400")),
    (
        {"type": "error", "error": {"type": "t", "message": "flagged", "http_code": "422"}},
        Complaint("flagged", "t"),
    ),
    ("flagged", Complaint("flagged")),
]
SILENT: list[Any] = [
    None,
    {},
    [],
    5,
    True,
    {"code": 0},
    {"error": {}},
    {"detail": []},
    {"message": "  "},
    {"code": True},
]


@pytest.mark.parametrize(("body", "complaint"), SHAPES)
def test_every_shape_of_an_error_body_is_read(body: Any, complaint: Complaint) -> None:
    assert complaint_of(json.dumps(body).encode()) == complaint
    assert complaint_of(b"\xef\xbb\xbf" + json.dumps(body).encode()) == complaint


@pytest.mark.parametrize("body", SILENT)
def test_a_body_without_words_says_nothing(body: Any) -> None:
    assert complaint_of(json.dumps(body).encode()) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b'{"error":', b'{"a":' * 100_000])
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    assert complaint_of(body) is None


def test_words_are_not_looked_for_without_end() -> None:
    deep: Any = "flagged"
    for _ in range(50):
        deep = {"error": deep}
    assert words_in(deep) is None
    assert words_in(["a"] * 100_000) == "; ".join(["a"] * 5)


@pytest.mark.parametrize(
    ("value", "progress"),
    [(7, 7), (True, None), (None, None), ("7%", 7), (0.5, 0), (float("nan"), None), (-(10**40), 0)],
)
def test_progress_is_a_per_cent_or_nothing(value: Any, progress: int | None) -> None:
    assert progress_of(value) == progress


# --- every provider ---------------------------------------------------------------------------------------


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


PROVIDERS = pytest.mark.parametrize(
    ("build", "model"),
    [
        (grsai.build, "sora-2"),
        (grsai.build, "veo3.1-fast"),
        (grsai_unified.build, "minimax-h3"),
        (fal.build, "fal-ai/veo3.1/fast"),
        (google.build, "veo-3.1-generate-preview"),
        (google.build, "gemini-omni-1.2-flash"),
        (runway.build, "gen4.5"),
        (openai_video.build, "sora-2"),
        (ark.build, "doubao-seedance-2-0-260128"),
        (minimax.build, "MiniMax-H3"),
        (xai.build, "grok-imagine-video"),
        (dashscope.build, "wan3.0-video"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
Build = Callable[[ProviderConfig], Provider]


def submit(build: Build, model: str, status: int, body: Any) -> SubmitOutcome:
    said = body if isinstance(body, bytes) else json.dumps(body).encode()
    provider = build(ProviderConfig(host="http://x", api_key=KEY, transport=Answering(status, said)))
    return asyncio.run(provider.submit(SubmitRequest(model, "a fox")))


FLAGGED = "Your input was flagged by moderation"


@PROVIDERS
def test_a_moderated_prompt_is_refused_with_the_services_words(build: Build, model: str) -> None:
    for body in (
        {"code": "moderation_failed", "message": FLAGGED, "data": None},
        {"error": FLAGGED},
        {"error": {"message": FLAGGED, "code": None}},
        {"detail": FLAGGED},
        {"detail": [{"msg": FLAGGED, "loc": ["body"]}]},
    ):
        outcome = submit(build, model, 400, body)
        assert outcome == Rejected(FLAGGED, FailureType.INPUT_MODERATION), (body, outcome)


@PROVIDERS
def test_another_bad_request_is_refused_with_the_services_words(build: Build, model: str) -> None:
    outcome = submit(build, model, 422, {"code": "invalid_size", "message": "size is unsupported"})
    assert outcome == Rejected("size is unsupported", FailureType.PARAM_ERROR)


@PROVIDERS
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_s_error_keeps_its_words_and_stays_unknown(build: Build, model: str, status: int) -> None:
    outcome = submit(build, model, status, {"code": "upstream_down", "message": f"no luck {KEY}"})
    assert isinstance(outcome, Unknown)
    assert outcome.reason == f"HTTP {status}: no luck ***"


@PROVIDERS
def test_a_refused_key_and_a_busy_service_keep_their_words(build: Build, model: str) -> None:
    refused = submit(build, model, 401, {"error": {"message": "who are you"}})
    assert isinstance(refused, NotSent)
    assert "who are you" in refused.reason
    busy = submit(build, model, 429, {"message": "slow down"})
    assert isinstance(busy, Throttled)
    assert "slow down" in busy.reason


@PROVIDERS
def test_a_byte_order_mark_costs_no_acceptance(build: Build, model: str) -> None:
    answer = {"code": 0, "data": {"id": "abc"}, "id": "abc", "request_id": "abc"}
    answer |= {"output": {"task_id": "abc"}, "task_id": "abc"}
    answer["name"] = "models/veo-3.1-generate-preview/operations/abc"
    outcome = submit(build, model, 200, b"\xef\xbb\xbf" + json.dumps(answer).encode())
    assert isinstance(outcome, Accepted)
