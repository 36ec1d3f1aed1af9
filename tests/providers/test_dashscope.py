"""Model Studio (DashScope): what a submit sends, and what every answer means."""

import json
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
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
from rushes.providers.families import dashscope
from rushes.providers.http.client import HttpTransport
from rushes.run.inputs.source import urls_of
from tests.providers.local_http import Exchange
from tests.providers.service import KEY, Reply, Service

ID = "0385dc79-5ff8-4d82-bcb6-7aa2f2d2f2f3"
IMAGE = "https://i.example/1.png"
URL = "https://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/1.mp4?Expires=1790000000"
SYNTHESIS = "/services/aigc/video-generation/video-synthesis"
TAKEN = Reply({"output": {"task_id": ID, "task_status": "PENDING"}, "request_id": "r-1"})


def request(name: str = "wan-3.0", options: dict[str, Any] | None = None) -> SubmitRequest:
    model = DEFAULT_CATALOGUE.get(name)
    sent = model.completed(model.normalise_options(options or {}))
    plain, inputs = model.without_media(sent), urls_of(model, sent)
    return SubmitRequest(model.api_model, "a fox", plain, wires=model.wires, inputs=inputs)


def submit(reply: Reply, asked: SubmitRequest | None = None) -> tuple[SubmitOutcome, list[Exchange]]:
    return Service(dashscope.build, {SYNTHESIS: reply}).submit(asked or request())


@pytest.mark.parametrize(
    ("name", "options", "api_model", "media", "parameters"),
    [
        ("wan-3.0", {}, "wan3.0-video", None, {}),
        (
            "wan-3.0",
            {"aspect_ratio": "portrait", "duration": 30, "resolution": "1080p", "seed": 7},
            "wan3.0-video",
            None,
            {"ratio": "9:16", "duration": 30, "resolution": "1080P", "seed": 7},
        ),
        (
            "wan-3.0",
            {"first_frame": IMAGE, "last_frame": IMAGE},
            "wan3.0-video",
            [("first_frame", IMAGE), ("last_frame", IMAGE)],
            {},
        ),
        (
            "wan-3.0",
            {"references": [IMAGE], "audio": [IMAGE]},
            "wan3.0-video",
            [("reference_image", IMAGE), ("reference_audio", IMAGE)],
            {},
        ),
        ("wan-2.7", {}, "wan2.7-t2v", None, {}),
        ("wan-2.7", {"first_frame": IMAGE}, "wan2.7-i2v", [("first_frame", IMAGE)], {}),
        ("happyhorse-1.1", {}, "happyhorse-1.1-t2v", None, {}),
        ("happyhorse-1.1", {"first_frame": IMAGE}, "happyhorse-1.1-i2v", [("first_frame", IMAGE)], {}),
        ("happyhorse-1.1", {"references": [IMAGE]}, "happyhorse-1.1-r2v", [("reference_image", IMAGE)], {}),
    ],
)
def test_a_submit_says_what_the_api_must_know(
    name: str,
    options: dict[str, Any],
    api_model: str,
    media: list[tuple[str, str]] | None,
    parameters: dict[str, Any],
) -> None:
    outcome, (exchange,) = submit(TAKEN, request(name, options))
    assert outcome == Accepted(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.headers["x-dashscope-async"] == "enable"
    given: dict[str, Any] = {"prompt": "a fox"}
    if media:
        given["media"] = [{"type": role, "url": url} for role, url in media]
    assert json.loads(exchange.body) == {
        "model": api_model,
        "input": given,
        "parameters": {"duration": 5, "resolution": "720P", **parameters},
    }


def refused(code: str, status: int, message: str = "no") -> Reply:
    return Reply({"code": code, "message": message, "request_id": "r-1"}, status)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (refused("Arrearage", 400), NotSent("no (Arrearage)", pauses_provider=True)),
        (
            refused("AccessDenied.Unpurchased", 403),
            NotSent(
                "activate Model Studio for the account: no (AccessDenied.Unpurchased)", pauses_provider=True
            ),
        ),
        (
            refused("AllocationQuota.FreeTierOnly", 403),
            NotSent("no (AllocationQuota.FreeTierOnly)", pauses_provider=True),
        ),
        (
            refused("AccessDenied", 403),
            NotSent(
                "the key was refused (HTTP 403: no (AccessDenied))", pauses_provider=True, key_refused=True
            ),
        ),
        (
            refused("Model.AccessDenied", 403),
            Rejected(
                "this key's workspace may not use the model: no (Model.AccessDenied)", FailureType.PARAM_ERROR
            ),
        ),
        (
            refused("ModelNotFound", 404),
            Rejected("this region has no such model: no (ModelNotFound)", FailureType.PARAM_ERROR),
        ),
        (refused("Throttling.RateQuota", 429), Throttled("no (Throttling.RateQuota)")),
        (refused("Throttling.AllocationQuota", 429), Throttled("no (Throttling.AllocationQuota)")),
        (
            refused("DataInspectionFailed", 400),
            Rejected("no (DataInspectionFailed)", FailureType.INPUT_MODERATION),
        ),
        (refused("InvalidParameter.X", 400), Rejected("no (InvalidParameter.X)", FailureType.PARAM_ERROR)),
        (refused("Arrearage", 200), NotSent("no (Arrearage)", pauses_provider=True)),
        (refused("Throttling", 200), Throttled("no (Throttling)")),
        (refused("InternalError", 500), Unknown("HTTP 500: no")),
        (
            refused("InternalError", 200),
            Unknown("undecodable answer: Object missing required field `output`"),
        ),
        (
            Reply({"code": "Arrearage", "output": {}}),
            Unknown("undecodable answer: Object missing required field `task_id` - at `$.output`"),
        ),
    ],
)
def test_a_refusal_is_what_its_code_says(reply: Reply, outcome: SubmitOutcome) -> None:
    assert submit(reply)[0] == outcome


