"""fal's queue API: what a submit sends, and what every answer means."""

import asyncio
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
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import fal, fal_places
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Response, TransportError
from rushes.providers.inputs import InputFile
from tests.providers.local_http import Exchange, http1_server
from tests.providers.service import KEY, Reply, Service, request_of

ID = "fal-ai/veo3.1/requests/764cabcf-b745-4b3e-ae38-1200304cf45b"
REQUEST_ID = ID.rsplit("/", 1)[1]
VEO = SubmitRequest("fal-ai/veo3.1/fast", "a lighthouse")
KLING = "fal-ai/kling-video/v3/pro/text-to-video"
IMAGE = "https://i.example/1.png"
URL = "https://v3.fal.media/files/b/1.mp4"
CALLBACK = "https://rushes.example/callbacks/fal/1-1-ab"


def accepted(**fields: Any) -> Reply:
    return Reply({"request_id": REQUEST_ID, "response_url": f"https://queue.fal.run/{ID}", **fields})


def submit(path: str, reply: Reply, request: SubmitRequest = VEO) -> tuple[SubmitOutcome, list[Exchange]]:
    return Service(fal.build, {path: reply}).submit(request)


# --- submits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "path", "fields"),
    [
        (VEO, "/fal-ai/veo3.1/fast", {}),
        (
            SubmitRequest(
                "fal-ai/veo3.1",
                "a lighthouse",
                {"aspect_ratio": "9:16", "duration": 6, "resolution": "1080p", "seed": 7},
            ),
            "/fal-ai/veo3.1",
            {"aspect_ratio": "9:16", "duration": "6s", "resolution": "1080p", "seed": 7},
        ),
        (
            request_of("fal-ai/veo3.1/fast", "a lighthouse", {"first_frame": (InputFile(IMAGE),)}),
            "/fal-ai/veo3.1/fast/image-to-video",
            {"image_url": IMAGE},
        ),
        (
            SubmitRequest(KLING, "a lighthouse", {"duration": 10}),
            f"/{KLING}",
            {"duration": "10"},
        ),
        (
            SubmitRequest("fal-ai/veo3.1/fast", "a lighthouse", callback_url=CALLBACK),
            "/fal-ai/veo3.1/fast?fal_webhook=https%3A%2F%2Frushes.example%2Fcallbacks%2Ffal%2F1-1-ab",
            {},
        ),
    ],
    ids=["plain", "options", "first frame", "kling", "callback"],
)
def test_a_submit_goes_to_the_models_path_with_its_own_words(
    request_: SubmitRequest, path: str, fields: dict[str, Any]
) -> None:
    outcome, (exchange,) = submit(path, accepted(), request_)
    assert outcome == Accepted(ID)
    assert (exchange.method, exchange.path) == ("POST", path)
    assert exchange.headers["authorization"] == f"Key {KEY}"
    assert json.loads(exchange.body) == {"prompt": "a lighthouse", **fields}


@pytest.mark.parametrize(
    ("reply", "remote_task_id"),
    [
        (accepted(), ID),
        (accepted(response_url=None), ID),
        (
            accepted(response_url=f"https://gateway.example/fal-ai/veo/requests/{REQUEST_ID}"),
            f"fal-ai/veo/requests/{REQUEST_ID}",
        ),
    ],
    ids=["as answered", "no URL", "another application"],
)
def test_the_remote_task_id_says_where_to_ask(reply: Reply, remote_task_id: str) -> None:
    assert submit("/fal-ai/veo3.1/fast", reply)[0] == Accepted(remote_task_id)


def test_a_namespace_belongs_to_the_application() -> None:
    request = SubmitRequest("workflows/acme/shorts/v2", "a")
    outcome, _ = submit("/workflows/acme/shorts/v2", accepted(response_url=None), request)
    assert outcome == Accepted(f"workflows/acme/shorts/requests/{REQUEST_ID}")


