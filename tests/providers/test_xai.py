"""xAI's videos: what a submit sends, and what every answer means."""

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
from rushes.providers.base import Checkable, Provider, SubmitRequest
from rushes.providers.families import xai
from rushes.providers.inputs import InputFile
from rushes.run.inputs.source import urls_of
from tests.providers.local_http import Exchange
from tests.providers.service import KEY, Reply, Service

ID = "d97415a1-5796-b7ec-379f-4e6819e08fdf"
IMAGE = "https://i.example/1.png"
URL = "https://vidgen.x.ai/1.mp4"
PATH = "/v1/videos/generations"
MODEL = DEFAULT_CATALOGUE.get("grok-imagine-video-1.5")


def request(options: dict[str, Any] | None = None) -> SubmitRequest:
    sent = MODEL.completed(MODEL.normalise_options(options or {}))
    plain, inputs = MODEL.without_media(sent), urls_of(MODEL, sent)
    return SubmitRequest(MODEL.api_model, "a fox", plain, wires=MODEL.wires, inputs=inputs)


def submit(reply: Reply, asked: SubmitRequest | None = None) -> tuple[SubmitOutcome, list[Exchange]]:
    return Service(xai.build, {PATH: reply}).submit(asked or request())


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        ({"duration": 15, "resolution": "1080p", "aspect_ratio": "portrait"}, {"aspect_ratio": "9:16"}),
        ({"first_frame": IMAGE}, {"image": {"url": IMAGE}}),
        ({"references": [IMAGE, IMAGE]}, {"reference_images": [{"url": IMAGE}, {"url": IMAGE}]}),
    ],
)
def test_a_submit_says_what_the_api_must_know(options: dict[str, Any], fields: dict[str, Any]) -> None:
    outcome, (exchange,) = submit(Reply({"request_id": ID}), request(options))
    assert outcome == Accepted(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(exchange.body) == {
        "model": "grok-imagine-video-1.5",
        "prompt": "a fox",
        "duration": options.get("duration", 8),
        "resolution": options.get("resolution", "720p"),
        **fields,
    }


def test_what_the_api_does_not_have_is_never_sent() -> None:
    asked = SubmitRequest("grok-imagine-video", "a", inputs={"audio": (InputFile(IMAGE),)})
    reason = "grok-imagine-video has no input audio"
    assert submit(Reply({"request_id": ID}), asked) == (Rejected(reason, FailureType.PARAM_ERROR), [])


def refused(text: str, status: int, code: str = "Client specified an invalid argument") -> Reply:
    return Reply({"code": code, "error": text}, status)


EMPTY = "Your team has either used all available credits or reached its monthly spending limit."
NO_MODEL = "The model grok-9 does not exist or your team 5f does not have access to it."


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (refused(EMPTY, 403), NotSent(EMPTY, pauses_provider=True)),
        (refused(EMPTY, 429), NotSent(EMPTY, pauses_provider=True)),
        (
            refused("Incorrect API key provided: xa***or.", 400),
            NotSent(
                "the key was refused (HTTP 400: Incorrect API key provided: xa***or.)",
                pauses_provider=True,
                key_refused=True,
            ),
        ),
        (
            refused("No credentials provided", 401),
            NotSent(
                "the key was refused (HTTP 401: No credentials provided)",
                pauses_provider=True,
                key_refused=True,
            ),
        ),
        (
            refused(NO_MODEL, 404),
            Rejected(f"this team has no such model: {NO_MODEL}", FailureType.PARAM_ERROR),
        ),
        (refused("Too many requests", 429), Throttled("HTTP 429: Too many requests")),
        (
            refused("The prompt was rejected by content moderation.", 400),
            Rejected("The prompt was rejected by content moderation.", FailureType.INPUT_MODERATION),
        ),
        (
            refused("duration is out of range", 400),
            Rejected("duration is out of range", FailureType.PARAM_ERROR),
        ),
        (refused(EMPTY, 503), Unknown(f"HTTP 503: {EMPTY}")),
        (Reply({"request_id": ""}), Unknown("accepted without a usable id")),
    ],
)
def test_a_refusal_is_what_its_words_say(reply: Reply, outcome: SubmitOutcome) -> None:
    assert submit(reply)[0] == outcome