def test_a_key_of_the_other_region_is_named_for_what_it_is() -> None:
    outcome, _ = submit(refused("InvalidApiKey", 401, f"Invalid API-key {KEY} provided."))
    assert isinstance(outcome, NotSent)
    assert outcome.key_refused
    assert "a key, its models and the host are of one region" in outcome.reason
    assert KEY not in outcome.reason


def test_it_is_asked_of_one_task_every_fifteen_seconds_unless_the_operator_says_otherwise() -> None:
    def interval(limits: ProviderLimits) -> float | None:
        config = ProviderConfig("https://a.example", KEY, HttpTransport(), limits=limits)
        return dashscope.build(config).limits.poll_interval_min_seconds

    assert interval(ProviderLimits()) == 15.0
    assert interval(ProviderLimits(poll_interval_min_seconds=0.1)) == 0.1


# --- polls ------------------------------------------------------------------------------------------------


def poll(reply: Reply, count: int = 1) -> PollResult:
    result, exchanges = Service(dashscope.build, {f"/tasks/{ID}": reply}).poll(ID)
    assert len(exchanges) == count
    assert exchanges[0].headers["authorization"] == f"Bearer {KEY}"
    return result


def task(status: str, usage: Any = None, **fields: Any) -> Reply:
    return Reply({"output": {"task_id": ID, "task_status": status, **fields}, "usage": usage})


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (task("PENDING"), QUEUED),
        (task("RUNNING"), Processing(None)),
        (task("SUSPENDED"), Processing(None)),
        (
            task("SUCCEEDED", {"duration": 5, "SR": 720}, video_url=URL),
            Succeeded(URL, provider_cost=5, provider_cost_unit="seconds"),
        ),
        (task("SUCCEEDED", video_url=URL), Succeeded(URL)),
        (task("SUCCEEDED", {"duration": True}, video_url=URL), Succeeded(URL)),
        (
            task("SUCCEEDED", {"duration": 5.5}),
            Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR, 5.5, "seconds"),
        ),
        (task("CANCELED"), Failed("the task was cancelled at Model Studio", FailureType.CANCELLED)),
        (
            task("UNKNOWN"),
            Failed(
                "Model Studio knows no such task: it forgets a task after a day",
                FailureType.NOT_FOUND,
                names_task=True,
            ),
        ),
        (task("FAILED"), Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)),
        (
            task("FAILED", code="DataInspectionFailed", message="Input data may be inappropriate."),
            Failed("Input data may be inappropriate.", FailureType.INPUT_MODERATION),
        ),
        (
            task("FAILED", code="DataInspectionFailed", message="Output data may be inappropriate."),
            Failed("Output data may be inappropriate.", FailureType.OUTPUT_MODERATION),
        ),
        (
            task("FAILED", code="IPInfringementSuspect", message="x"),
            Failed("x", FailureType.INPUT_MODERATION),
        ),
        (
            task("FAILED", code="InvalidParameter.DataInspection", message="x"),
            Failed("x", FailureType.PARAM_ERROR),
        ),
        (
            task("FAILED", code="InternalError.Algo", message="invalid"),
            Failed("invalid", FailureType.MODEL_ERROR),
        ),
    ],
)
def test_each_state_of_a_task_means_one_thing(reply: Reply, result: PollResult) -> None:
    heard = poll(reply)
    assert heard == result
    assert getattr(heard, "is_queued", None) == getattr(result, "is_queued", None)


def test_an_answer_that_names_no_task_ends_one_only_over_a_fresh_connection() -> None:
    unnamed = Reply({"output": {"task_status": "UNKNOWN"}})
    result = poll(unnamed)
    assert isinstance(result, Failed), "the first answer of its connection"
    assert isinstance(poll(Reply({"output": {"task_status": "RUNNING"}})), Processing)


@pytest.mark.parametrize(
    ("reply", "http_status"),
    [
        (task("Succeeded", video_url=URL), 200),
        (task("SUCCEEDED", video_url=5), 200),
        (Reply({"task_id": ID, "task_status": "SUCCEEDED", "video_url": URL}), 200),
        (Reply({"code": "InvalidApiKey", "message": "no", "request_id": "r"}, 401), 401),
        (Reply({"code": "Throttling", "message": "no"}, 429), 429),
        (Reply({"code": "NotFound"}, 404), 404),
    ],
)
def test_what_does_not_decode_strictly_is_no_answer(reply: Reply, http_status: int) -> None:
    result = poll(reply)
    assert isinstance(result, NoAnswer)
    assert result.http_status == http_status
