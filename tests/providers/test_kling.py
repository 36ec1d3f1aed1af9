"""Kling: what is sent to each generation, what its codes mean, what it bills."""

import asyncio
import json
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import (
    Accepted,
    Failed,
    FailureType,
    NeverTaken,
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
from rushes.providers.families.kling import KlingProvider
from rushes.providers.http.transport import Response
from rushes.providers.inputs import InputFile
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from tests.providers.scripted import Scripted

PICTURE = {"first_frame": (InputFile(url="https://i.example/1.png"),)}


def request(name: str, options: dict[str, Any] | None = None, **more: Any) -> SubmitRequest:
    model = DEFAULT_CATALOGUE.get(name)
    sent = model.without_media(model.completed(options or {}))
    return SubmitRequest(model.api_model, "a fox", sent, wires=model.wires, **more)


def kling(transport: Any, key: str = "kling-key-1", now: float = 0.0) -> KlingProvider:
    return KlingProvider(ProviderConfig("https://kling.example", key, transport, now=lambda: now))


def sent_for(wanted: SubmitRequest) -> tuple[str, dict[str, Any]]:
    """The path and the body of a submit."""
    transport = Scripted(Response(200, {}, b'{"code":0,"data":{"id":"1","task_id":"2"}}'))
    asyncio.run(kling(transport).submit(wanted))
    (asked,) = transport.asked
    return asked.url.removeprefix("https://kling.example"), json.loads(asked.body or b"")


@pytest.mark.parametrize(
    ("wanted", "path", "body"),
    [
        (
            request("kling-3.0", submit_key="bat_1-0-0-1", callback_url="https://me.example/c"),
            "/text-to-video/kling-3.0",
            {
                "prompt": "a fox",
                "settings": {"duration": 5, "resolution": "720p", "audio": "native"},
                "options": {"external_task_id": "bat_1-0-0-1", "callback_url": "https://me.example/c"},
            },
        ),
        (
            request("kling-3.0-4k", {"aspect_ratio": "9:16", "sound": False}, inputs=PICTURE),
            "/image-to-video/kling-3.0",
            {
                "contents": [
                    {"type": "prompt", "text": "a fox"},
                    {"type": "first_frame", "url": "https://i.example/1.png"},
                ],
                "settings": {"duration": 5, "resolution": "4k", "audio": "off"},
                "options": {},
            },
        ),
        (
            request("kling-3.0-turbo", {"aspect_ratio": "1:1", "duration": 15}),
            "/text-to-video/kling-3.0-turbo",
            {
                "prompt": "a fox",
                "settings": {"duration": 15, "resolution": "720p", "aspect_ratio": "1:1"},
                "options": {},
            },
        ),
        (
            request("kling-2.6", {"duration": 10, "resolution": "1080p"}, submit_key="bat_1-0-0-1"),
            "/v1/videos/text2video",
            {
                "model_name": "kling-v2-6",
                "prompt": "a fox",
                "duration": "10",
                "mode": "pro",
                "external_task_id": "bat_1-0-0-1",
            },
        ),
        (
            request("kling-2.6", inputs={"first_frame": (InputFile(data=b"png"),)}),
            "/v1/videos/image2video",
            {
                "model_name": "kling-v2-6",
                "prompt": "a fox",
                "duration": "5",
                "mode": "std",
                "image": "cG5n",
            },
        ),
    ],
)
def test_each_generation_gets_its_own_body(wanted: SubmitRequest, path: str, body: dict[str, Any]) -> None:
    assert sent_for(wanted) == (path, body)


def outcome_of(status: int, code: int, message: str = "why", **headers: str) -> SubmitOutcome:
    body = json.dumps({"code": code, "message": message, "request_id": "r"}).encode()
    transport = Scripted(Response(status, headers, body))
    return asyncio.run(kling(transport).submit(request("kling-3.0")))


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1004])
def test_a_refused_key_pauses_the_provider(code: int) -> None:
    outcome = outcome_of(401, code)
    assert isinstance(outcome, NotSent)
    assert (outcome.pauses_provider, outcome.key_refused) == (True, True)


@pytest.mark.parametrize(
    ("status", "code"), [(429, 1100), (429, 1101), (429, 1102), (429, 1103), (403, 1304)]
)
def test_an_account_that_cannot_buy_pauses_it_although_the_status_says_too_many(
    status: int, code: int
) -> None:
    outcome = outcome_of(status, code)
    assert isinstance(outcome, NotSent)
    assert (outcome.pauses_provider, outcome.key_refused) == (True, False)


@pytest.mark.parametrize("code", [1302, 1303])
def test_too_many_at_once_wait(code: int) -> None:
    outcome = outcome_of(429, code, **{"retry-after": "3"})
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after_seconds == 3.0


@pytest.mark.parametrize(
    ("status", "code", "failure_type"),
    [
        (400, 1200, FailureType.PARAM_ERROR),
        (400, 1201, FailureType.PARAM_ERROR),
        (404, 1202, FailureType.PARAM_ERROR),
        (404, 1203, FailureType.PARAM_ERROR),
        (400, 1300, FailureType.INPUT_MODERATION),
        (400, 1301, FailureType.INPUT_MODERATION),
    ],
)
def test_what_is_wrong_with_the_task_refuses_it(status: int, code: int, failure_type: FailureType) -> None:
    outcome = outcome_of(status, code)
    assert isinstance(outcome, Rejected)
    assert outcome.failure_type is failure_type


