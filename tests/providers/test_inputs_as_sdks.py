"""The same picture leaves a provider as the service's official SDK sends it: real SDKs, bodies compared.

The SDKs run in a thread against a local server; what arrives is compared with what our provider sends there.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

import fal_client
import fal_client.client
import httpx
import openai
import pytest
from fal_client.auth import AuthCredentials
from google import genai
from google.oauth2.credentials import Credentials
from runwayml import RunwayML

from rushes.domain.task import Accepted, NotSent, Rejected
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import fal, google, openai_video, runway, vertex
from rushes.providers.http.client import HttpTransport
from rushes.providers.http.transport import Response
from rushes.providers.inputs import InputFile, TakesUploads
from tests.conformance.test_vertex import account
from tests.files import media_samples as samples
from tests.providers.local_http import Exchange, http1_server
from tests.providers.scripted import Asked, Scripted
from tests.providers.service import KEY, Reply, Service

PNG = samples.png()
FILE = InputFile(data=PNG, content_type="image/png", file_name="frame.png")
AT_URL = InputFile("https://i.example/frame.png")
PROMPT = "a paper boat"


def sent_by(sdk: Callable[[str], object], answer: dict[str, Any]) -> Exchange:
    """The one request that an SDK makes to the server at the URL that it is given."""

    async def reply(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps(answer).encode(), {"content-type": "application/json"})

    async def run() -> list[Exchange]:
        async with asyncio.timeout(20), http1_server(reply) as server:
            await asyncio.to_thread(sdk, server.url)
            return server.requests

    (exchange,) = asyncio.run(run())
    return exchange


def sent_by_us(build: Any, request: SubmitRequest, path: str) -> Exchange:
    _outcome, (exchange,) = Service(build, {path: Reply({"id": "1", "request_id": "1"})}).submit(request)
    return exchange


def form_of(exchange: Exchange) -> dict[str, tuple[str | None, str, bytes]]:
    """File name, content type and bytes of each part."""
    head = f"content-type: {exchange.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + exchange.body, policy=HTTP).iter_parts()
    return {
        str(part.get_param("name", header="content-disposition")): (
            part.get_filename(),
            part.get_content_type() if part.get_filename() else "",
            bytes(part.get_payload(decode=True)),
        )
        for part in parts
    }


@pytest.mark.parametrize("file", [FILE, AT_URL], ids=["bytes", "url"])
def test_runway(file: InputFile) -> None:
    def sdk(url: str) -> object:
        client = RunwayML(api_key=KEY, base_url=url, max_retries=0)
        return client.image_to_video.create(
            model="gen4.5", prompt_text=PROMPT, prompt_image=file.address, ratio="1280:720", duration=5
        )

    theirs = sent_by(sdk, {"id": "17"})
    request = SubmitRequest("gen4.5", PROMPT, {"aspect_ratio": "16:9"}, inputs={"first_frame": (file,)})
    ours = sent_by_us(runway.build, request, "/v1/image_to_video")
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert json.loads(ours.body) == json.loads(theirs.body)


def test_runway_a_file_of_its_own() -> None:
    """The two requests of the SDK's `create_ephemeral`; the key does not go to the place for files."""

    async def exchanges_of(send: Callable[[str], Awaitable[object]]) -> tuple[object, list[Exchange]]:
        async def reply(exchange: Exchange) -> None:
            place = {"runwayUri": "runway://1", "uploadUrl": f"{server.url}/bucket", "fields": {"k": "v"}}
            body = b"" if exchange.path == "/bucket" else json.dumps(place).encode()
            status = 204 if exchange.path == "/bucket" else 200
            await exchange.answer(status, body, {"content-type": "application/json"})

        async with asyncio.timeout(20), http1_server(reply) as server:
            return await send(server.url), server.requests

    async def theirs(url: str) -> object:
        client = RunwayML(api_key=KEY, base_url=url, max_retries=0)
        file = ("frame.png", PNG, "image/png")
        return (await asyncio.to_thread(client.uploads.create_ephemeral, file=file)).uri

    async def ours(url: str) -> object:
        transport = HttpTransport(connect_timeout_seconds=1)
        provider = runway.build(ProviderConfig(url, KEY, transport))
        assert isinstance(provider, TakesUploads)
        try:
            return await provider.upload_input(FILE)
        finally:
            await transport.close()

    (their_uri, their_requests), (our_uri, our_requests) = (
        asyncio.run(exchanges_of(theirs)),
        asyncio.run(exchanges_of(ours)),
    )
    assert our_uri == their_uri == "runway://1"
    assert [request.path for request in our_requests] == ["/v1/uploads", "/bucket"]
    assert json.loads(our_requests[0].body) == json.loads(their_requests[0].body)
    assert form_of(our_requests[1]) == form_of(their_requests[1])
    assert list(form_of(our_requests[1])) == ["k", "file"]
    assert "authorization" not in our_requests[1].headers
    assert our_requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_fal_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two requests of the SDK's storage; the key does not go to the place for files."""

    async def exchanges_of(send: Callable[[str], Awaitable[object]]) -> tuple[object, list[Exchange]]:
        async def reply(exchange: Exchange) -> None:
            place = {"upload_url": f"{server.url}/bucket", "file_url": "https://f.example/frame.png"}
            body = b"" if exchange.path == "/bucket" else json.dumps(place).encode()
            await exchange.answer(200, body, {"content-type": "application/json"})

        async with asyncio.timeout(20), http1_server(reply) as server:
            return await send(server.url), server.requests

    async def theirs(url: str) -> object:
        monkeypatch.setattr(fal_client.client, "REST_URL", url)
        auth = AuthCredentials(scheme="Key", token=KEY)

        def give() -> object:
            with httpx.Client() as client:
                return fal_client.client._upload_via_storage(
                    client, auth, data=PNG, content_type="image/png", file_name="frame.png"
                )

        return await asyncio.to_thread(give)

    async def ours(url: str) -> object:
        transport = HttpTransport(connect_timeout_seconds=1)
        provider = fal.build(ProviderConfig(url, KEY, transport))
        assert isinstance(provider, TakesUploads)
        try:
            return await provider.upload_input(FILE)
        finally:
            await transport.close()

    (their_url, their_requests), (our_url, our_requests) = (
        asyncio.run(exchanges_of(theirs)),
        asyncio.run(exchanges_of(ours)),
    )
    assert our_url == their_url == "https://f.example/frame.png"
    for mine, its in zip(our_requests, their_requests, strict=True):
        assert (mine.method, mine.path, mine.headers["content-type"]) == (
            its.method,
            its.path,
            its.headers["content-type"],
        )
        assert mine.headers.get("authorization") == its.headers.get("authorization")
    assert json.loads(our_requests[0].body) == json.loads(their_requests[0].body)
    assert our_requests[1].body == their_requests[1].body == PNG
    assert "authorization" not in our_requests[1].headers