FLAGGED = [{"loc": ["body", "prompt"], "msg": "flagged by a checker", "type": "content_policy_violation"}]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (
            Reply({"detail": FLAGGED}, 422),
            Rejected("flagged by a checker", FailureType.INPUT_MODERATION),
        ),
        (
            Reply({"detail": [{"loc": ["body", "seed"], "msg": "too large", "type": "less_than"}]}, 422),
            Rejected("too large", FailureType.PARAM_ERROR),
        ),
        (
            Reply({"detail": "User is locked. Reason: Exhausted balance."}, 403),
            NotSent(
                "the key was refused (HTTP 403: User is locked. Reason: Exhausted balance.)",
                pauses_provider=True,
                key_refused=True,
            ),
        ),
        (
            Reply({"detail": f"no key {KEY}"}, 401),
            NotSent("the key was refused (HTTP 401: no key ***)", pauses_provider=True, key_refused=True),
        ),
        (Reply({"detail": "slow down"}, 429, {"retry-after": "9"}), Throttled("HTTP 429: slow down", 9.0)),
        (Reply({"detail": "oops", "error_type": "internal_error"}, 500), Unknown("HTTP 500: oops")),
        (Reply(b"<html>", 502), Unknown("HTTP 502")),
    ],
    ids=["moderated", "invalid", "no balance", "wrong key", "throttled", "5xx", "gateway"],
)
def test_a_refused_submit_is_the_tasks_the_accounts_or_unknown(reply: Reply, outcome: SubmitOutcome) -> None:
    assert submit("/fal-ai/veo3.1/fast", reply)[0] == outcome


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"request_id": true}',
        b'{"request_id": ""}',
        b"null",
        b'{"request_id": "1", "response_url": "https://queue.fal.run/fal-ai/veo3.1/requests/2"}',
        b'{"request_id": "", "response_url": "https://queue.fal.run/fal-ai/veo3.1/requests/"}',
    ],
)
def test_an_acceptance_that_names_no_request_is_unknown(body: bytes) -> None:
    outcome, _ = submit("/fal-ai/veo3.1/fast", Reply(body))
    assert isinstance(outcome, Unknown)


def test_an_option_that_the_model_does_not_have_is_never_sent() -> None:
    request = SubmitRequest(KLING, "a", {"seed": 7})
    assert submit(f"/{KLING}", accepted(), request) == (
        Rejected(f"{KLING} has no option seed", FailureType.PARAM_ERROR),
        [],
    )


# --- polls ------------------------------------------------------------------------------------------------


def poll(status: Reply, result: Reply | None = None) -> tuple[PollResult, list[str]]:
    """What a poll comes to, and the paths that it asked."""
    replies = {f"/{ID}/status": status}
    if result is not None:
        replies[f"/{ID}"] = result
    answer, exchanges = Service(fal.build, replies).poll(ID)
    assert all(exchange.headers["authorization"] == f"Key {KEY}" for exchange in exchanges)
    assert all((exchange.method, exchange.body) == ("GET", b"") for exchange in exchanges)
    return answer, [exchange.path for exchange in exchanges]


COMPLETED = Reply({"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 3.4}})


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"status": "IN_QUEUE", "queue_position": 3}, Processing(None, is_queued=True, queue_position=3)),
        ({"status": "IN_QUEUE", "queue_position": 0}, Processing(None, is_queued=True, queue_position=0)),
        ({"status": "IN_QUEUE"}, QUEUED),
        ({"status": "IN_QUEUE", "queue_position": -1}, QUEUED),
        ({"status": "IN_QUEUE", "queue_position": 10**30}, QUEUED),
        ({"status": "IN_QUEUE", "queue_position": True}, QUEUED),
        ({"status": "IN_QUEUE", "queue_position": 2.5}, QUEUED),
        ({"status": "IN_QUEUE", "queue_position": "3"}, QUEUED),
        ({"status": "IN_QUEUE", "queue_position": None}, QUEUED),
        ({"status": "IN_PROGRESS", "logs": None}, Processing(None)),
        ({"status": "IN_PROGRESS", "queue_position": 3}, Processing(None)),
    ],
)
def test_a_request_that_waits_or_runs_is_asked_once(status: dict[str, Any], said: Processing) -> None:
    heard, asked = poll(Reply(status))
    assert (repr(heard), asked) == (
        repr(said),
        [f"/{ID}/status"],
    )  # as text: what it says of a queue is no part of equality


def test_a_completed_request_is_asked_for_its_result() -> None:
    video = {"url": URL, "content_type": "video/mp4", "file_name": "o.mp4", "file_size": 13096952}
    assert poll(COMPLETED, Reply({"video": video})) == (Succeeded(URL), [f"/{ID}/status", f"/{ID}"])