# --- polls ------------------------------------------------------------------------------------------------


def poll(reply: Reply) -> PollResult:
    result, (exchange,) = Service(xai.build, {f"/v1/videos/{ID}": reply}).poll(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    return result


def done(url: str | None, *, respects: bool = True) -> Reply:
    video = {"url": url, "duration": 8, "respect_moderation": respects}
    return Reply({"status": "done", "video": video, "usage": {"cost_in_usd_ticks": 500_000_000}})


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (Reply(b"", 202), Processing(None)),
        (Reply({"status": "pending"}, 202), Processing(None)),
        (Reply({"status": "pending", "progress": 40}), Processing(40)),
        (done(URL), Succeeded(URL, provider_cost=0.05, provider_cost_unit="USD")),
        (Reply({"status": "done", "video": {"url": URL}}), Succeeded(URL)),
        (Reply({"status": "done", "request_id": ID, "video": {"url": URL}}), Succeeded(URL)),
        (done(None), Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR, 0.05, "USD")),
        (
            done("", respects=False),
            Failed("the video was blocked by xAI's moderation", FailureType.OUTPUT_MODERATION, 0.05, "USD"),
        ),
        (Reply({"status": "failed"}), Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)),
        (
            Reply({"status": "failed", "error": {"code": "x", "message": "violates our policies"}}),
            Failed("violates our policies", FailureType.OUTPUT_MODERATION),
        ),
        (Reply({"status": "expired"}), Failed("the request expired at xAI", FailureType.TIMEOUT)),
        (refused("Request not found", 404), Failed("Request not found", FailureType.NOT_FOUND)),
    ],
)
def test_each_state_of_a_task_means_one_thing(reply: Reply, result: PollResult) -> None:
    assert poll(reply) == result


@pytest.mark.parametrize(
    ("reply", "http_status"),
    [
        (Reply(b"", 200), 200),
        (Reply({"status": "completed", "video": {"url": URL}}), 200),
        (Reply({"video": {"url": URL}}), 200),
        (Reply({"status": "done", "video": {"url": 5}}), 200),
        (Reply({"status": "done", "video": {"url": URL, "respect_moderation": "no"}}), 200),
        (Reply({"detail": "Not Found"}, 404), 404),
        (refused("Incorrect API key provided: xa***or.", 400), 400),
    ],
)
def test_what_does_not_decode_strictly_is_no_answer(reply: Reply, http_status: int) -> None:
    result = poll(reply)
    assert isinstance(result, NoAnswer)
    assert result.http_status == http_status


def test_a_request_id_that_is_there_must_be_the_one_asked_for() -> None:
    result = poll(Reply({"status": "done", "request_id": "another", "video": {"url": URL}}))
    assert isinstance(result, NoAnswer)
    assert result.is_about_another_task


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (refused("Request rushes-doctor not found", 404, "Some requested entity was not found"), None),
        (refused("bad id", 400), None),
        (
            refused("Incorrect API key provided: xa***or.", 400),
            "refused: HTTP 400: Incorrect API key provided: xa***or.",
        ),
        (refused("No credentials provided", 401), "refused: HTTP 401: No credentials provided"),
        (Reply(b"", 502), "the service is unwell: HTTP 502"),
    ],
)
def test_the_check_of_the_key_reads_what_a_status_alone_does_not_say(
    reply: Reply, refusal: str | None
) -> None:
    async def check(provider: Provider) -> str | None:
        assert isinstance(provider, Checkable)
        return await provider.check()

    found, (exchange,) = Service(xai.build, {"/v1/videos/rushes-doctor": reply}).ask(check)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert found == refusal