PLACE = {"runwayUri": "x", "uploadUrl": "http://10.0.0.1/", "fields": {}}


@pytest.mark.parametrize(
    ("answer", "status", "kind", "reason"),
    [
        ({"error": "no such key"}, 401, NotSent, "no such key"),
        ({"error": "not a picture"}, 400, Rejected, "not a picture"),
        ({"error": "later"}, 503, NotSent, "HTTP 503"),
        ({"unknown": 1}, 200, NotSent, "runwayUri"),
        (PLACE, 200, NotSent, "the place for files is no https URL"),
    ],
)
def test_runway_a_file_that_it_does_not_take(
    answer: dict[str, Any], status: int, kind: type, reason: str
) -> None:
    async def run() -> object:
        async def reply(exchange: Exchange) -> None:
            await exchange.answer(status, json.dumps(answer).encode(), {"content-type": "application/json"})

        async with asyncio.timeout(20), http1_server(reply) as server:
            transport = HttpTransport(connect_timeout_seconds=1)
            provider = runway.build(ProviderConfig(server.url, KEY, transport))
            assert isinstance(provider, TakesUploads)
            outcome = await provider.upload_input(FILE)
            await transport.close()
            assert len(server.requests) == 1
            return outcome

    outcome = asyncio.run(run())
    assert isinstance(outcome, kind)
    assert reason in getattr(outcome, "reason", "")


def test_openai_a_file() -> None:
    def sdk(url: str) -> object:
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        return client.videos.create(
            prompt=PROMPT, model="sora-2", seconds="4", input_reference=("frame.png", PNG, "image/png")
        )

    theirs = sent_by(sdk, {"id": "video_1", "object": "video"})
    request = SubmitRequest("sora-2", PROMPT, {"duration": 4}, inputs={"references": (FILE,)})
    ours = sent_by_us(openai_video.build, request, "/videos")
    assert f"/v1{ours.path}" == theirs.path
    assert form_of(ours) == form_of(theirs)


def test_openai_a_url() -> None:
    def sdk(url: str) -> object:
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        return client.videos.create(
            prompt=PROMPT, model="sora-2", seconds="4", input_reference={"image_url": AT_URL.address}
        )

    def sdk_with_body(url: str) -> object:
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
        extra = {"input_reference": {"image_url": AT_URL.address}}
        return client.videos.create(prompt=PROMPT, model="sora-2", seconds="4", extra_body=extra)

    try:
        theirs = sent_by(sdk, {"id": "video_1", "object": "video"})
    except RuntimeError:  # this version of the SDK takes an object in `extra_body` only
        theirs = sent_by(sdk_with_body, {"id": "video_1", "object": "video"})
    request = SubmitRequest("sora-2", PROMPT, {"duration": 4}, inputs={"references": (AT_URL,)})
    ours = sent_by_us(openai_video.build, request, "/videos")
    assert form_of(ours) == form_of(theirs)


