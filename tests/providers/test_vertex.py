"""Vertex AI: key files that cannot be used, the project's place, what is sent, and where videos are."""

import asyncio
import hashlib
import json
import time
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google import genai
from google.oauth2.service_account import Credentials

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import SettingsError
from rushes.domain.task import (
    Accepted,
    CancelRefused,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    OutputFile,
    OutputKind,
    PollResult,
    Rejected,
    Succeeded,
)
from rushes.files.fetch import fetch_file
from rushes.files.guard.client import GuardedHttp, NoAnswerFromUrl
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families.vertex import SCOPE, VertexProvider, read_account
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Response
from rushes.providers.inputs import InputFile
from rushes.simulator import SimulatorThread, running_simulator
from rushes.simulator.families.vertex import VertexWire
from tests.harness import assert_money_adds_up, items, knobs, run_for, rushes_on
from tests.providers.local_http import Exchange, http1_server
from tests.providers.scripted import Asked, Scripted
from tests.providers.test_credentials import KEY, pem

ACCOUNT = {
    "type": "service_account",
    "project_id": "p-1",
    "private_key": pem(KEY),
    "client_email": "robot@p-1.example",
    "token_uri": "https://tokens.example/token",
}
ELLIPTIC = pem(ec.generate_private_key(ec.SECP256R1()))
TOKEN = Response(200, {}, b'{"access_token":"token-1","expires_in":3600}')
NAME = "projects/p-1/locations/us-central1/publishers/google/models/veo-3.1-generate-001/operations/1f"


def base64_of(**changes: Any) -> str:
    fields = {name: value for name, value in {**ACCOUNT, **changes}.items() if value is not None}
    return b64encode(json.dumps(fields).encode()).decode()


def vertex(
    transport: Any,
    host: str = "https://us-central1-aiplatform.googleapis.com",
    bucket: str = "gs://b-1/out",
) -> VertexProvider:
    return VertexProvider(ProviderConfig(host, base64_of(), transport, extra={"storage_uri": bucket}))


def request(options: dict[str, Any] | None = None, **more: Any) -> SubmitRequest:
    model = DEFAULT_CATALOGUE.get("vertex-veo3.1")
    return SubmitRequest(
        model.api_model,
        "a fox",
        model.without_media(model.completed(options or {})),
        wires=model.wires,
        **more,
    )


def test_a_key_is_the_path_of_a_file_or_its_base64(tmp_path: Path) -> None:
    path = tmp_path / "robot.json"
    path.write_text(json.dumps(ACCOUNT, indent=2))
    assert read_account(str(path)) == read_account(base64_of())
    assert read_account(str(path)).project_id == "p-1"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("/no/such/file.json", "the key file cannot be read: No such file or directory"),
        ("/", "the key file cannot be read: Is a directory"),
        (b64encode(b'{"type": "authorized_user"}').decode(), "no key file of a service account"),
        ("eyJ!", "VERTEX_CREDENTIALS"),
        (base64_of(private_key="-----BEGIN PRIVATE KEY-----\nAAAA"), "its private_key is no PEM"),
        (
            base64_of(private_key=pem(ec.generate_private_key(ec.SECP256R1()))),
            "its private_key is no RSA key",
        ),
        (base64_of(project_id=None), "no project_id"),
        (base64_of(token_uri="http://tokens.example/token"), "no https token_uri"),
        (base64_of(token_uri="file:///etc/passwd"), "no https token_uri"),
    ],
)
def test_a_key_that_cannot_be_used_is_one_line_without_it(key: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_account(key)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert "BEGIN" not in caught.value.message


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("https://us-central1-aiplatform.googleapis.com", "us-central1"),
        ("https://europe-west4-aiplatform.googleapis.com", "europe-west4"),
        ("https://aiplatform.googleapis.com", "global"),
        ("http://127.0.0.1:8787", "us-central1"),
    ],
)
def test_the_location_is_that_of_the_host(host: str, location: str) -> None:
    assert submitted(request(), host)[1].url.startswith(f"{host}/v1/projects/p-1/locations/{location}/publ")


def submitted(wanted: SubmitRequest, host: str = "http://127.0.0.1:8787") -> tuple[object, Asked]:
    transport = Scripted(TOKEN, Response(200, {}, json.dumps({"name": NAME}).encode()))
    outcome = asyncio.run(vertex(transport, host).submit(wanted))
    return outcome, transport.asked[-1]


