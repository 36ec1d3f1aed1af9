"""MiniMax' own API: what a submit sends, and what every answer means."""

import asyncio
import json
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import (
    REMOTE_TASK_FAILED,
    SUCCEEDED_WITHOUT_VIDEO_URL,
    Accepted,
    CancelRefused,
    CancelTaken,
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
from rushes.providers.base import Cancellable, ProviderConfig, SubmitRequest
from rushes.providers.families import minimax
from rushes.providers.http.client import HttpTransport
from rushes.run.inputs.source import urls_of
from rushes.simulator import running_simulator
from tests.harness import knobs
from tests.providers.local_http import Exchange
from tests.providers.service import KEY, Reply, Service

ID = "424010985738629"
IMAGE = "https://i.example/1.png"
URL = "https://public-cdn-video.minimax.io/1.mp4?Signature=5f"
PATH = "/v2/video_generation"


def request(name: str = "minimax-h3-official", options: dict[str, Any] | None = None) -> SubmitRequest:
    model = DEFAULT_CATALOGUE.get(name)
    sent = model.completed(model.normalise_options(options or {}))
    plain, inputs = model.without_media(sent), urls_of(model, sent)
    return SubmitRequest(model.api_model, "a fox", plain, wires=model.wires, inputs=inputs)


def submit(reply: Reply, asked: SubmitRequest | None = None) -> tuple[SubmitOutcome, list[Exchange]]:
    return Service(minimax.build, {PATH: reply}).submit(asked or request())


@pytest.mark.parametrize(
    ("name", "options", "fields", "roles"),
    [
        ("minimax-h3-official", {}, {"model": "MiniMax-H3"}, []),
        (
            "minimax-h3-official",
            {"duration": 15, "resolution": "2k", "aspect_ratio": "portrait", "references": [IMAGE, IMAGE]},
            {"model": "MiniMax-H3", "duration": 15, "resolution": "2K", "ratio": "9:16"},
            ["reference_image", "reference_image"],
        ),
        (
            "minimax-h3-max",
            {"resolution": "480p", "first_frame": IMAGE, "last_frame": IMAGE},
            {"model": "MiniMax-H3-Max", "resolution": "480P"},
            ["first_frame", "last_frame"],
        ),
    ],
)
def test_a_submit_says_what_the_api_must_know(
    name: str, options: dict[str, Any], fields: dict[str, Any], roles: list[str]
) -> None:
    outcome, (exchange,) = submit(Reply({"task_id": ID}), request(name, options))
    assert outcome == Accepted(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    pictures = [{"type": "image_url", "image_url": {"url": IMAGE}, "role": role} for role in roles]
    assert json.loads(exchange.body) == {
        "content": [{"type": "text", "text": "a fox"}, *pictures],
        "duration": 5,
        "resolution": "768P",
        "ratio": "16:9",
        **fields,
    }


def refused(kind: str, message: str, status: int) -> Reply:
    error = {"type": kind, "message": message, "http_code": str(status)}
    return Reply({"type": "error", "error": error, "request_id": "02"}, status)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (
            refused("insufficient_balance_error", "insufficient balance (1008)", 402),
            NotSent("insufficient balance (1008) (insufficient_balance_error)", pauses_provider=True),
        ),
        (
            refused("unprocessable_entity_error", "sensitive content (1026)", 422),
            Rejected("sensitive content (1026) (unprocessable_entity_error)", FailureType.INPUT_MODERATION),
        ),
        (
            refused("bad_request_error", "invalid params, duration (2013)", 400),
            Rejected("invalid params, duration (2013) (bad_request_error)", FailureType.PARAM_ERROR),
        ),
        (
            refused("rate_limit_error", "retry later (1002)", 429),
            Throttled("retry later (1002) (rate_limit_error)"),
        ),
        (
            refused("server_error", "internal error (1000)", 500),
            Unknown("HTTP 500: internal error (1000)"),
        ),
        (Reply({"task_id": ""}), Unknown("accepted without a usable id")),
        (Reply({"task_id": 7}), Accepted("7")),
    ],
)
def test_a_refusal_is_what_its_type_says(reply: Reply, outcome: SubmitOutcome) -> None:
    assert submit(reply)[0] == outcome


