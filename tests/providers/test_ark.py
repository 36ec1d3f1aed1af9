"""Ark's content generation: what a submit sends, and what every answer means."""

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
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import ark
from rushes.providers.http.client import HttpTransport
from rushes.run.inputs.source import urls_of
from rushes.simulator.families.ark import ArkWire
from rushes.simulator.families.wire import SubmitCall
from rushes.simulator.message import SimRequest
from tests.providers.local_http import Exchange
from tests.providers.service import KEY, Reply, Service

ID = "cgt-20261129024500-7xk2p"
IMAGE = "https://i.example/1.png"
SOUND = "https://i.example/1.mp3"
URL = "https://ark-content.tos-cn-beijing.volces.com/1.mp4?X-Tos-Signature=5f"
TASKS = "/contents/generations/tasks"
MODEL = DEFAULT_CATALOGUE.get("seedance-2.0")


def request(options: dict[str, Any] | None = None, callback_url: str | None = None) -> SubmitRequest:
    sent = MODEL.completed(MODEL.normalise_options(options or {}))
    return SubmitRequest(
        MODEL.api_model,
        "a lighthouse",
        MODEL.without_media(sent),
        callback_url,
        MODEL.wires,
        inputs=urls_of(MODEL, sent),
    )


def submit(reply: Reply, asked: SubmitRequest | None = None) -> tuple[SubmitOutcome, list[Exchange]]:
    return Service(ark.build, {TASKS: reply}).submit(asked or request())


def image(url: str, role: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, "role": role}


@pytest.mark.parametrize(
    ("options", "fields", "pictures"),
    [
        ({}, {"duration": 5, "resolution": "720p", "generate_audio": True}, []),
        (
            {"aspect_ratio": "portrait", "duration": 15, "resolution": "4k", "sound": False, "seed": 7},
            {"ratio": "9:16", "duration": 15, "resolution": "4k", "generate_audio": False, "seed": 7},
            [],
        ),
        (
            {"first_frame": IMAGE, "last_frame": IMAGE + "?2"},
            {"duration": 5, "resolution": "720p", "generate_audio": True},
            [image(IMAGE, "first_frame"), image(IMAGE + "?2", "last_frame")],
        ),
        (
            {"references": [IMAGE, IMAGE], "audio": [SOUND]},
            {"duration": 5, "resolution": "720p", "generate_audio": True},
            [
                *[image(IMAGE, "reference_image")] * 2,
                {"type": "audio_url", "audio_url": {"url": SOUND}, "role": "reference_audio"},
            ],
        ),
    ],
)
def test_a_submit_says_what_the_api_must_know(
    options: dict[str, Any], fields: dict[str, Any], pictures: list[dict[str, Any]]
) -> None:
    asked = request(options, "https://rushes.example/callbacks/ark-cn/token")
    outcome, (exchange,) = submit(Reply({"id": ID}), asked)
    assert outcome == Accepted(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(exchange.body) == {
        "model": "doubao-seedance-2-0-260128",
        "content": [{"type": "text", "text": "a lighthouse"}, *pictures],
        "callback_url": "https://rushes.example/callbacks/ark-cn/token",
        **fields,
    }


def refused(code: str, status: int, message: str = "no. Request id: 02") -> Reply:
    return Reply({"error": {"code": code, "message": message, "param": "", "type": "X"}}, status)


WHY = "no. Request id: 02"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (
            refused("AccountOverdueError", 403),
            NotSent(f"{WHY} (AccountOverdueError)", pauses_provider=True),
        ),
        (
            refused("OperationDenied.ServiceOverdue", 403),
            NotSent(f"{WHY} (OperationDenied.ServiceOverdue)", pauses_provider=True),
        ),
        (refused("SetLimitExceeded", 429), NotSent(f"{WHY} (SetLimitExceeded)", pauses_provider=True)),
        (
            refused("ModelNotOpen", 404),
            Rejected(f"activate the model in Ark's console: {WHY} (ModelNotOpen)", FailureType.PARAM_ERROR),
        ),
        (
            refused("InvalidEndpointOrModel.NotFound", 404),
            Rejected(
                f"this account has no such model or endpoint: {WHY} (InvalidEndpointOrModel.NotFound)",
                FailureType.PARAM_ERROR,
            ),
        ),
        (
            refused("InputImageSensitiveContentDetected.PrivacyInformation", 400),
            Rejected(
                f"{WHY} (InputImageSensitiveContentDetected.PrivacyInformation)", FailureType.INPUT_MODERATION
            ),
        ),
        (refused("InvalidParameter", 400), Rejected(f"{WHY} (InvalidParameter)", FailureType.PARAM_ERROR)),
        (
            refused("RateLimitExceeded.EndpointRPMExceeded", 429),
            Throttled(f"{WHY} (RateLimitExceeded.EndpointRPMExceeded)", None),
        ),
        (refused("QuotaExceeded", 429), Throttled(f"{WHY} (QuotaExceeded)", None)),
        (refused("InternalServiceError", 500), Unknown(f"HTTP 500: {WHY}")),
        (refused("InternalServiceError", 400), Rejected(WHY, FailureType.PARAM_ERROR)),
        (refused("RateLimitExceeded", 503), Unknown(f"HTTP 503: {WHY}")),
        (
            Reply(b"<html>", 404),
            NotSent("no such API at this host (HTTP 404)", pauses_provider=True),
        ),
        (Reply({}), Unknown("undecodable answer: Object missing required field `id`")),
    ],
)
def test_a_refusal_is_what_its_code_says(reply: Reply, outcome: SubmitOutcome) -> None:
    assert submit(reply)[0] == outcome