def test_a_submit_carries_a_token_the_bucket_and_our_key() -> None:
    picture = InputFile(data=b"png", content_type="image/png")
    outcome, asked = submitted(
        request({"duration": 4, "sound": False}, inputs={"first_frame": (picture,)}, submit_key="bat_1-0-0-1")
    )
    assert outcome == Accepted(NAME)
    assert asked.headers["authorization"] == "Bearer token-1"
    assert json.loads(asked.body or b"") == {
        "instances": [
            {"prompt": "a fox", "image": {"bytesBase64Encoded": "cG5n", "mimeType": "image/png"}},
        ],
        "parameters": {
            "sampleCount": 1,
            "storageUri": "gs://b-1/out",
            "durationSeconds": 4,
            "resolution": "720p",
            "generateAudio": False,
        },
        "labels": {"rushes-submit": "bat_1-0-0-1"},
    }


def test_a_picture_s_url_is_refused_before_it_is_sent() -> None:
    wanted = request(inputs={"first_frame": (InputFile(url="https://i.example/1.png"),)})
    outcome = asyncio.run(vertex(Scripted(TOKEN)).submit(wanted))
    assert outcome == Rejected(
        f"{wanted.api_model} takes files within the request, no URL", FailureType.PARAM_ERROR
    )


def test_a_service_account_without_rights_pauses_the_provider() -> None:
    denied = {"error": {"code": 403, "message": "Permission denied on p-1", "status": "PERMISSION_DENIED"}}
    transport = Scripted(TOKEN, Response(403, {}, json.dumps(denied).encode()))
    outcome = asyncio.run(vertex(transport).submit(request()))
    assert isinstance(outcome, NotSent)
    assert outcome.pauses_provider
    assert "Permission denied on p-1" in outcome.reason


def test_an_account_that_gets_no_token_sends_nothing_and_says_why() -> None:
    transport = Scripted(Response(400, {}, b'{"error":"invalid_grant","error_description":"Invalid JWT"}'))
    provider = vertex(transport)
    outcome = asyncio.run(provider.submit(request()))
    assert isinstance(outcome, NotSent)
    assert (outcome.pauses_provider, outcome.key_refused) == (True, True)
    assert "invalid_grant" in outcome.reason
    assert {asked.url for asked in transport.asked} == {"https://tokens.example/token"}
    assert isinstance(asyncio.run(provider.poll_remote_task(NAME)), NoAnswer)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("gs://b-1/out/1.mp4", "https://storage.googleapis.com/storage/v1/b/b-1/o/out%2F1.mp4?alt=media"),
        (
            "gs://b-1/a b?c#d.mp4",
            "https://storage.googleapis.com/storage/v1/b/b-1/o/a%20b%3Fc%23d.mp4?alt=media",
        ),
        ("https://elsewhere.example/1.mp4", None),
        ("gs://b-1", None),
    ],
)
def test_a_video_in_the_bucket_has_an_address_that_takes_the_token(uri: str, url: str | None) -> None:
    answer = {"name": NAME, "done": True, "response": {"videos": [{"gcsUri": uri, "mimeType": "video/mp4"}]}}
    provider = vertex(Scripted(TOKEN, Response(200, {}, json.dumps(answer).encode())))
    result = asyncio.run(provider.poll_remote_task(NAME))
    assert result == (
        NoAnswer("the video's address is none of Cloud Storage", 200) if url is None else Succeeded(url)
    )
    assert provider.result_files.trusted_origin == "https://storage.googleapis.com:443"


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (Response(200, {}, b"{}"), None),
        (Response(404, {}, b"<html>"), None),
        (
            Response(403, {}, b'{"error":{"message":"not enabled","status":"PERMISSION_DENIED"}}'),
            "not enabled",
        ),
    ],
)
def test_the_check_says_why_the_account_is_of_no_help(answer: Response, refusal: str | None) -> None:
    said = asyncio.run(vertex(Scripted(TOKEN, answer)).check())
    assert said is None if refusal is None else refusal in (said or "")


