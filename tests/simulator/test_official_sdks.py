"""The services' own Python SDKs against the simulator: it speaks what they understand."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from runwayml import AuthenticationError, BadRequestError, NotFoundError, RunwayML
from runwayml.types import TaskRetrieveResponse
from runwayml.types.task_retrieve_response import Failed, Pending, Running, Succeeded, Throttled

from rushes.simulator import SimulatorKnobs, SimulatorReport, running_simulator
from rushes.simulator.serving.server import SimulatorThread
from tests.providers.local_http import AUTHORITY, server_tls

KEY = "sk-simulated"
CALM = SimulatorKnobs(api_key=KEY, render_seconds=0.3)


# --- fal: its SDK takes its host from the environment, and only over TLS ------------------------------------

FAL_SESSION = """
import json, sys
import fal_client

model, prompt = sys.argv[1:]
handle = fal_client.submit(model, {"prompt": prompt, "duration": "8s"})
seen = [type(status).__name__ for status in handle.iter_events(interval=0.05)]
said = {"request_id": handle.request_id, "seen": seen}
by_name = fal_client.status(model, handle.request_id)
said["by_name"] = [type(by_name).__name__, by_name.error_type]
try:
    said["result"] = fal_client.result(model, handle.request_id)
except fal_client.client.FalClientHTTPError as error:
    said["refused"] = [error.status_code, error.message, error.error_type]
print(json.dumps(said))
"""


def fal_session(folder: Path, knobs: SimulatorKnobs, *, key: str = KEY) -> tuple[Any, SimulatorReport]:
    """One request of fal's SDK from submit to result, in a process of its own."""
    authority = folder / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(authority))
    with running_simulator(knobs, ssl_context=server_tls()) as simulator:
        host = simulator.base_url.removeprefix("https://")
        environment = {
            **os.environ,
            "FAL_QUEUE_RUN_HOST": host,
            "FAL_KEY": key,
            "SSL_CERT_FILE": str(authority),
        }
        done = subprocess.run(
            [sys.executable, "-c", FAL_SESSION, "fal-ai/veo3.1/fast", "a fox"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        report = simulator.report()
    if done.returncode != 0:
        return done.stderr, report
    return json.loads(done.stdout), report


def test_fals_sdk_follows_a_request_to_its_video(tmp_path: Path) -> None:
    said, report = fal_session(tmp_path, CALM)
    (task,) = report.tasks or ()
    assert said["request_id"] == task.id
    assert set(said["seen"]) <= {"Queued", "InProgress", "Completed"}
    assert said["seen"][-1] == said["by_name"][0] == "Completed"
    assert len(said["seen"]) > 1
    assert said["result"]["video"]["url"].endswith(f"/files/{task.id}.mp4")
    assert (task.prompt, task.model, report.deliveries) == ("a fox", "fal-ai/veo3.1/fast", 1)


@pytest.mark.parametrize(
    ("outcome", "status", "kind"),
    [
        ("input_moderation", 422, "content_policy_violation"),
        ("output_moderation", 422, "content_policy_violation"),
        ("error", 422, "no_media_generated"),
    ],
)
def test_fals_sdk_reads_a_models_refusal(tmp_path: Path, outcome: str, status: int, kind: str) -> None:
    said, report = fal_session(tmp_path, CALM.replaced({outcome: 1.0}))
    assert said["refused"][0] == status
    (problem,) = said["refused"][1]
    assert (problem["type"], problem["loc"][0]) == (kind, "body")
    assert report.failures == {outcome: 1}


def test_fals_sdk_reads_a_request_error_in_the_status_and_in_the_result(tmp_path: Path) -> None:
    said, _ = fal_session(tmp_path, CALM.replaced({"business_code": 1.0}))
    status, message, error_type = said["refused"]
    assert said["by_name"] == ["Completed", error_type]
    assert status >= 500
    assert error_type
    assert message


def test_fals_sdk_is_refused_with_a_wrong_key(tmp_path: Path) -> None:
    said, report = fal_session(tmp_path, CALM, key="sk-another-key")
    assert "Authentication is required" in said
    assert report.accepted == 0


# --- Runway -------------------------------------------------------------------------------------------------

TASK: TypeAdapter[Any] = TypeAdapter(TaskRetrieveResponse)


def follow(client: RunwayML, task_id: str) -> list[Any]:
    """Every answer until the task has ended, each checked against the SDK's type of its state."""
    seen: list[Any] = []
    while not seen or isinstance(seen[-1], Pending | Throttled | Running):
        raw = client.tasks.with_raw_response.retrieve(task_id)
        seen.append(TASK.validate_json(raw.http_response.content))
        assert client.tasks.retrieve(task_id).id == task_id
        time.sleep(0.03)
    return seen


def connect(simulator: SimulatorThread, key: str = KEY, **options: Any) -> RunwayML:
    return RunwayML(api_key=key, base_url=simulator.base_url, max_retries=0, **options)


def create(client: RunwayML, *, prompt: str = "a fox", image: str | None = None) -> str:
    if image is None:
        return client.text_to_video.create(
            model="gen4.5", prompt_text=prompt, ratio="720:1280", duration=4
        ).id
    return client.image_to_video.create(
        model="veo3.1_fast", prompt_text=prompt, prompt_image=image, ratio="1920:1080", duration=6
    ).id


@pytest.mark.parametrize("image", [None, "https://i.example/1.png"], ids=["text", "image"])
def test_runways_sdk_follows_a_task_to_its_video(image: str | None) -> None:
    with running_simulator(CALM) as simulator, connect(simulator) as client:
        task_id = create(client, image=image)
        seen = follow(client, task_id)
        report = simulator.report()
    assert isinstance(seen[-1], Succeeded)
    assert any(isinstance(answer, Running) and 0 < answer.progress < 1 for answer in seen)
    assert seen[-1].output == [f"{simulator.base_url}/files/{task_id}.mp4"]
    assert seen[-1].cost.credits == (48 if image is None else 90)
    assert report.deliveries == 1


@pytest.mark.parametrize(
    ("outcome", "code", "credits"),
    [("input_moderation", "SAFETY", 48), ("output_moderation", "SAFETY.OUTPUT", 0), ("error", "INTERNAL", 0)],
)
def test_runways_sdk_reads_why_a_task_failed(outcome: str, code: str, credits: int) -> None:
    with running_simulator(CALM.replaced({outcome: 1.0})) as simulator, connect(simulator) as client:
        failed = follow(client, create(client))[-1]
    assert isinstance(failed, Failed)
    assert code in str(failed.failure_code)
    assert failed.cost.credits == credits


def test_runways_sdk_meets_the_refusals_as_its_own_errors() -> None:
    with running_simulator(CALM.replaced({"balance_submits": 0})) as simulator:
        with connect(simulator, "sk-another-key") as client, pytest.raises(AuthenticationError):
            create(client)
        old = connect(simulator, runway_version="2023-01-01")
        with old as client, pytest.raises(BadRequestError, match="X-Runway-Version"):
            create(client)
        with connect(simulator) as client:
            with pytest.raises(BadRequestError, match="enough credits"):
                create(client)
            with pytest.raises(BadRequestError, match="1000 UTF-16"):
                create(client, prompt="a" * 1001)
            with pytest.raises(NotFoundError, match="not found"):
                client.tasks.retrieve("17592186044416")