def test_a_key_of_the_other_region_is_named_for_what_it_is() -> None:
    outcome, _ = submit(refused("AuthenticationError", 401, f"the API key {KEY} is missing or invalid"))
    assert isinstance(outcome, NotSent)
    assert outcome.key_refused
    assert "a key works in its own region only" in outcome.reason
    assert KEY not in outcome.reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"no_such": 1}, "doubao-seedance-2-0-260128 has no option no_such"),
        ({"audio_urls": (SOUND,)}, "doubao-seedance-2-0-260128 has no option audio_urls"),
    ],
)
def test_what_the_api_does_not_have_is_never_sent(options: dict[str, Any], reason: str) -> None:
    asked = SubmitRequest(MODEL.api_model, "a", options, wires=MODEL.wires)
    assert submit(Reply({"id": ID}), asked) == (Rejected(reason, FailureType.PARAM_ERROR), [])


def test_the_simulator_takes_null_for_what_is_not_given_as_the_official_sdk_sends_it() -> None:
    wire = ArkWire("ark-cn", base="/api/v3", word="doubao")
    body = {
        "model": MODEL.api_model,
        "content": [{"type": "text", "text": "a fox"}],
        **dict.fromkeys(("resolution", "ratio", "duration", "seed", "generate_audio", "return_last_frame")),
        **dict.fromkeys(("watermark", "service_tier", "priority", "draft", "frames", "tools")),
    }
    call = wire.read(SimRequest("POST", "/api/v3" + TASKS, body=json.dumps(body).encode()))
    assert isinstance(call, SubmitCall), call
    assert (call.resolution, call.duration_seconds) == ("720p", 5)


# --- polls ------------------------------------------------------------------------------------------------


def poll(reply: Reply) -> PollResult:
    result, (exchange,) = Service(ark.build, {f"{TASKS}/{ID}": reply}).poll(ID)
    assert (exchange.method, exchange.body) == ("GET", b"")
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    return result


def task(status: str, **fields: Any) -> Reply:
    return Reply({"id": ID, "model": MODEL.api_model, "status": status, **fields})


def failed(code: str, message: str = "no") -> Reply:
    return task("failed", error={"code": code, "message": message})


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (task("queued"), QUEUED),
        (task("running"), Processing(None)),
        (
            task("succeeded", content={"video_url": URL}, usage={"completion_tokens": 108_000}),
            Succeeded(URL, provider_cost=108_000, provider_cost_unit="tokens"),
        ),
        (task("succeeded", content={"video_url": URL}), Succeeded(URL)),
        (task("succeeded", content={"video_url": URL}, usage={"completion_tokens": "9"}), Succeeded(URL)),
        (
            task("succeeded", content=None, usage={"completion_tokens": 9}),
            Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR, 9, "tokens"),
        ),
        (task("cancelled"), Failed("the task was cancelled at Ark", FailureType.CANCELLED)),
        (
            task("expired"),
            Failed("the task was not made in the time that Ark gives it", FailureType.TIMEOUT),
        ),
        (task("failed", error=None), Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)),
        (failed("InputTextSensitiveContentDetected"), Failed("no", FailureType.INPUT_MODERATION)),
        (
            failed("InputImageSensitiveContentDetected.PolicyViolation"),
            Failed("no", FailureType.INPUT_MODERATION),
        ),
        (
            failed("OutputAudioSensitiveContentDetected.PolicyViolation"),
            Failed("no", FailureType.OUTPUT_MODERATION),
        ),
        (failed("InvalidParameter"), Failed("no", FailureType.PARAM_ERROR)),
        (failed("InternalServiceError", "invalid state"), Failed("invalid state", FailureType.MODEL_ERROR)),
        (failed("SomethingNew", "content policy"), Failed("content policy", FailureType.OUTPUT_MODERATION)),
        (refused("ResourceNotFound", 404), Failed(WHY, FailureType.NOT_FOUND)),
        (refused("task_not_found", 404), Failed(WHY, FailureType.NOT_FOUND)),
    ],
)
def test_each_state_of_a_task_means_one_thing(reply: Reply, result: PollResult) -> None:
    heard = poll(reply)
    assert heard == result
    assert getattr(heard, "is_queued", None) == getattr(result, "is_queued", None)


@pytest.mark.parametrize(
    ("reply", "http_status"),
    [
        (task("SUCCEEDED", content={"video_url": URL}), 200),
        (task("succeeded", content={"video_url": 5}), 200),
        (task("succeeded", content=URL), 200),
        (Reply({"status": "succeeded", "content": {"video_url": URL}}), 200),
        (refused("InvalidEndpointOrModel.NotFound", 404), 404),
        (refused("Gone", 404), 404),
        (Reply({"error": "no"}, 404), 404),
        (Reply({"detail": "Not Found"}, 404), 404),
        (refused("AuthenticationError", 401), 401),
    ],
)
def test_what_does_not_decode_strictly_is_no_answer(reply: Reply, http_status: int) -> None:
    result = poll(reply)
    assert isinstance(result, NoAnswer)
    assert result.http_status == http_status


def test_a_callback_names_its_task_and_nothing_more() -> None:
    provider = ark.build(ProviderConfig("https://ark.example/api/v3", KEY, HttpTransport()))
    bodies = (b'{"id": "cgt-1", "status": "succeeded"}', b'{"status": "succeeded"}', b"<html>")
    assert [provider.remote_task_id_of_callback(body) for body in bodies] == ["cgt-1", None, None]