def test_a_video_in_the_answer_is_a_verdict_and_is_fetched_from_it(tmp_path: Path) -> None:
    """However large the answer, up to its bound; without a bucket none is named in the submit."""
    content = [bytes([number]) * 3_000_000 for number in range(2)]
    videos = [{"bytesBase64Encoded": b64encode(each).decode(), "mimeType": "video/mp4"} for each in content]
    asked: list[tuple[str, bytes, str | None]] = []

    async def answer(exchange: Exchange) -> None:
        asked.append((exchange.path, exchange.body, exchange.headers.get("authorization")))
        if exchange.path == "/token":
            said: dict[str, Any] = {"access_token": "token-1", "expires_in": 3600}
        elif exchange.path.endswith(":predictLongRunning"):
            said = {"name": NAME}
        else:
            said = {"name": NAME, "done": True, "response": {"videos": videos}}
        await exchange.answer(200, json.dumps(said).encode(), {"content-type": "application/json"})

    async def scenario() -> None:
        async with http1_server(answer) as server:
            transport = HttpTransport(connect_timeout_seconds=5)
            key = base64_of(token_uri=f"{server.url}/token")
            provider = VertexProvider(ProviderConfig(server.url, key, transport, timeout_seconds=20.0))
            assert await provider.submit(request()) == Accepted(NAME)
            assert "storageUri" not in json.loads(asked[-1][1])["parameters"]
            place = f"{server.url}/v1/{NAME}#video-"
            further = (OutputFile(OutputKind.VIDEO, f"{place}1"),)
            assert await provider.poll_remote_task(NAME) == Succeeded(f"{place}0", further_files=further)
            http = GuardedHttp(allow_private=False)
            for number in (0, 1):
                size, digest = await fetch_file(
                    http, f"{place}{number}", tmp_path / "v.mp4", way=provider.result_files
                )
                assert (size, digest) == (3_000_000, hashlib.sha256(content[number]).hexdigest())
                assert asked[-1][2] == "Bearer token-1"
                assert json.loads(asked[-1][1]) == {"operationName": NAME}
            with pytest.raises(NoAnswerFromUrl, match="answered without the file"):
                await fetch_file(http, f"{place}2", tmp_path / "v.mp4", way=provider.result_files)
            await http.close()
            await transport.close()

    asyncio.run(scenario())


# --- Omni -----------------------------------------------------------------------------------------------

LOCAL = "http://127.0.0.1:8787"
INTERACTION = "projects/p-1/locations/us-central1/interactions/v1_Ab-9"


def omni_asked(bucket: str, **more: Any) -> tuple[object, Asked]:
    transport = Scripted(TOKEN, Response(200, {}, b'{"id": "v1_Ab-9", "status": "in_progress"}'))
    wanted = SubmitRequest("gemini-omni-1.2-flash", "a fox", {"duration": 12, "seed": 7}, **more)
    return asyncio.run(vertex(transport, LOCAL, bucket).submit(wanted)), transport.asked[-1]


def test_an_interaction_names_the_bucket_the_seed_and_our_key() -> None:
    picture = InputFile(data=b"png", content_type="image/png")
    outcome, asked = omni_asked("gs://b-1/out", inputs={"first_frame": (picture,)}, submit_key="bat_A-0-0-1")
    assert outcome == Accepted(INTERACTION)
    assert asked.url == "http://127.0.0.1:8787/v1beta1/projects/p-1/locations/us-central1/interactions"
    assert json.loads(asked.body or b"") == {
        "model": "gemini-omni-1.2-flash",
        "input": [
            {
                "type": "user_input",
                "content": [
                    {"type": "image", "data": "cG5n", "mime_type": "image/png"},
                    {"type": "text", "text": "a fox"},
                ],
            }
        ],
        "background": True,
        "store": True,
        "response_format": {
            "type": "video",
            "delivery": "uri",
            "gcs_uri": "gs://b-1/out",
            "duration": "12s",
        },
        "generation_config": {"seed": 7, "video_config": {"task": "image_to_video"}},
        "labels": {"rushes-submit": "bat_a-0-0-1"},
    }


