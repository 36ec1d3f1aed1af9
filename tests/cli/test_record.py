"""`rushes record` and `rushes sim --compare`: what has changed is noticed, and nothing private is kept."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.task import Accepted
from rushes.providers.base import ProviderConfig, SubmitRequest
from rushes.providers.families import runway
from rushes.providers.http.client import HttpTransport
from rushes.providers.samples import Sample, Samples, shape_of
from rushes.simulator import SimulatorThread, all_wires
from rushes.testing import recorded
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

SIMULATED = sorted(wire.name for wire in all_wires())


def test_a_shape_has_names_and_types_and_words_of_state_alone() -> None:
    body = {
        "id": "t-1",
        "status": "running",
        "type": "a sentence of words",
        "data": [{"n": 1, "url": "https://v.example/1.mp4?token=x"}, {"n": 0.5, "amount": "0.42"}],
        "done": True,
        "progress": None,
        "at": "2026-11-29T04:00:00Z",
        "flag": False,
    }
    assert shape_of(msgspec.json.encode(body)) == {
        "": ["object"],
        "at": ["time as text"],
        "data": ["list"],
        "data[]": ["object"],
        "data[].amount": ["number as text"],
        "data[].n": ["integer", "number"],
        "data[].url": ["url"],
        "done": ["true"],
        "flag": ["yes or no"],
        "id": ["text"],
        "progress": ["null"],
        "status": ['"running"'],
        "type": ["text"],
    }
    assert shape_of(b"<html>") == {"": ["no JSON"]}
    assert shape_of(b"") == shape_of(None) == {}
    assert "deeper" in str(shape_of(b'{"a":' * 50 + b"1" + b"}" * 50))


@pytest.mark.parametrize("provider", SIMULATED)
def test_what_the_simulator_itself_says_differs_nowhere(provider: str) -> None:
    spoken = list(recorded.spoken_by_simulator(provider))
    assert len({sample.status for sample in spoken}) >= 1
    assert len(spoken) >= 60
    found = recorded.differences(Samples(provider, "2026-11-29", spoken))
    assert found == []


def changed(change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What is said of a task of Runway that has succeeded, with a change."""
    body: dict[str, Any] = {
        "id": "t-1",
        "createdAt": "2026-11-29T04:00:00Z",
        "status": "SUCCEEDED",
        "output": ["https://v.example/1.mp4"],
        "cost": {"credits": 60},
    }
    change(body)
    sample = Sample(
        "GET /v1/tasks/{id}", [], {}, 200, "application/json", shape_of(msgspec.json.encode(body))
    )
    return [each.what for each in recorded.differences(Samples("runway", "2026-11-29", [sample]))]


def test_each_way_in_which_a_service_may_change_is_named_once() -> None:
    assert changed(lambda _body: None) == []
    assert changed(lambda body: body.update(thumbnail="https://v.example/1.jpg")) == ["thumbnail: is new"]
    assert changed(lambda body: body.update(output="https://v.example/1.mp4")) == [
        "output: is url, not list",
    ]
    assert changed(lambda body: body.pop("cost")) == ["cost: is missing", "cost.credits: is missing"]
    assert changed(lambda body: body.update(status="DELIVERED"))[0].startswith('status: is "DELIVERED", not ')


def test_another_status_or_question_is_named() -> None:
    gone = Sample("GET /v1/tasks/{id}", [], {}, 410, "application/json", {})
    elsewhere = Sample("GET /v2/jobs/{id}", [], {}, 200, "application/json", {})
    found = recorded.differences(Samples("runway", "2026-11-29", [gone, elsewhere, gone]))
    assert [each.what for each in found] == [
        "the simulator never answers HTTP 410",
        "the simulator is never asked so",
    ]


async def submitted(host: str) -> str:
    """A task of Runway's at the simulator."""
    transport = HttpTransport()
    try:
        model = DEFAULT_CATALOGUE.get("runway-gen4.5")
        provider = runway.build(ProviderConfig(host, "runway-key-canary", transport))
        outcome = await provider.submit(
            SubmitRequest("gen4.5", "a prompt canary", model.completed({}), wires=model.wires)
        )
        assert isinstance(outcome, Accepted)
        return outcome.remote_task_id
    finally:
        await transport.close()


def test_polls_are_recorded_without_anything_private_and_compared(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell], tmp_path: Path
) -> None:
    simulator = new_simulator()
    shell, out = shell_at(simulator), tmp_path / "samples"
    remote_id = asyncio.run(submitted(simulator.base_url))
    asked = ("record", remote_id, "rwy-none", "--provider", "runway", "--out", str(out), "--json")
    ended = shell.run(*asked, RUNWAYML_HOST=simulator.base_url, RUNWAYML_API_SECRET="runway-key-canary")
    assert (ended.code, ended.document["answered"]) == (0, 2), ended
    assert simulator.report().submits == 1, "nothing was bought"
    text = Path(ended.document["file"]).read_text()
    for private in (remote_id, "rwy-none", "canary", simulator.base_url):
        assert private not in text
    assert "/v1/tasks/{id}" in text
    compared = shell.run("sim", "--compare", str(out))
    assert (compared.code, compared.stderr) == (0, "rushes: 3 exchanges as the simulator has them\n")
    samples = msgspec.json.decode(text, type=Samples)
    samples.exchanges[0].answered["eta"] = ["integer"]
    Path(ended.document["file"]).write_bytes(msgspec.json.encode(samples))
    compared = shell.run("sim", "--compare", str(out), "--json")
    assert compared.code == 1
    assert [each["what"] for each in compared.document] == ["eta: is new"]


@pytest.mark.parametrize(
    ("arguments", "content", "words"),
    [
        (("sim", "--compare", "{out}"), None, "there are no samples in"),
        (("sim", "--compare", "{out}"), "{}", "no samples of `rushes record`"),
        (
            ("sim", "--compare", "{out}"),
            '{"provider":"acme","day":"","exchanges":[]}',
            "the simulator does not speak 'acme'",
        ),
        (("record", "t-1", "--provider", "none", "--out", "{out}"), None, 'there is no provider "none"'),
        (("record", "t-1", "--provider", "kling", "--out", "{out}"), None, "set KLING_API_KEY"),
    ],
)
def test_what_cannot_be_recorded_or_compared_is_one_line(
    new_simulator: NewSimulator,
    shell_at: Callable[[SimulatorThread], Shell],
    tmp_path: Path,
    arguments: tuple[str, ...],
    content: str | None,
    words: str,
) -> None:
    if content is not None:
        (tmp_path / "one.json").write_text(content)
    ended = shell_at(new_simulator()).run(*(part.replace("{out}", str(tmp_path)) for part in arguments))
    assert ended.code == 1
    assert words in ended.one_line_error()