@pytest.mark.parametrize("video", [None, {"url": ""}])
def test_a_result_without_a_url_is_a_failure(video: Any) -> None:
    result, _ = poll(COMPLETED, Reply({"video": video}))
    assert result == Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)


def detail(kind: str, place: list[str], message: str = "m") -> dict[str, Any]:
    return {"detail": [{"loc": place, "msg": message, "type": kind, "url": "u", "input": {"a": 1}}]}


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (
            Reply(detail("content_policy_violation", ["body", "prompt"]), 422),
            Failed("m", FailureType.INPUT_MODERATION),
        ),
        (
            Reply(detail("content_policy_violation", ["body"]), 422),
            Failed("m", FailureType.OUTPUT_MODERATION),
        ),
        (Reply(detail("image_too_small", ["body", "image_url"]), 422), Failed("m", FailureType.PARAM_ERROR)),
        (Reply(detail("no_media_generated", ["body"]), 422), Failed("m", FailureType.MODEL_ERROR)),
        (Reply(detail("generation_timeout", ["body"]), 504), Failed("m", FailureType.MODEL_ERROR)),
        (
            Reply({"detail": {"type": "content_policy_violation", "msg": "m"}}, 422),
            Failed("m", FailureType.OUTPUT_MODERATION),
        ),
        (
            Reply({"detail": "The runner disconnected", "error_type": "runner_disconnected"}, 503),
            Failed("The runner disconnected", FailureType.MODEL_ERROR),
        ),
        (
            Reply({"detail": "cancelled", "error_type": "client_cancelled"}, 499),
            Failed("cancelled", FailureType.CANCELLED),
        ),
        (Reply({"detail": "unsupported ratio"}, 422), Failed("unsupported ratio", FailureType.PARAM_ERROR)),
        (Reply({"detail": []}, 422), Failed(REMOTE_TASK_FAILED, FailureType.MODEL_ERROR)),
    ],
)
def test_a_result_that_fal_signs_as_an_error_is_a_verdict(result: Reply, verdict: Failed) -> None:
    assert poll(COMPLETED, result)[0] == verdict


@pytest.mark.parametrize(
    ("result", "http_status"),
    [
        (Reply({"detail": "Request is still in progress"}, 400), 400),
        (Reply({"detail": "Not Found"}, 404), 404),
        (Reply({"detail": "User is locked."}, 403), 403),
        (Reply({"detail": "slow down"}, 429), 429),
        (Reply({"detail": "Internal Server Error"}, 500), 500),
        (Reply(b"upstream connect error", 503), 503),
        (Reply(b"", 422), 422),
        (Reply({"status": "IN_PROGRESS"}), 200),
        (Reply({"images": []}), 200),
        (Reply({"video": URL}), 200),
        (Reply(b"<html>"), 200),
    ],
)
def test_a_result_that_may_be_the_ways_trouble_is_no_answer(result: Reply, http_status: int) -> None:
    answer, _ = poll(COMPLETED, result)
    assert isinstance(answer, NoAnswer)
    assert answer.http_status == http_status


