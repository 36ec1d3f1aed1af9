"""Replicate: what is sent, by name or by version, and what its refusals mean."""

import asyncio
import json
from typing import Any

import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import (
    Accepted,
    FailureType,
    NoAnswer,
    NotSent,
    OutputFile,
    OutputKind,
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
from rushes.providers.families.replicate import ReplicateProvider
from rushes.providers.http.transport import Response
from rushes.providers.inputs import InputFile
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport
from rushes.simulator.families.replicate import VERSION
from tests.providers.scripted import Scripted

SECOND_FILE = OutputFile(OutputKind.VIDEO, "https://r.example/2.mp4")


def replicate(transport: Any) -> ReplicateProvider:
    return ReplicateProvider(ProviderConfig("https://replicate.example", "r8-token-1", transport))


def request(name: str, options: dict[str, Any] | None = None, **more: Any) -> SubmitRequest:
    model = DEFAULT_CATALOGUE.get(name)
    sent = model.without_media(model.completed(options or {}))
    return SubmitRequest(more.pop("api_model", model.api_model), "a fox", sent, wires=model.wires, **more)


def submitted(wanted: SubmitRequest, answer: Response) -> tuple[SubmitOutcome, Scripted]:
    transport = Scripted(answer)
    return asyncio.run(replicate(transport).submit(wanted)), transport


TAKEN = Response(201, {}, b'{"id":"p1","status":"starting"}')


@pytest.mark.parametrize(
    ("wanted", "path", "body"),
    [
        (
            request(
                "replicate-veo3.1-fast",
                {"duration": 4, "sound": False},
                inputs={"first_frame": (InputFile(url="https://i.example/1.png"),)},
                callback_url="https://me.example/c",
            ),
            "models/google/veo-3.1-fast/predictions",
            {
                "input": {
                    "prompt": "a fox",
                    "duration": 4,
                    "resolution": "720p",
                    "generate_audio": False,
                    "image": "https://i.example/1.png",
                },
                "webhook": "https://me.example/c",
                "webhook_events_filter": ["start", "completed"],
            },
        ),
        (
            request("replicate-seedance1-pro-fast", {"duration": 2}, api_model=VERSION),
            "predictions",
            {"input": {"prompt": "a fox", "duration": 2, "resolution": "720p"}, "version": VERSION},
        ),
        (
            request("replicate-seedance1-pro-fast", {"duration": 2}, api_model=f"me/mine:{VERSION}"),
            "predictions",
            {"input": {"prompt": "a fox", "duration": 2, "resolution": "720p"}, "version": VERSION},
        ),
    ],
)
def test_a_model_is_asked_for_by_its_name_or_its_version(
    wanted: SubmitRequest, path: str, body: dict[str, Any]
) -> None:
    outcome, transport = submitted(wanted, TAKEN)
    assert outcome == Accepted("p1")
    (asked,) = transport.asked
    assert asked.url == f"https://replicate.example/v1/{path}"
    assert json.loads(asked.body or b"") == body


@pytest.mark.parametrize("name", ["", "veo", "a/b/c", "../x", "a/b?c=1", "A" * 64])
def test_a_name_that_leads_elsewhere_is_never_sent(name: str) -> None:
    outcome, transport = submitted(request("replicate-veo3.1-fast", api_model=name), TAKEN)
    assert isinstance(outcome, Rejected)
    assert transport.asked == []


def problem(status: int, detail: str, **headers: str) -> Response:
    body = {"title": "Problem", "detail": detail, "status": status}
    return Response(status, headers, json.dumps(body).encode())


def test_an_account_without_credit_waits_and_a_wrong_model_fails_its_task_alone() -> None:
    def outcome_of(answer: Response) -> SubmitOutcome:
        return submitted(request("replicate-veo3.1-fast"), answer)[0]

    empty = outcome_of(problem(402, "You have insufficient credit to run this model."))
    assert isinstance(empty, NotSent)
    assert empty.pauses_provider
    assert outcome_of(problem(404, "The requested model could not be found.")) == Rejected(
        "The requested model could not be found.", FailureType.PARAM_ERROR
    )
    elsewhere = outcome_of(problem(404, "Not here"))
    assert isinstance(elsewhere, NotSent)
    assert elsewhere.pauses_provider, "a wrong host"
    busy = outcome_of(problem(429, "Request was throttled.", **{"retry-after": "7"}))
    assert busy == Throttled("HTTP 429: Request was throttled.", 7.0)
    assert isinstance(outcome_of(problem(500, "Internal server error")), Unknown)


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("https://r.example/1.mp4", Succeeded("https://r.example/1.mp4")),
        (
            ["https://r.example/1.mp4", "https://r.example/2.mp4"],
            Succeeded("https://r.example/1.mp4", further_files=(SECOND_FILE,)),
        ),
        ("a text", NoAnswer("the output is no file", 200)),
        ({"video": "https://r.example/1.mp4"}, None),
    ],
)
def test_the_output_is_a_file_or_a_list_of_them(output: object, result: PollResult | None) -> None:
    body = json.dumps({"id": "p1", "status": "succeeded", "output": output}).encode()
    found = asyncio.run(replicate(Scripted(Response(200, {}, body))).poll_remote_task("p1"))
    assert found == result or (result is None and isinstance(found, NoAnswer))


@pytest.mark.parametrize(("status", "said"), [("starting", QUEUED), ("processing", Processing(None))])
def test_a_prediction_that_starts_has_not_started(status: str, said: PollResult) -> None:
    body = json.dumps({"id": "p1", "status": status}).encode()
    heard = asyncio.run(replicate(Scripted(Response(200, {}, body))).poll_remote_task("p1"))
    assert repr(heard) == repr(said)  # as text: what it says of a queue is no part of equality


@pytest.mark.parametrize(("body", "named"), [(b'{"id":"p1"}', "p1"), (b'{"id":"../1"}', None), (b"1", None)])
def test_a_callback_names_its_prediction(body: bytes, named: str | None) -> None:
    assert replicate(Scripted(TAKEN)).remote_task_id_of_callback(body) == named


def test_the_simulator_takes_a_version() -> None:
    async def scenario() -> SubmitOutcome:
        core = SimulatorCore(SimulatorKnobs())
        provider = replicate(SimulatorTransport(core, clock=asyncio.get_running_loop().time))
        return await provider.submit(request("replicate-seedance1-pro-fast", api_model=VERSION))

    assert isinstance(asyncio.run(scenario()), Accepted)
