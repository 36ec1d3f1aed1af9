"""The guide to chains, as it stands there: its file is run, its clips are joined, and what it says holds."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.chains.clips import pictures
from tests.cli.conftest import NewSimulator
from tests.cli.process import QUICK, Shell

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "chains.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def shell(tmp_path: Path, new_simulator: NewSimulator) -> Shell:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "shots.csv").write_text(block("csv"), encoding="utf-8")
    simulator = new_simulator()
    environment = {
        **QUICK,
        "RUNWAYML_HOST": simulator.base_url,
        "RUNWAYML_API_SECRET": "key-1",
        "RUSHES_DEFAULT_MODEL": "runway-gen4.5",
        "RUSHES_ALLOW_PRIVATE_URLS": "1",
    }
    return Shell(folder, environment)


def test_the_guides_example_makes_a_film(shell: Shell) -> None:
    said = block("console").splitlines()
    run, join = (shlex.split(line)[2:] for line in said if line.startswith("$ rushes "))
    ended = shell.call(*run, "--grant", "1000")
    assert ended.code == 0, ended.stderr
    joined = shell.call(*join)
    assert joined.stdout == said[-1] + "\n"
    shots = list((shell.folder / "rushes-data" / "archive").rglob("*.mp4"))
    frames = pictures(shell.folder / "film.mp4")
    assert len(shots) == 3
    assert len(frames) == sum(len(pictures(shot)) for shot in shots)
    assert [time for time, _ in frames] == sorted(time for time, _ in frames)
    items = shell.call("batch", "show", "last", "--items", "--json").document["items"]
    assert [item["follows"] for item in items] == [None, "shot-1", "shot-2"]
    assert [item["waits_for"] for item in items] == [None] * 3
    shown = shell.call("batch", "show", "last").stdout
    assert "chains: 1, of 3 items\n" in shown
    refused = shell.call(*join)
    assert refused.code == 1
    assert "film.mp4 is there already; name another file" in refused.stderr
    assert shell.call("audit").code == 0


def test_a_ring_is_refused_with_its_line_before_anything_is_written(shell: Shell) -> None:
    ring = block("csv").replace("stream,\n", "stream,@shot-3.last_frame\n")
    (shell.folder / "shots.csv").write_text(ring, encoding="utf-8")
    for command in (("quote", "shots.csv"), ("run", "shots.csv", "--yes"), ("run", "shots.csv", "--dry-run")):
        refused = shell.call(*command)
        assert refused.code == 1
        assert "shots.csv:2: first_frame: a ring:" in refused.stderr
    assert not list((shell.folder / "rushes-data").rglob("*.mp4"))


def test_json_lines_have_chains_too_and_the_quote_is_what_is_settled(shell: Shell) -> None:
    lines = [
        {"prompt": "one", "custom_id": "a"},
        {"prompt": "two", "custom_id": "b", "first_frame": "@a.last_frame"},
    ]
    (shell.folder / "shots.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    quote = shell.call("quote", "shots.jsonl", "--json").document
    assert quote["credits"] == 2 * 75
    ended = shell.call("run", "shots.jsonl", "--json", "--grant", "1000")
    assert ended.code == 0, ended.stderr
    assert shell.call("batch", "show", "last", "--json").document["credits_settled"] == 2 * 75
