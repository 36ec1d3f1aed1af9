"""Google's Gemini API: what is sent, what its words mean, and the official SDK against the simulator."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import types

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import InputError
from rushes.domain.task import (
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
)
from rushes.providers.answers import QUEUED
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import google
from rushes.simulator import SimulatorCore, SimulatorKnobs, SimulatorTransport, running_simulator
from tests.api.harness import running_service
from tests.harness import knobs, rushes_on
from tests.providers.service import KEY, Reply, Service

VEO = SubmitRequest("veo-3.1-generate-preview", "a fox")
OMNI = SubmitRequest("gemini-omni-1.2-flash", "a fox")
VEO_PATH = "/v1beta/models/veo-3.1-generate-preview:predictLongRunning"
OMNI_PATH = "/v1/interactions"
NAME = "models/veo-3.1-generate-preview/operations/op1"
URI = "https://generativelanguage.googleapis.com/v1beta/files/abc:download?alt=media"


@pytest.mark.parametrize(
    ("request_", "path", "reply", "remote_task_id", "body"),
    [
        (
            SubmitRequest(
                VEO.api_model, "a fox", {"aspect_ratio": "9:16", "duration": 8, "resolution": "1080p"}
            ),
            VEO_PATH,
            {"name": NAME},
            NAME,
            {
                "instances": [{"prompt": "a fox"}],
                "parameters": {
                    "sampleCount": 1,
                    "aspectRatio": "9:16",
                    "durationSeconds": 8,
                    "resolution": "1080p",
                },
            },
        ),
        (
            SubmitRequest(OMNI.api_model, "a fox", {"duration": 8, "aspect_ratio": "16:9"}),
            OMNI_PATH,
            {"id": "v1_abc", "status": "in_progress"},
            "interactions/v1_abc",
            {
                "model": "gemini-omni-1.2-flash",
                "input": "a fox",
                "background": True,
                "store": True,
                "response_format": {
                    "type": "video",
                    "delivery": "uri",
                    "duration": "8s",
                    "aspect_ratio": "16:9",
                },
            },
        ),
    ],
    ids=["veo", "omni"],
)
def test_a_submit_says_it_in_the_models_own_api(
    request_: SubmitRequest, path: str, reply: Any, remote_task_id: str, body: Any
) -> None:
    outcome, (exchange,) = Service(google.build, {path: Reply(reply)}).submit(request_)
    assert outcome == Accepted(remote_task_id)
    assert exchange.headers["x-goog-api-key"] == KEY
    assert json.loads(exchange.body) == body


def error(status: int, word: str, message: str, *details: Any) -> Reply:
    return Reply({"error": {"code": status, "message": message, "status": word, "details": details}}, status)


KEY_INVALID = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36.5s"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            error(400, "INVALID_ARGUMENT", "API key not valid.", KEY_INVALID),
            NotSent("the key was refused (HTTP 400: API key not valid.)", True, True),
        ),
        (error(400, "FAILED_PRECONDITION", "No billing."), NotSent("HTTP 400: No billing.", True)),
        (error(400, "INVALID_ARGUMENT", "Bad size."), Rejected("Bad size.", FailureType.PARAM_ERROR)),
        (
            error(400, "INVALID_ARGUMENT", "It violates our policies."),
            Rejected("It violates our policies.", FailureType.INPUT_MODERATION),
        ),
        (
            error(404, "NOT_FOUND", "models/x is no longer available."),
            Rejected("models/x is no longer available.", FailureType.PARAM_ERROR),
        ),
        (
            error(429, "RESOURCE_EXHAUSTED", "Slow down.", RETRY),
            Throttled("HTTP 429: Slow down.", 36.5),
        ),
    ],
)
@pytest.mark.parametrize(("request_", "path"), [(VEO, VEO_PATH), (OMNI, OMNI_PATH)], ids=["veo", "omni"])
def test_a_refusal_is_the_tasks_the_accounts_or_a_wait(
    request_: SubmitRequest, path: str, reply: Reply, expected: SubmitOutcome
) -> None:
    assert Service(google.build, {path: reply}).submit(request_)[0] == expected


def veo(**fields: Any) -> PollResult:
    reply = Reply({"name": NAME, **fields})
    return Service(google.build, {f"/v1beta/{NAME}": reply}).poll(NAME)[0]


def videos(**fields: Any) -> PollResult:
    return veo(done=True, response={"@type": "x", "generateVideoResponse": fields})


MODERATED = FailureType.OUTPUT_MODERATION


def test_a_veo_operation_is_read_as_the_sdk_reads_it() -> None:
    assert veo() == Processing(None)
    assert veo(done=False, metadata={"a": 1}) == Processing(None)
    assert videos(generatedSamples=[{"video": {"uri": URI}}]) == Succeeded(URI)
    assert videos() == Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
    assert veo(done=True, error={"code": 3, "message": "m"}) == Failed("m", FailureType.PARAM_ERROR)
    assert veo(done=True, error={"code": 13, "message": "m"}) == Failed("m", FailureType.MODEL_ERROR)
    nothing = Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
    assert veo(done=True) == nothing
    assert veo(done=True, response={}) == nothing
    assert veo(done=True, response={"@type": "x"}) == nothing
    assert veo(done=True, error="it broke") == Failed("it broke", FailureType.MODEL_ERROR)
    assert isinstance(veo(done=True, response={"videos": [{"gcsUri": "gs://a/b"}]}), NoAnswer)
    assert isinstance(veo(done=True, response={"generateVideoResponse": 5}), NoAnswer)


def test_what_moderation_holds_back_is_a_failure_and_never_a_success() -> None:
    sample = [{"video": {"uri": URI}}]
    assert videos(raiMediaFilteredCount=1, raiMediaFilteredReasons=["a", "b"]) == Failed("a; b", MODERATED)
    assert videos(raiMediaFilteredReasons=["a"], generatedSamples=sample) == Failed("a", MODERATED)
    unexplained = videos(raiMediaFilteredCount=1, generatedSamples=sample)
    assert isinstance(unexplained, Failed)
    assert unexplained.failure_type is MODERATED
    assert videos(raiMediaFilteredCount=0, generatedSamples=sample) == Succeeded(URI)


def omni(status: str, **fields: Any) -> PollResult:
    reply = Reply({"id": "v1_a", "status": status, **fields})
    return Service(google.build, {"/v1/interactions/v1_a": reply}).poll("interactions/v1_a")[0]


def output(*content: Any) -> dict[str, Any]:
    return {"type": "model_output", "content": list(content)}


def test_an_interaction_is_read_as_the_sdk_reads_it() -> None:
    video, old = {"type": "video", "uri": URI}, {"type": "video", "uri": "https://old.example/"}
    assert repr(omni("queued")) == repr(QUEUED)
    assert repr(omni("in_progress")) == repr(Processing(None))
    assert omni("completed", steps=[output(old), {"type": "thought"}, output(video)]) == Succeeded(URI)
    nothing = Failed(SUCCEEDED_WITHOUT_VIDEO_URL, FailureType.MODEL_ERROR)
    assert omni("completed", steps=[]) == nothing
    assert omni("completed", steps=[output({"type": "video", "data": "AAAA"})]) == nothing
    refused = omni("completed", steps=[output({"type": "text", "text": "That violates our policies."})])
    assert refused == Failed("That violates our policies.", MODERATED)
    assert isinstance(omni("completed", steps=[{"type": "new_kind", "video": URI}]), NoAnswer)
    assert isinstance(omni("requires_action"), NoAnswer)
    assert omni("cancelled") == Failed("the interaction was cancelled", FailureType.CANCELLED)
    assert omni("failed", errors=[{"message": "m"}]) == Failed("m", FailureType.MODEL_ERROR)
    said = omni("failed", steps=[{"type": "model_output", "error": {"code": 13, "message": "m"}}])
    assert said == Failed("m", FailureType.MODEL_ERROR)


# --- the official SDK against the simulator's wire ----------------------------------------------------------


def sdk(url: str) -> genai.Client:
    return genai.Client(api_key="g-1", http_options=types.HttpOptions(base_url=url))


def test_the_official_sdk_makes_a_video_of_the_simulator_by_an_interaction() -> None:
    with running_simulator(SimulatorKnobs(render_seconds=0.2, api_key="g-1")) as simulator:
        client = sdk(simulator.base_url)
        interaction = client.interactions.create(
            model="gemini-omni-1.2-flash",
            input="a fox",
            background=True,
            store=True,
            response_format={"type": "video", "delivery": "uri", "duration": "5s", "resolution": "720p"},
        )
        assert interaction.status == "in_progress"
        while interaction.status == "in_progress":
            time.sleep(0.1)
            interaction = client.interactions.get(str(interaction.id))
        assert interaction.status == "completed"
        assert interaction.output_video is not None
        name = str(interaction.output_video.uri).split("/v1beta/")[1].split(":")[0]
        assert client.files.download(file=name)[4:8] == b"ftyp"
        assert simulator.report().downloads == 1


def test_the_official_sdk_reads_the_simulator_s_veo_operations() -> None:
    """Its own submit for Veo is gone with Google's Veo; that it follows and reads operations is left."""

    def ended(url: str) -> types.GenerateVideosOperation:
        body = {"instances": [{"prompt": "a fox"}], "parameters": {"durationSeconds": 4}}
        answer = httpx2.post(url + VEO_PATH, json=body, headers={"x-goog-api-key": "g-1"}, trust_env=False)
        operation = types.GenerateVideosOperation.model_validate({"name": answer.json()["name"]})
        client = sdk(url)
        for _ in range(100):
            operation = client.operations.get(operation)
            if operation.done:
                return operation
            time.sleep(0.1)
        raise AssertionError("it never ended")

    with running_simulator(SimulatorKnobs(render_seconds=0.2, api_key="g-1")) as simulator:
        response = ended(simulator.base_url).response
        assert response is not None
        assert response.generated_videos is not None
        video = response.generated_videos[0].video
        assert video is not None
        name = str(video.uri).split("/v1beta/")[1].split(":")[0]
        client = sdk(simulator.base_url)
        assert client.files.download(file=name)[4:8] == b"ftyp"
        simulator.use(SimulatorKnobs(render_seconds=0.2, api_key="g-1", output_moderation=1.0))
        response = ended(simulator.base_url).response
    assert response is not None
    assert (response.rai_media_filtered_count, response.generated_videos) == (1, None)
    assert response.rai_media_filtered_reasons


