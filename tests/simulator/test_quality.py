"""Laws of quality: what a model's clips are like, by chances that are known."""

import json
from importlib.resources import files as package_files
from urllib.request import Request, urlopen

import pytest

from rushes.domain.errors import InputError
from rushes.simulator import SimRequest, SimulatorCore, SimulatorKnobs, running_simulator
from rushes.simulator.quality.laws import HARD_PROMPT, Law, read_laws
from tests.simulator.simulator_client import core_submit


def test_laws_are_read_by_model_and_what_is_none_is_refused() -> None:
    assert read_laws("sora-2:black=0.2, rejected=0.1;veo-pro:frozen=0.05") == {
        "sora-2": Law(black=0.2, rejected=0.1),
        "veo-pro": Law(frozen=0.05),
    }
    assert read_laws("") == {}
    for text in ("sora-2", "sora-2:", "sora-2:dull=0.1", "sora-2:black=2", "sora-2:black=x", ":,"):
        with pytest.raises(InputError, match="quality"):
            SimulatorKnobs(quality=text)


def test_chances_follow_from_what_was_asked_for() -> None:
    law = Law(black=0.1, slow=0.1, rejected=0.5, hard=0.25, sound=0.2, tall=0.3)
    assert law.accepted_share("a kite", {"duration": 5}) == pytest.approx(0.9 * 0.5)
    assert law.accepted_share(f"a kite {HARD_PROMPT}", {"duration": 10}) == pytest.approx(0.4 * 0.25)
    assert [law.defect_of(10, draw) for draw in (0.05, 0.3, 0.7)] == ["black", "frozen", ""]
    assert law.defect_of(5, 0.3) == "", "a short clip stands still less often"
    tall = {"sound": True, "resolution": "1080p"}
    assert [law.failure_of(tall, draw) for draw in (0.1, 0.4, 0.6)] == ["sound", "tall", None]
    assert law.failure_of({"resolution": "720p"}, 0.1) is None


def test_a_models_clips_are_faulty_as_often_as_its_law_says() -> None:
    knobs = SimulatorKnobs(render_seconds=0, seed=5, quality="sora-2:black=0.3,frozen=0.2;veo:black=1")
    core = SimulatorCore(knobs)
    media = package_files("rushes.simulator") / "media"
    lengths = {
        defect: {len((media / f"{shape}-{defect}.mp4").read_bytes()) for shape in ("portrait", "landscape")}
        for defect in ("black", "frozen")
    }
    found = dict.fromkeys(lengths, 0)
    for number in range(400):
        task_id = core_submit(core, 0.0, f"take {number}")
        body = core.handle(SimRequest("GET", f"/files/{task_id}.mp4"), 9.0).body
        length = len(body) - len(body[body.rindex(b"free") - 4 :])
        for defect, known in lengths.items():
            found[defect] += length in known
    assert 0.23 < found["black"] / 400 < 0.37
    assert 0.14 < found["frozen"] / 400 < 0.26


def test_the_judge_answers_by_the_law_and_always_the_same_of_the_same_clip() -> None:
    with running_simulator(SimulatorKnobs(seed=5, quality="sora-2:rejected=0.4")) as simulator:

        def ask(item: str, model: str = "sora-2") -> dict[str, object]:
            question = {"item_id": item, "model": model, "prompt": "a kite", "try": 1}
            request = Request(
                f"{simulator.base_url}/_sim/judge",
                data=json.dumps(question).encode(),
                headers={"content-type": "application/json"},
            )
            with urlopen(request) as answer:
                found: dict[str, object] = json.load(answer)
            return found

        answers = [ask(f"bat_1-{number}") for number in range(200)]
        rejected = sum(answer["verdict"] == "rejected" for answer in answers)
        assert 0.3 < rejected / 200 < 0.5
        assert ask("bat_1-0") == answers[0]
        assert answers[0]["item_id"] == "bat_1-0"
        assert all(ask(f"bat_1-{number}", "veo-pro")["verdict"] == "accepted" for number in range(20))
