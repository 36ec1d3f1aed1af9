"""The preset `gateway`: every shape is spoken, each task keeps its own, and the report has the truth."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rushes.simulator import PRESETS, SimRequest, SimulatorCore, SimulatorKnobs
from rushes.simulator.gateways import SHAPES_COUNT
from rushes.simulator.message import SimResponse

KNOBS = PRESETS["gateway"].replaced({"gateway": 1.0, "render_seconds": 1.0, "poll_unknown_status": 0.0})


def submitted(core: SimulatorCore, count: int) -> Iterator[tuple[str, SimResponse]]:
    for number in range(count):
        prompt = f"a fox, take {number}"
        body = json.dumps({"prompt": prompt}).encode()
        yield prompt, core.handle(SimRequest("POST", "/v1/videos", body=body), 0.0)


def asked(core: SimulatorCore, path: str, now: float) -> SimResponse:
    return core.handle(SimRequest("GET", path), now)


def finished(knobs: SimulatorKnobs, count: int) -> SimulatorCore:
    """Tasks that were polled while they rendered and when they had ended, and whose files were fetched."""
    core = SimulatorCore(knobs)
    for _ in submitted(core, count):
        pass
    for task in core.report(0.0).tasks or ():
        for now in (0.0, 100.0, 100.0, 100.0):
            asked(core, f"/v1/videos/{task.id}", now)
        asked(core, f"/v1/videos/{task.id}/content", 100.0)
    return core


def test_every_shape_is_spoken() -> None:
    report = finished(KNOBS, 2500).report(100.0)
    spoken = {shape for task in report.tasks or () for shape in task.dialect}
    assert len(spoken) == SHAPES_COUNT
    reasons = {reason for prompt in report.prompts or () for reason in prompt.refusals}
    assert reasons == {
        "The prompt was flagged by our moderation system.", "moderation_blocked", "sensitive words"
    }  # fmt: skip


def test_the_same_seed_speaks_the_same_shapes_whatever_the_order() -> None:
    one, other = (finished(KNOBS, 60).report(100.0) for _ in range(2))
    assert one.tasks == other.tasks
    backwards = SimulatorCore(KNOBS)
    for _prompt, _answer in reversed(list(submitted(SimulatorCore(KNOBS), 60))):
        body = json.dumps({"prompt": _prompt}).encode()
        backwards.handle(SimRequest("POST", "/v1/videos", body=body), 0.0)
    ids = {task.id for task in backwards.report(0.0).tasks or ()}
    assert ids == {task.id for task in one.tasks or ()}


def test_without_the_knob_nothing_is_said_otherwise() -> None:
    report = finished(KNOBS.replaced({"gateway": 0.0}), 100).report(100.0)
    assert {task.dialect for task in report.tasks or ()} == {()}
    assert {prompt.refusals for prompt in report.prompts or ()} == {()}


@pytest.mark.parametrize("shape", ["bytes", "206", "202 first", "json", "redirect", "404"])
def test_a_file_can_be_had_wherever_the_gateway_has_it(shape: str) -> None:
    core = finished(KNOBS, 400)
    task = next(
        task
        for task in core.report(100.0).tasks or ()
        if f"content={shape}" in task.dialect and task.final_answer == "succeeded"
    )
    answer = asked(core, f"/v1/videos/{task.id}/content", 100.0)
    if shape in ("bytes", "206", "202 first"):
        assert (answer.status, answer.body[4:8]) == (206 if shape == "206" else 200, b"ftyp")
    elif shape == "redirect":
        assert dict(answer.headers)["location"].endswith(f"/files/{task.id}.mp4")
    else:
        told = answer if shape == "json" else asked(core, f"/v1/videos/{task.id}", 100.0)
        assert f"/files/{task.id}.mp4" in told.body.decode()
    assert asked(core, f"/files/{task.id}.mp4", 100.0).body[4:8] == b"ftyp"


def test_an_accepted_task_is_named_in_its_answer() -> None:
    core = SimulatorCore(KNOBS)
    accepted = {prompt: answer for prompt, answer in submitted(core, 300) if 200 <= answer.status < 300}
    by_prompt = {task.prompt: task for task in core.report(0.0).tasks or ()}
    assert accepted.keys() == by_prompt.keys()
    for prompt, answer in accepted.items():
        said: Any = json.loads(answer.body)
        assert by_prompt[prompt].id in json.dumps(said)