def test_what_the_status_said_of_an_error_stands_when_the_result_does_not_explain_it() -> None:
    said = Reply({"status": "COMPLETED", "logs": None, "error": "Invalid status code: 500"})
    assert poll(said, Reply({"detail": "boom"}, 500))[0] == Failed(
        "Invalid status code: 500", FailureType.MODEL_ERROR
    )
    typed = Reply({"status": "COMPLETED", "error": "Request timed out", "error_type": "request_timeout"})
    assert poll(typed) == (Failed("Request timed out", FailureType.MODEL_ERROR), [f"/{ID}/status"])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Reply({"detail": "Request 764 was not found"}, 404), Failed),
        (Reply({"detail": "Not Found"}, 404), NoAnswer),
        (Reply(b"<html>", 404), NoAnswer),
        (Reply({"detail": "no"}, 401), NoAnswer),
        (Reply({"status": "FAILED"}), NoAnswer),
        (Reply({"status": "completed"}), NoAnswer),
        (Reply({}), NoAnswer),
    ],
)
def test_only_a_request_that_is_not_there_ends_by_its_status_alone(
    status: Reply, expected: type[PollResult]
) -> None:
    answer, paths = poll(status)
    assert isinstance(answer, expected)
    assert paths == [f"/{ID}/status"]
    if isinstance(answer, Failed):
        assert answer.failure_type is FailureType.NOT_FOUND


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("content_policy_violation", FailureType.OUTPUT_MODERATION),
        ("runner_server_error", FailureType.MODEL_ERROR),
        ("", None),
    ],
)
def test_a_result_whose_body_has_no_type_is_what_the_head_says(kind: str, result: FailureType | None) -> None:
    headers = {"x-fal-error-type": kind} if kind else {}
    answers = {
        f"/{ID}/status": Reply({"status": "COMPLETED", "request_id": REQUEST_ID}),
        f"/{ID}": Reply({"detail": "something went wrong"}, 500, headers=headers),
    }
    found, _ = Service(fal.build, answers).poll(ID)
    if result is None:
        assert isinstance(found, NoAnswer)
    else:
        assert isinstance(found, Failed)
        assert found.failure_type is result


# --- its other places -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first_is_away", [True, False])
def test_the_queue_s_other_name_is_asked_where_the_first_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, first_is_away: bool
) -> None:
    async def answer(exchange: Exchange) -> None:
        said = {"request_id": "r-1", "status": "IN_QUEUE"}
        await exchange.answer(200, json.dumps(said).encode(), {"content-type": "application/json"})

    async def scenario() -> None:
        async with http1_server(answer) as first, http1_server(answer) as backup:
            host = "http://127.0.0.1:9" if first_is_away else first.url
            monkeypatch.setitem(fal_places.BACKUP_HOSTS, host, backup.url)
            clock = [1000.0]
            transport = HttpTransport(connect_timeout_seconds=2)
            config = ProviderConfig(host, KEY, transport, timeout_seconds=5.0, now=lambda: clock[0])
            provider = fal.build(config)
            taken = await provider.submit(SubmitRequest("fal-ai/veo3.1", "a fox"))
            assert taken == Accepted("fal-ai/veo3.1/requests/r-1")
            heard = await provider.poll_remote_task("fal-ai/veo3.1/requests/r-1")
            assert repr(heard) == repr(QUEUED)
            await transport.close()
            asked = [server.requests for server in (first, backup)]
            paths = ["/fal-ai/veo3.1", "/fal-ai/veo3.1/requests/r-1/status"]
            wanted = [[], paths] if first_is_away else [paths, []]
            assert [[one.path for one in its] for its in asked] == wanted

    asyncio.run(scenario())


def test_what_may_have_arrived_is_not_sent_to_the_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.reset()

    async def never(exchange: Exchange) -> None:
        raise AssertionError("it was asked")

    async def scenario() -> None:
        async with http1_server(reset) as first, http1_server(never) as backup:
            monkeypatch.setitem(fal_places.BACKUP_HOSTS, first.url, backup.url)
            transport = HttpTransport(connect_timeout_seconds=2)
            provider = fal.build(ProviderConfig(first.url, KEY, transport, timeout_seconds=5.0))
            assert isinstance(await provider.submit(SubmitRequest("fal-ai/veo3.1", "a fox")), Unknown)
            await transport.close()
            assert backup.requests == []

    asyncio.run(scenario())


def test_the_other_name_is_asked_first_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], list[str]()
    monkeypatch.setitem(fal_places.BACKUP_HOSTS, "https://a.example", "https://b.example")

    async def ask(url: str) -> Response:
        asked.append(url)
        if url.startswith("https://a.") and clock[0] < 30:
            raise TransportError("no connection", may_have_been_received=False)
        return Response(200, {}, b"{}")

    async def scenario() -> None:
        queue = fal_places.Queue("https://a.example", lambda: clock[0])
        for now in (0.0, 10.0, 59.0, 61.0):
            clock[0] = now
            await queue.ask("https://a.example/x?y=1", ask)
        await queue.ask("https://elsewhere.example/x", ask)

    asyncio.run(scenario())
    a, b = "https://a.example/x?y=1", "https://b.example/x?y=1"
    assert asked == [a, b, b, b, a, "https://elsewhere.example/x"]
