"""`rushes run` with pictures beside the prompts: into real submits, or refused with their place."""

import json
from pathlib import Path

import pytest

from rushes.cli.given_items import price_drafts
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.settings import Settings
from tests.cli.conftest import NewSimulator
from tests.cli.process import QUICK, Shell
from tests.files import media_samples as samples

CSV = """prompt,first_frame
a boat,frames/boat.png
a kite,frames/kite.png
a boat again,frames/boat.png
"""


@pytest.fixture
def shell(tmp_path: Path, new_simulator: NewSimulator) -> Shell:
    """A folder with prompts and pictures, and Runway at a simulator."""
    folder = tmp_path / "work"
    (folder / "frames").mkdir(parents=True)
    (folder / "frames" / "boat.png").write_bytes(samples.png(shade=10))
    (folder / "frames" / "kite.png").write_bytes(samples.png(shade=200))
    (folder / "frames" / "notes.txt").write_text("not a picture")
    (folder / "p.csv").write_text(CSV)
    simulator = new_simulator()
    environment = {
        **QUICK,
        "RUNWAYML_HOST": simulator.base_url,
        "RUNWAYML_API_SECRET": "key-1",
        "RUSHES_DEFAULT_MODEL": "runway-gen4.5",
        "RUSHES_ALLOW_PRIVATE_URLS": "1",
    }
    return Shell(folder, environment)


def test_pictures_beside_the_prompts_go_into_the_videos(shell: Shell) -> None:
    quote = shell.call("quote", "p.csv", "--json").document
    assert quote["credits"] == 3 * 75
    assert not (shell.folder / "rushes-data").exists(), "a quote stores nothing"
    ended = shell.call("run", "p.csv", "--json", "--grant", "1000")
    assert ended.code == 0, ended.stderr
    uploads = sorted((shell.folder / "rushes-data" / "archive" / "uploads").rglob("*.png"))
    assert [path.read_bytes() for path in uploads] != []
    assert len(uploads) == 2, "the same picture is stored once"
    items = shell.call("batch", "show", "last", "--items", "--json").document["items"]
    assert [item["status"] for item in items] == ["succeeded"] * 3

    def pictures_after_erasing(index: int) -> int:
        erased = shell.call("erase", "--item", f"{ended.document['batch_id']}-{index}")
        assert erased.stdout == "1 task erased\n", erased.stderr
        return len(list((shell.folder / "rushes-data" / "archive" / "uploads").rglob("*.png")))

    assert pictures_after_erasing(0) == 2, "another item has the same picture"
    assert pictures_after_erasing(1) == 1
    assert pictures_after_erasing(2) == 0
    assert shell.call("audit").code == 0


def test_the_same_prompts_with_another_picture_are_another_batch(shell: Shell) -> None:
    first = shell.call("run", "p.csv", "--json", "--grant", "1000").document
    again = shell.call("run", "p.csv", "--json").document
    (shell.folder / "frames" / "kite.png").write_bytes(samples.png(shade=99))
    other = shell.call("run", "p.csv", "--json", "--grant", "1000").document
    assert first["batch_id"] == again["batch_id"] != other["batch_id"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("frames/gone.png", "there is no such file beside the prompt file"),
        ("frames", "is a folder, not a file"),
        ("../outside.png", "leads out of the folder of the prompt file; move the file there"),
        ("frames/notes.txt", "the file is not a PNG, JPEG, WebP or GIF picture"),
    ],
)
def test_a_file_that_cannot_be_taken_is_one_line_with_its_place(
    shell: Shell, value: str, message: str
) -> None:
    (shell.folder.parent / "outside.png").write_bytes(samples.png())
    (shell.folder / "p.csv").write_text(CSV + f"bad,{value}\n")
    for command in (("quote", "p.csv"), ("run", "p.csv", "--dry-run"), ("run", "p.csv", "--grant", "1000")):
        ended = shell.call(*command)
        assert ended.code == 1
        assert ended.stderr.startswith(f"rushes: p.csv:5: first_frame: {message}"), ended.stderr
        assert ended.stderr.count("\n") == 1
    assert not (shell.folder / "rushes-data" / "archive").exists()


def test_an_assistant_names_no_files_of_this_machine(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a prompt file has a folder beside it."""
    monkeypatch.chdir(shell.folder)
    drafts = drafts_from_objects(
        [{"prompt": "a", "model": "runway-gen4.5", "first_frame": "frames/boat.png"}], Defaults()
    )
    settings = Settings.load({}, env_file=None)
    with pytest.raises(InputError, match="must be the URL, upload id or data URI of one image"):
        price_drafts(drafts, settings)
    assert price_drafts(drafts, settings, shell.folder)[0].credits == 75


def test_a_model_that_takes_urls_only_says_so(shell: Shell) -> None:
    line = json.dumps({"prompt": "a", "model": "veo-pro", "first_frame": "frames/boat.png"})
    (shell.folder / "p.jsonl").write_text(line)
    ended = shell.call("quote", "p.jsonl")
    assert ended.stderr == (
        "rushes: p.jsonl:1: first_frame: the model takes URLs only, and uploads have no public link here;"
        " give the file's URL\n"
    )
