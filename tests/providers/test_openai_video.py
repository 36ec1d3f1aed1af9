"""OpenAI's videos API: what is sent, what codes mean, the official SDK, and one rushes behind another."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from rushes.domain.task import Accepted, Failed, FailureType, NotSent, Rejected, SubmitOutcome, Succeeded
from rushes.providers.base import SubmitRequest
from rushes.providers.families import openai_video
from rushes.providers.inputs import InputFile, multipart_form
from rushes.simulator import SimulatorKnobs, running_simulator
from tests.api.harness import running_service
from tests.harness import rushes_on
from tests.providers.service import Reply, Service, request_of

IMAGE = "https://i.example/1.png"


def outcome(reply: Reply) -> SubmitOutcome:
    service = Service(openai_video.build, {"/videos": reply})
    return service.submit(SubmitRequest("sora-2", "a fox"))[0]


def error(status: int, code: str | None, message: str = "no") -> Reply:
    return Reply({"error": {"message": message, "type": "t", "param": None, "code": code}}, status)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        ({"aspect_ratio": "9:16"}, {"size": "720x1280"}),
        ({"aspect_ratio": "16:9", "size": "large"}, {"size": "1792x1024"}),
        ({"size": "large"}, {"size": "1024x1792"}),
        (
            {"duration": 8, "references": (InputFile(IMAGE),)},
            {"seconds": "8", "input_reference[image_url]": IMAGE},
        ),
    ],
)
def test_options_become_the_fields_of_a_form(options: dict[str, Any], fields: dict[str, str]) -> None:
    prompt = '雨夜 "neon"\r\n--boundary'
    service = Service(openai_video.build, {"/videos": Reply({"id": "video_1", "status": "queued"})})
    accepted, (exchange,) = service.submit(request_of("sora-2", prompt, options))
    assert accepted == Accepted("video_1")
    content_type, body = multipart_form({"model": "sora-2", "prompt": prompt, **fields})
    assert (exchange.headers["content-type"], exchange.body) == (content_type, body)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error(400, "moderation_blocked"), Rejected("no", FailureType.INPUT_MODERATION)),
        (error(400, "invalid_value"), Rejected("no", FailureType.PARAM_ERROR)),
        (error(404, "model_not_found"), Rejected("no", FailureType.PARAM_ERROR)),
        (
            Reply({"error": "INVALID_INPUT", "detail": "too long"}, 422),
            Rejected("too long", FailureType.PARAM_ERROR),
        ),
    ],
)
def test_a_refusal_is_the_task_s_own(reply: Reply, expected: SubmitOutcome) -> None:
    assert outcome(reply) == expected


@pytest.mark.parametrize(
    "reply",
    [
        error(401, "invalid_api_key"),
        error(403, "billing_hard_limit_reached"),
        error(404, None, "Invalid URL (POST /v1/videos)"),
        Reply({"error": "INSUFFICIENT_CREDITS", "detail": "not enough"}, 402),
    ],
)
def test_the_account_s_trouble_pauses_the_provider(reply: Reply) -> None:
    paused = outcome(reply)
    assert isinstance(paused, NotSent)
    assert paused.pauses_provider


@pytest.mark.parametrize(
    ("code", "failure_type"),
    [
        ("moderation_blocked", FailureType.OUTPUT_MODERATION),
        ("input_moderation", FailureType.INPUT_MODERATION),
        ("timeout", FailureType.TIMEOUT),
        ("internal_error", FailureType.MODEL_ERROR),
    ],
)
def test_a_failure_s_kind_comes_from_its_code(code: str, failure_type: FailureType) -> None:
    video = {"id": "v", "status": "failed", "error": {"code": code, "message": "sorry"}}
    result, _ = Service(openai_video.build, {"/videos/v": Reply(video)}).poll("v")
    assert result == Failed("sorry", failure_type)


def test_a_success_s_file_is_the_content_path_at_our_own_host_whatever_the_answer_says() -> None:
    video = {"id": "v", "status": "completed", "progress": 100, "url": "https://evil.example/"}
    service = Service(openai_video.build, {"/videos/v": Reply(video)})
    result, _ = service.poll("v")
    assert isinstance(result, Succeeded)
    assert result.video_url.startswith("http://127.0.0.1:")
    assert result.video_url.endswith("/videos/v/content")


# --- the official SDK against the simulator's wire ----------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_sdk_makes_and_downloads_a_video_of_the_simulator() -> None:
    with running_simulator(SimulatorKnobs(render_seconds=0.2, api_key="sk-1")) as simulator:
        with OpenAI(api_key="sk-1", base_url=f"{simulator.base_url}/v1", max_retries=0) as client:
            video = client.videos.create_and_poll(
                model="sora-2-pro", prompt="a fox", seconds="8", size="1792x1024"
            )
            assert (video.status, video.progress, video.model) == ("completed", 100, "sora-2-pro")
            assert (video.seconds, video.size, video.error) == ("8", "1792x1024", None)
            assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"
            with pytest.raises(NotFoundError):
                client.videos.retrieve("video_none")
            with pytest.raises(BadRequestError, match="size"):
                client.videos.create(prompt="a fox", size="1x1")  # type: ignore[arg-type]
        report = simulator.report()
    assert (report.accepted, report.deliveries, report.downloads) == (1, 1, 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_sdk_reads_the_simulator_s_failures() -> None:
    async def failed(url: str) -> Any:
        async with AsyncOpenAI(api_key="sk-1", base_url=f"{url}/v1", max_retries=0) as client:
            return await client.videos.create_and_poll(prompt="a fox")

    knobs = SimulatorKnobs(render_seconds=0.1, output_moderation=1.0)
    with running_simulator(knobs) as simulator:
        video = asyncio.run(failed(simulator.base_url))
    assert (video.status, video.error.code) == ("failed", "moderation_blocked")


# --- one rushes behind another ------------------------------------------------------------------------------


def test_one_rushes_makes_its_videos_at_another(tmp_path: Path) -> None:
    """Two whole installations: the far one serves its API, the near one's batch runs through it."""

    async def near(base_url: str, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        variables = {
            "RUSHES_DATA_DIR": str(tmp_path / "near"),
            "OPENAI_VIDEO_BASE_URL": f"{base_url}/v1",
            "OPENAI_VIDEO_API_KEY": key,
        }
        url = f"sqlite:///{tmp_path}/near.db"
        async with rushes_on(url, "http://127.0.0.1:1", variables) as rushes, asyncio.timeout(60):
            prompts = [f"p{number}" for number in range(12)]
            batch = await rushes.create_batch(prompts, model="openai-sora-2", aspect_ratio="16:9")
            batch = await rushes.run(batch["batch_id"])
            assert (await rushes.audit()).ok
            return batch, await rushes.items(batch["batch_id"])

    with (
        running_simulator(SimulatorKnobs(render_seconds=0.3, output_moderation=0.3)) as simulator,
        running_service(f"sqlite:///{tmp_path}/far.db", simulator.base_url) as far,
    ):
        tenant = far.tenant(credits=1000)
        batch, items = asyncio.run(near(far.base_url, tenant.key))
        succeeded, failed = batch["succeeded_count"], batch["failed_count"]
        assert (succeeded + failed, succeeded > 0, failed > 0) == (12, True, True)
        assert tenant.get("/v1/credits/balance")["available"] == 1000 - 10 * succeeded
        assert far.ask(lambda rushes: rushes.audit()).ok
        assert simulator.report().accepted == 12, "nothing was bought twice"
        base_url = far.base_url
    for item in items:
        if item["status"] == "succeeded":
            assert item["video_url"].startswith(f"{base_url}/v1/videos/video_")
        else:
            assert (item["failure_type"], item["error"]) == ("output_moderation", "output_moderation")
    stored = list((tmp_path / "near" / "archive").rglob("*.mp4"))
    assert len(stored) == succeeded, "fetched with the key, at the far host only"