# --- through the engine -------------------------------------------------------------------------------------


def test_a_batch_is_made_and_its_files_are_fetched_with_the_key(tmp_path: Path) -> None:
    async def scenario(host: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        variables = {
            "RUSHES_DATA_DIR": str(tmp_path),
            "GEMINI_HOST": host,
            "GEMINI_API_KEY": "g-1",
            "RUSHES_MODELS": '{"google-veo3.1-fast": {"sunset_at": null}}',
        }
        async with rushes_on(f"sqlite:///{tmp_path}/r.db", host, variables) as rushes, asyncio.timeout(60):
            models = ["gemini-omni", "google-veo3.1-fast"] * 10
            batch = await rushes.create_batch([{"prompt": f"p{n}", "model": m} for n, m in enumerate(models)])
            batch = await rushes.run(batch["batch_id"])
            assert (await rushes.audit()).ok
            return batch, await rushes.items(batch["batch_id"])

    with running_simulator(knobs(render_seconds=0.2, api_key="g-1", output_moderation=0.3)) as simulator:
        batch, items = asyncio.run(scenario(simulator.base_url))
        report = simulator.report()
    succeeded = batch["succeeded_count"]
    assert 0 < succeeded < 20
    assert (report.accepted, report.deliveries) == (20, succeeded)
    assert {item["failure_type"] for item in items if item["status"] == "failed"} == {"output_moderation"}
    assert len(list((tmp_path / "archive").rglob("*.mp4"))) == succeeded


def test_the_api_hands_on_a_file_that_needs_the_provider_s_key_and_refuses_models_without_one(
    tmp_path: Path,
) -> None:
    with running_simulator(knobs(render_seconds=0.1, api_key="g-1")) as simulator:
        variables = {
            "GEMINI_HOST": simulator.base_url,
            "GEMINI_API_KEY": "g-1",
            "RUSHES_ARCHIVE_URL": "none",
            "RUSHES_ALLOW_PRIVATE_URLS": "",
            "GRSAI_API_KEY": "",
        }
        with running_service(f"sqlite:///{tmp_path}/r.db", environment=variables) as service:
            tenant = service.tenant()
            batch_id = tenant.batch("a fox", model="gemini-omni")["batch_id"]
            assert tenant.finished(batch_id)["status"] == "succeeded"
            answer = tenant.http.get(f"/v1/videos/{batch_id}-0/content")
            assert (answer.status_code, answer.content[4:8]) == (200, b"ftyp")
            refused = tenant.http.post("/v1/batches", json={"items": [{"prompt": "a", "model": "sora-2"}]})
            assert refused.status_code == 422
            assert "the service does not offer it at the moment" in refused.text
            assert "GRSAI_API_KEY" not in refused.text, "a setting of the operator"


@pytest.mark.parametrize(("name", "seconds_max"), [("gemini-omni", 15), ("gemini-omni-1.1", 10)])
def test_omni_makes_videos_of_3_seconds_up_to_what_its_version_can(name: str, seconds_max: int) -> None:
    model = DEFAULT_CATALOGUE.get(name)
    core = SimulatorCore(SimulatorKnobs())
    config = ProviderConfig("http://x", KEY, SimulatorTransport(core, clock=lambda: 0.0))
    provider = google.build(config)

    def submit(seconds: int) -> SubmitOutcome:
        options = model.completed({"duration": seconds})
        request = SubmitRequest(model.api_model, "a fox", options, wires=model.wires)
        return asyncio.run(provider.submit(request))

    for seconds in (3, seconds_max):
        assert model.normalise_options({"duration": seconds})
        assert isinstance(submit(seconds), Accepted)
    with pytest.raises(InputError):
        model.normalise_options({"duration": seconds_max + 1})
    assert isinstance(submit(seconds_max + 1), Rejected)