def test_without_a_bucket_an_interaction_answers_with_the_video() -> None:
    outcome, asked = omni_asked("")
    assert outcome == Accepted(INTERACTION)
    assert json.loads(asked.body or b"")["response_format"] == {
        "type": "video",
        "delivery": "inline",
        "duration": "12s",
    }


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (
            {"type": "video", "uri": "gs://b-1/o/1.mp4"},
            Succeeded("http://127.0.0.1:8787/storage/v1/b/b-1/o/o%2F1.mp4?alt=media"),
        ),
        (
            {"type": "video", "data": "bXA0"},
            Succeeded(f"http://127.0.0.1:8787/v1beta1/{INTERACTION}#video-0"),
        ),
        (
            {"type": "video", "uri": "https://elsewhere.example/1.mp4"},
            NoAnswer("the video's address is none of Cloud Storage", 200),
        ),
        ({"type": "video", "data": ""}, Failed("SUCCEEDED_WITHOUT_VIDEO_URL", FailureType.MODEL_ERROR)),
        (
            {"type": "text", "text": "I can't make that."},
            Failed("I can't make that.", FailureType.MODEL_ERROR),
        ),
    ],
)
def test_what_an_interaction_answers_with_is_its_verdict(
    content: dict[str, str], verdict: PollResult
) -> None:
    steps = [{"type": "model_output", "content": [content]}]
    answer = {"id": "v1_Ab-9", "status": "completed", "steps": steps}
    transport = Scripted(TOKEN, Response(200, {}, json.dumps(answer).encode()))
    assert asyncio.run(vertex(transport, LOCAL).poll_remote_task(INTERACTION)) == verdict
    assert transport.asked[-1].url == f"http://127.0.0.1:8787/v1beta1/{INTERACTION}"


def test_an_answer_about_another_interaction_is_none() -> None:
    transport = Scripted(TOKEN, Response(200, {}, b'{"id": "v1_other", "status": "completed"}'))
    result = asyncio.run(vertex(transport).poll_remote_task(INTERACTION))
    assert isinstance(result, NoAnswer)
    assert "another task" in result.error


def test_only_an_interaction_can_be_cancelled() -> None:
    assert asyncio.run(vertex(Scripted(TOKEN)).cancel(NAME)) == CancelRefused(
        "only an interaction can be cancelled"
    )


@pytest.mark.parametrize("has_bucket", [True, False])
def test_omni_s_videos_come_from_the_bucket_or_the_answer(
    has_bucket: bool, database_url: str, tmp_path: Path
) -> None:
    async def scenario(simulator: SimulatorThread) -> None:
        environment = dict(VertexWire().exports(simulator.base_url, ""))
        if not has_bucket:
            del environment["VERTEX_STORAGE_URI"]
        async with rushes_on(database_url, simulator.base_url, environment) as rushes:
            batch_id = (await rushes.create_batch(items(4, ("vertex-omni", "vertex-omni-1.1"))))["batch_id"]
            batch = await run_for(rushes, batch_id, seconds_max=60.0)
            assert (batch["status"], batch["succeeded_count"]) == ("succeeded", 4)
            assert_money_adds_up(batch)
            found = await rushes.download(batch_id, tmp_path)
            assert [file["error"] for file in found["files"]] == [None] * 4

    with running_simulator(knobs(render_seconds=0.5)) as simulator:
        asyncio.run(scenario(simulator))


def test_the_official_sdk_in_vertex_mode_makes_a_video_of_the_simulator() -> None:
    """With a service account, whose token Google's own library fetches."""
    with running_simulator(knobs(render_seconds=0.3)) as simulator:
        key = json.loads(b64decode(VertexWire().exports(simulator.base_url, "")["VERTEX_CREDENTIALS"]))
        client = genai.Client(
            vertexai=True,
            project=key["project_id"],
            location="us-central1",
            credentials=Credentials.from_service_account_info(key, scopes=[SCOPE]),  # type: ignore[no-untyped-call]
            http_options={"base_url": simulator.base_url},
        )
        interaction = client.interactions.create(
            model="gemini-omni-1.2-flash",
            input="a fox",
            background=True,
            store=True,
            response_format={"type": "video", "delivery": "inline", "duration": "5s"},
        )
        while interaction.status == "in_progress":
            time.sleep(0.1)
            interaction = client.interactions.get(str(interaction.id))
        assert interaction.status == "completed"
        assert interaction.output_video is not None
        assert b64decode(str(interaction.output_video.data))[4:8] == b"ftyp"
        assert simulator.report().tokens == 1