def test_a_key_of_the_other_host_is_named_for_what_it_is() -> None:
    outcome, _ = submit(refused("authorized_error", f"login fail: {KEY} (1004)", 401))
    assert isinstance(outcome, NotSent)
    assert outcome.key_refused
    assert "a key of api.minimax.io does not work at api.minimaxi.com" in outcome.reason
    assert KEY not in outcome.reason


# --- polls ------------------------------------------------------------------------------------------------


def poll(reply: Reply) -> PollResult:
    result, (exchange,) = Service(minimax.build, {f"/v2/query/video_generation/{ID}": reply}).poll(ID)
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    return result


def task(status: str, **fields: Any) -> Reply:
    return Reply({"task": {"id": ID, "model": "MiniMax-H3", "status": status, **fields}})


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (task("queued"), QUEUED),
        (task("running"), Processing(None)),
        (
            task("succeeded", content={"url": URL}, usage={"total_seconds": 5, "input_image_count": 0}),
            Succeeded(URL, provider_cost=5, provider_cost_unit="seconds"),
        ),
        (
            task("succeeded", content={"url": URL}, usage={"total_seconds": 5, "input_image_count": 7}),
            Succeeded(URL),
        ),
        (task("succeeded", content={}), Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)),
        (task("cancelled"), Failed("the task was cancelled at MiniMax", FailureType.CANCELLED)),
        (
            task("expired"),
            Failed("the task was not made in the time that MiniMax gives it", FailureType.TIMEOUT),
        ),
        (task("failed"), Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)),
        (
            task("failed", error={"code": "1026", "message": "x"}),
            Failed("x", FailureType.INPUT_MODERATION),
        ),
        (task("failed", error={"code": 1027, "message": "x"}), Failed("x", FailureType.OUTPUT_MODERATION)),
        (task("failed", error={"code": "1000", "message": "x"}), Failed("x", FailureType.MODEL_ERROR)),
        (
            refused("server_error", "record not found (1000)", 500),
            Failed("record not found (1000)", FailureType.NOT_FOUND),
        ),
    ],
)
def test_each_state_of_a_task_means_one_thing(reply: Reply, result: PollResult) -> None:
    heard = poll(reply)
    assert heard == result
    assert getattr(heard, "is_queued", None) == getattr(result, "is_queued", None)


@pytest.mark.parametrize(
    ("reply", "http_status"),
    [
        (task("Success", content={"url": URL}), 200),
        (task("succeeded", content={"url": 5}), 200),
        (Reply({"id": ID, "status": "succeeded", "content": {"url": URL}}), 200),
        (refused("server_error", "internal error (1000)", 500), 500),
        (Reply({"message": "record not found"}, 500), 500),
        (refused("authorized_error", "record not found", 401), 401),
    ],
)
def test_what_does_not_decode_strictly_is_no_answer(reply: Reply, http_status: int) -> None:
    result = poll(reply)
    assert isinstance(result, NoAnswer)
    assert result.http_status == http_status


def test_a_queued_task_is_cancelled_and_one_that_renders_is_left_alone() -> None:
    async def scenario(host: str) -> None:
        transport = HttpTransport(connect_timeout_seconds=5)
        provider = minimax.build(ProviderConfig(host, KEY, transport, timeout_seconds=10.0))
        assert isinstance(provider, Cancellable)
        first, second = [await provider.submit(request()) for _ in range(2)]
        assert isinstance(first, Accepted)
        assert isinstance(second, Accepted)
        assert await provider.cancel(first.remote_task_id) == CancelRefused("it is running")
        assert await provider.cancel(second.remote_task_id) == CancelTaken()
        ended = await provider.poll_remote_task(second.remote_task_id)
        assert isinstance(ended, Failed)
        assert ended.failure_type is FailureType.CANCELLED
        await transport.close()

    with running_simulator(knobs(running_tasks_max=1, render_seconds=60.0)) as simulator:
        asyncio.run(scenario(simulator.base_url))
        assert simulator.report().cancelled_waiting == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"task_id": "7", "status": "succeeded"}', "7"),
        (b'{"task": {"id": "7", "status": "running"}}', "7"),
        (b'{"challenge": "x"}', None),
        (b"no JSON", None),
    ],
)
def test_a_callback_names_its_task(body: bytes, named: str | None) -> None:
    found, _ = Service(minimax.build, {}).ask(_reading(body))
    assert found == named


def _reading(body: bytes) -> Any:
    async def read(provider: Any) -> str | None:
        found: str | None = provider.remote_task_id_of_callback(body)
        return found

    return read
