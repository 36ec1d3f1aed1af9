"""Runway's tasks API: what a submit sends, and what every answer means."""

import json
from typing import Any

import pytest

from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
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
from rushes.providers.base import ProviderConfig, ProviderLimits, SubmitRequest
from rushes.providers.families import runway
from rushes.providers.http.client import HttpTransport
from rushes.providers.inputs import InputFile
from tests.providers.local_http import Exchange
from tests.providers.service import KEY, Reply, Service, request_of

ID = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
GEN = SubmitRequest("gen4.5", "a lighthouse")
IMAGE = "https://i.example/1.png"
URL = "https://dnznrvs05pmza.cloudfront.net/1.mp4?_jwt=ey"
TEXT_TO_VIDEO = "/v1/text_to_video"


def submit(
    reply: Reply, request: SubmitRequest = GEN, path: str = TEXT_TO_VIDEO
) -> tuple[SubmitOutcome, list[Exchange]]:
    return Service(runway.build, {path: reply}).submit(request)


# --- submits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "path", "fields"),
    [
        ("gen4.5", {}, TEXT_TO_VIDEO, {"ratio": "1280:720", "duration": 5}),
        (
            "gen4.5",
            {"aspect_ratio": "9:16", "duration": 8, "seed": 7},
            TEXT_TO_VIDEO,
            {"ratio": "720:1280", "duration": 8, "seed": 7},
        ),
        (
            "veo3.1_fast",
            {"aspect_ratio": "9:16", "resolution": "1080p"},
            TEXT_TO_VIDEO,
            {"ratio": "1080:1920"},
        ),
        (
            "gen4.5",
            {"first_frame": (InputFile(IMAGE),)},
            "/v1/image_to_video",
            {"ratio": "1280:720", "duration": 5, "promptImage": IMAGE},
        ),
    ],
)
def test_a_submit_says_what_the_api_must_know(
    model: str, options: dict[str, Any], path: str, fields: dict[str, Any]
) -> None:
    request = request_of(model, "a lighthouse", options, callback_url="https://unused.example/")
    outcome, (exchange,) = submit(Reply({"id": ID}), request, path)
    assert outcome == Accepted(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.headers["x-runway-version"] == "2024-11-06"
    assert json.loads(exchange.body) == {"model": model, "promptText": "a lighthouse", **fields}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (
            SubmitRequest("gen4.5", "🎬" * 7501),
            "the prompt has 15002 UTF-16 code units; Runway takes 15000",
        ),
        (SubmitRequest("gen4.5", "a", {"sharpness": 1}), "gen4.5 has no option sharpness"),
        (
            SubmitRequest("gen4.5", "a", inputs={"references": (InputFile(IMAGE),)}),
            "gen4.5 has no input references",
        ),
        (SubmitRequest("gen4.5", "a", {"resolution": "4k"}), "gen4.5 has no 16:9 in 4k"),
        (SubmitRequest("gen4.5", "\ud800"), "the prompt or an option is not valid text"),
    ],
)
def test_what_the_api_would_refuse_is_never_sent(request_: SubmitRequest, reason: str) -> None:
    assert submit(Reply({"id": ID}), request_) == (Rejected(reason, FailureType.PARAM_ERROR), [])


NO_CREDITS = "You do not have enough credits to run this task."


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (
            Reply({"error": NO_CREDITS, "docUrl": "https://docs.dev.runwayml.com/api"}, 400),
            NotSent(NO_CREDITS, pauses_provider=True),
        ),
        (
            Reply({"error": "Validation of body failed", "issues": [{"path": ["ratio"]}]}, 400),
            Rejected("Validation of body failed", FailureType.PARAM_ERROR),
        ),
        (
            Reply({"error": f"no such key {KEY}"}, 401),
            NotSent(
                "the key was refused (HTTP 401: no such key ***)", pauses_provider=True, key_refused=True
            ),
        ),
        (Reply({"error": "slow down"}, 429, {"retry-after": "30"}), Throttled("HTTP 429: slow down", 30.0)),
        (Reply(b"", 503), Unknown("HTTP 503")),
        (Reply({}), Unknown("undecodable answer: Object missing required field `id`")),
        (Reply({"id": ""}), Unknown("accepted without a usable id")),
    ],
    ids=["no credits", "invalid", "wrong key", "throttled", "shedding load", "no id", "empty id"],
)
def test_a_refused_submit_is_the_tasks_the_accounts_or_unknown(reply: Reply, outcome: SubmitOutcome) -> None:
    assert submit(reply)[0] == outcome