@pytest.mark.parametrize("code", [5000, 5001, 5002])
def test_the_service_s_own_trouble_is_of_unknown_outcome(code: int) -> None:
    assert isinstance(outcome_of(503, code), Unknown)


def test_a_clock_that_is_off_is_named_when_a_signed_token_is_refused() -> None:
    body = b'{"code":1003,"message":"Authorization is not yet valid","request_id":"r"}'
    answer = Response(401, {"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, body)
    outcome = asyncio.run(
        kling(Scripted(answer), "access-1:secret-key-1", now=7200.0).submit(request("kling-3.0"))
    )
    assert isinstance(outcome, NotSent)
    assert "this machine's clock is 7200 s ahead of the service's" in outcome.reason
    assert outcome.key_refused


@pytest.mark.parametrize(
    ("billing", "cost", "unit"),
    [
        ([{"charge_type": "cash", "amount": "0.42", "currency": "USD"}], 0.42, "USD"),
        ([{"charge_type": "unit", "amount": "3", "package_type": "video"}], 3.0, "units"),
        (
            [{"charge_type": "unit", "amount": "1.5"}, {"charge_type": "unit", "amount": "1.25"}],
            2.75,
            "units",
        ),
        (
            [
                {"charge_type": "unit", "amount": "1"},
                {"charge_type": "cash", "amount": "1", "currency": "USD"},
            ],
            None,
            None,
        ),
        ([{"charge_type": "unit", "amount": "much"}], None, None),
        ([{"charge_type": "unit", "amount": "-1"}], None, None),
        ([{"charge_type": "unit", "amount": "nan"}], None, None),
        ("3 units", None, None),
        ([], None, None),
    ],
)
def test_what_was_billed_is_kept_in_its_unit(billing: object, cost: float | None, unit: str | None) -> None:
    task = {
        "id": "t-1",
        "status": "succeeded",
        "outputs": [{"type": "video", "url": "https://v.example/1.mp4"}],
        "billing": billing,
    }
    answer = Response(200, {}, json.dumps({"code": 0, "data": [task]}).encode())
    result = asyncio.run(kling(Scripted(answer)).poll_remote_task("t-1"))
    assert result == Succeeded("https://v.example/1.mp4", 100, cost, unit)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"id":"t-1","status":"processing"}', "t-1"),
        (b'{"task_id":"t-1","task_status":"processing"}', None),
        (b'{"id":"a/b","status":"processing"}', None),
        (b"[]", None),
    ],
)
def test_a_callback_names_a_task_of_the_newer_generation(body: bytes, named: str | None) -> None:
    assert kling(Scripted()).remote_task_id_of_callback(body) == named


@pytest.mark.parametrize(("status", "said"), [("submitted", QUEUED), ("processing", Processing(None))])
def test_a_task_that_is_only_submitted_waits(status: str, said: PollResult) -> None:
    newer = Response(200, {}, json.dumps({"code": 0, "data": [{"id": "t-1", "status": status}]}).encode())
    assert repr(asyncio.run(kling(Scripted(newer)).poll_remote_task("t-1"))) == repr(said)
    task = {"task_id": "t-1", "task_status": status}
    older = Response(200, {}, json.dumps({"code": 0, "data": task}).encode())
    assert repr(asyncio.run(kling(Scripted(older)).poll_remote_task("text2video/t-1"))) == repr(said)


def test_another_success_than_a_video_is_no_verdict() -> None:
    task = {"id": "t-1", "status": "succeeded", "outputs": [{"type": "audio", "url": "https://v.example/1"}]}
    answer = Response(200, {}, json.dumps({"code": 0, "data": [task]}).encode())
    assert isinstance(asyncio.run(kling(Scripted(answer)).poll_remote_task("t-1")), NoAnswer)


@pytest.mark.parametrize("name", ["kling-3.0", "kling-2.6"])
def test_the_simulator_finds_a_task_by_our_key_and_takes_no_key_twice(name: str) -> None:
    async def scenario() -> None:
        core = SimulatorCore(SimulatorKnobs())
        provider = kling(SimulatorTransport(core, clock=asyncio.get_running_loop().time))
        assert await provider.find("bat_1-0-0-1") == NeverTaken()
        outcome = await provider.submit(request(name, submit_key="bat_1-0-0-1"))
        assert isinstance(outcome, Accepted)
        assert await provider.find("bat_1-0-0-1") == outcome
        assert await provider.find("bat_1-0-0-2") == NeverTaken()
        twice = await provider.submit(request(name, submit_key="bat_1-0-0-1"))
        assert isinstance(twice, Rejected)
        assert core.report(0.0).submits_refused == {"duplicate": 1}
        gone = await provider.poll_remote_task("text2video/none" if name == "kling-2.6" else "none")
        assert isinstance(gone, Failed)
        assert gone.failure_type is FailureType.NOT_FOUND

    asyncio.run(scenario())