def test_google_omni() -> None:
    contents = [
        {"type": "image", "data": FILE.base64, "mime_type": "image/png"},
        {"type": "text", "text": PROMPT},
    ]
    wanted = {"type": "video", "delivery": "uri", "aspect_ratio": "16:9", "duration": "5s"}

    def sdk(url: str) -> object:
        client = genai.Client(api_key=KEY, http_options={"base_url": url})
        return client.interactions.create(
            model="gemini-omni-1.2-flash",
            input=contents,
            background=True,
            store=True,
            response_format=wanted,
            generation_config={"video_config": {"task": "image_to_video"}},
        )

    theirs = sent_by(sdk, {"id": "i-1", "status": "in_progress", "object": "interaction"})
    request = SubmitRequest(
        "gemini-omni-1.2-flash",
        PROMPT,
        {"aspect_ratio": "16:9", "duration": 5},
        inputs={"first_frame": (FILE,)},
    )
    ours = sent_by_us(google.build, request, "/v1/interactions")
    assert theirs.path.endswith("/interactions")
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert b64decode(json.loads(ours.body)["input"][0]["content"][0]["data"]) == PNG


def test_gemini_omni_on_vertex_ai() -> None:
    wanted = {"type": "video", "delivery": "uri", "gcs_uri": "gs://b-1/out", "duration": "12s"}

    def sdk(url: str) -> object:
        client = genai.Client(
            vertexai=True,
            project="p-1",
            location="us-central1",
            credentials=Credentials("token-1"),  # type: ignore[no-untyped-call]
            http_options={"base_url": url},
        )
        return client.interactions.create(
            model="gemini-omni-1.2-flash",
            input=[
                {"type": "image", "data": FILE.base64, "mime_type": "image/png"},
                {"type": "text", "text": PROMPT},
            ],
            background=True,
            store=True,
            response_format=wanted,
            generation_config={"seed": 7, "video_config": {"task": "reference_to_video"}},
            labels={"rushes-submit": "bat_1-0-0-1"},
        )

    theirs = sent_by(sdk, {"id": "i-1", "status": "in_progress", "object": "interaction"})
    request = SubmitRequest(
        "gemini-omni-1.2-flash",
        PROMPT,
        {"duration": 12, "seed": 7},
        inputs={"references": (FILE,)},
        submit_key="bat_1-0-0-1",
    )
    asked = vertex_asked(request)
    assert asked.url.endswith(theirs.path)
    assert json.loads(asked.body or b"") == json.loads(theirs.body)


def vertex_asked(request: SubmitRequest) -> Asked:
    """What is sent once there is a token."""
    transport = Scripted(
        Response(200, {}, b'{"access_token":"token-1","expires_in":3600}'),
        Response(200, {}, b'{"id": "i-1", "status": "in_progress"}'),
    )
    config = ProviderConfig(
        "https://us-central1-aiplatform.googleapis.com",
        account("https://tokens.example/token"),
        transport,
        extra={"storage_uri": "gs://b-1/out"},
    )
    assert isinstance(asyncio.run(vertex.build(config).submit(request)), Accepted)
    return transport.asked[-1]


def test_fal() -> None:
    """Its SDK's submit sends the arguments as they are; a file goes as its `encode` makes it."""
    request = SubmitRequest("fal-ai/veo3.1/fast", PROMPT, {"duration": 8}, inputs={"first_frame": (FILE,)})
    ours = sent_by_us(fal.build, request, "/fal-ai/veo3.1/fast/image-to-video")
    arguments = {"prompt": PROMPT, "duration": "8s", "image_url": fal_client.encode(PNG, "image/png")}
    assert json.loads(ours.body) == arguments


@pytest.mark.parametrize(
    ("build", "model", "role"),
    [
        (runway.build, "gen4.5", "source_video"),
        (fal.build, "fal-ai/veo3.1", "audio"),
        (google.build, "gemini-omni-1.2-flash", "last_frame"),
        (google.build, "veo-3.1-generate-preview", "references"),
        (openai_video.build, "sora-2", "first_frame"),
    ],
)
def test_a_part_that_the_model_does_not_have_is_refused_without_sending(
    build: Any, model: str, role: str
) -> None:
    outcome, exchanges = Service(build, {}).submit(SubmitRequest(model, "a", inputs={role: (FILE,)}))
    assert exchanges == []
    assert getattr(outcome, "reason", "") == f"{model} has no input {role}"


def test_google_is_given_no_url() -> None:
    request = SubmitRequest("gemini-omni-1.2-flash", "a", inputs={"first_frame": (AT_URL,)})
    outcome, exchanges = Service(google.build, {}).submit(request)
    assert exchanges == []
    assert getattr(outcome, "reason", "") == "gemini-omni-1.2-flash takes files within the request, no URL"