def test_it_is_asked_of_one_task_every_five_seconds_unless_the_operator_says_otherwise() -> None:
    def interval(limits: ProviderLimits) -> float | None:
        config = ProviderConfig("https://runway.example", KEY, HttpTransport(), limits=limits)
        return runway.build(config).limits.poll_interval_min_seconds

    assert interval(ProviderLimits()) == 5.0
    assert interval(ProviderLimits(poll_interval_min_seconds=0.1)) == 0.1


# --- polls ------------------------------------------------------------------------------------------------


def poll(reply: Reply) -> PollResult:
    result, (exchange,) = Service(runway.build, {f"/v1/tasks/{ID}": reply}).poll(ID)
    assert (exchange.method, exchange.path, exchange.body) == ("GET", f"/v1/tasks/{ID}", b"")
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.headers["x-runway-version"] == "2024-11-06"
    return result


def task(status: str, **fields: Any) -> Reply:
    return Reply({"id": ID, "status": status, "createdAt": "2026-11-25T21:00:00.000Z", **fields})


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (task("PENDING", estimatedCost={"credits": 60}), QUEUED),
        (task("THROTTLED", estimatedCost={"credits": 60}), QUEUED),
        (task("RUNNING", progress=0.29, estimatedCost={"credits": 60.5}), Processing(29)),
        (task("RUNNING", progress=1), Processing(100)),
        (task("RUNNING"), Processing(None)),
        (
            task("SUCCEEDED", output=[URL], cost={"credits": 60}),
            Succeeded(URL, provider_cost=60, provider_cost_unit="credits"),
        ),
        (
            task("SUCCEEDED", output=[], cost={"credits": 60}),
            Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR, 60, "credits"),
        ),
        (
            task("FAILED", failure="no", failureCode="SAFETY.INPUT.TEXT", cost={"credits": 60}),
            Failed("no", FailureType.INPUT_MODERATION, 60, "credits"),
        ),
        (task("CANCELLED"), Failed("the task was cancelled at Runway", FailureType.CANCELLED)),
        (task("FAILED", failure=""), Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)),
        (Reply({"error": "Task not found"}, 404), Failed("Task not found", FailureType.NOT_FOUND)),
    ],
)
def test_each_state_of_a_task_means_one_thing(reply: Reply, result: PollResult) -> None:
    heard = poll(reply)
    assert heard == result
    assert getattr(heard, "is_queued", None) == getattr(result, "is_queued", None)


@pytest.mark.parametrize(
    ("code", "failure_type"),
    [
        ("SAFETY.INPUT.TEXT", FailureType.INPUT_MODERATION),
        ("SAFETY.OUTPUT.VIDEO", FailureType.OUTPUT_MODERATION),
        ("SAFETY", FailureType.OUTPUT_MODERATION),
        ("INPUT_PREPROCESSING.SAFETY.THIRD_PARTY", FailureType.INPUT_MODERATION),
        ("INPUT_PREPROCESSING.INTERNAL", FailureType.MODEL_ERROR),
        ("ASSET.INVALID", FailureType.PARAM_ERROR),
        ("INTERNAL.BAD_OUTPUT.CODE01", FailureType.MODEL_ERROR),
        ("SAFETYNET", FailureType.MODEL_ERROR),
    ],
)
def test_a_failure_is_told_by_its_code_and_not_by_its_text(code: str, failure_type: FailureType) -> None:
    text = "An unexpected error, no moderation. policies"
    assert poll(task("FAILED", failure=text, failureCode=code)) == Failed(text, failure_type)


def test_a_failure_without_a_code_is_told_by_its_text() -> None:
    text = "Your request was blocked by content moderation."
    assert poll(task("FAILED", failure=text)) == Failed(text, FailureType.OUTPUT_MODERATION)


@pytest.mark.parametrize(
    ("reply", "http_status"),
    [
        (task("succeeded", output=[URL]), 200),
        (task("SUCCEEDED", output=URL), 200),
        (task("SUCCEEDED", output=[5]), 200),
        (Reply({"status": "SUCCEEDED", "output": [URL]}), 200),
        (Reply(b"<html>"), 200),
        (Reply(b"", 404), 404),
        (Reply({"detail": "Not Found"}, 404), 404),
        (Reply({"error": "no"}, 401), 401),
        (Reply({"error": "busy"}, 502), 502),
    ],
)
def test_what_does_not_decode_strictly_is_no_answer(reply: Reply, http_status: int) -> None:
    result = poll(reply)
    assert isinstance(result, NoAnswer)
    assert result.http_status == http_status
