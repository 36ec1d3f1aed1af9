"""`rushes batch download`: whole files under the wanted names, gone on with, never written over."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.simulator import SimulatorKnobs, SimulatorThread, running_simulator
from tests.cli.process import QUICK, Shell


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorThread]:
    knobs = SimulatorKnobs(render_seconds=0.2, output_moderation=0.2, file_redirect=0.2, seed=3)
    with running_simulator(knobs) as running:
        yield running


@pytest.fixture(scope="module")
def shell(simulator: SimulatorThread, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with one finished batch: some items failed, some files were refused."""
    shell = Shell(tmp_path_factory.mktemp("downloads"), {**QUICK, "GRSAI_HOST": simulator.base_url})
    lines = [json.dumps({"prompt": f"A boat, take {n}", "custom_id": f"c/{n}"}) for n in range(12)]
    shell.write("a.jsonl", "\n".join(lines))
    assert shell.call("run", "a.jsonl", "--grant", "1000").code == 5
    return shell


@pytest.fixture(scope="module")
def batch_id(shell: Shell) -> str:
    (batch,) = shell.ask(lambda rushes: rushes.list_batches())
    identifier: str = batch["batch_id"]
    return identifier


def test_every_stored_video_is_copied_whole_and_the_rest_says_why(shell: Shell, batch_id: str) -> None:
    ended = shell.call("batch", "download", batch_id, "--out", "all", "--json")
    assert ended.code == 5
    manifest, folder = ended.document, shell.folder / "all"
    assert json.loads((folder / f"{batch_id}.manifest.json").read_text()) == manifest
    files = shell.ask(lambda rushes: rushes.batch_files(batch_id))
    assert manifest["downloaded"] == files["stored"] > 0
    assert manifest["failed"] == 12 - files["stored"]
    names = {f"{batch_id}.manifest.json"}
    for line in manifest["files"]:
        if line["file"] is None:
            assert "moderation" in line["error"] or "the video is refused: " in line["error"], line
            continue
        n = line["index"]
        names.add(line["file"])
        assert line["file"] == f"{n:04d}-c_{n}-a-boat-take-{n}.mp4"
        content = (folder / line["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (line["bytes"], line["sha256"])
    assert {path.name for path in folder.iterdir()} == names
    again = shell.call("batch", "download", batch_id, "--out", "all", "--json").document
    assert (again["downloaded"], again["present"]) == (0, files["stored"])


def test_a_part_is_gone_on_with_and_a_part_of_something_else_begins_anew(shell: Shell, batch_id: str) -> None:
    whole = shell.call("batch", "download", batch_id, "--out", "whole", "--json").document
    first, second, third = [line["file"] for line in whole["files"] if line["file"]][:3]
    source, folder = shell.folder / "whole", shell.folder / "parts"
    folder.mkdir()
    (folder / f"{first}.part").write_bytes((source / first).read_bytes()[:1000])
    (folder / f"{second}.part").write_bytes(b"x" * 1000)
    (folder / f"{third}.part").write_bytes((source / third).read_bytes())
    manifest = shell.call("batch", "download", batch_id, "--out", "parts", "--json").document
    assert manifest["downloaded"] == whole["downloaded"]
    for name in (first, second, third):
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    assert not list(folder.glob("*.part"))


def test_nothing_is_written_over(shell: Shell, batch_id: str) -> None:
    whole = shell.call("batch", "download", batch_id, "--out", "mine", "--json").document
    name = next(line["file"] for line in whole["files"] if line["file"])
    (shell.folder / "mine" / name).write_bytes(b"my own")
    manifest = shell.call("batch", "download", batch_id, "--out", "mine", "--json").document
    (line,) = [line for line in manifest["files"] if line["error"] and "has this name" in line["error"]]
    assert line["file"] is None
    assert (shell.folder / "mine" / name).read_bytes() == b"my own"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../{index}.mp4", "leads out of the folder"),
        ("{model}.mp4", "items 0 and 1 would both be"),
        ("{nope}.mp4", "there is no {nope}"),
    ],
)
def test_names_that_escape_or_collide_are_refused_before_anything_is_written(
    shell: Shell, batch_id: str, name: str, said: str
) -> None:
    ended = shell.call("batch", "download", batch_id, "--out", "never", "--name", name)
    assert ended.code == 1
    assert said in ended.one_line_error()
    assert not (shell.folder / "never").exists()


def test_a_link_in_the_folder_leads_no_file_out_of_it(shell: Shell, batch_id: str, tmp_path: Path) -> None:
    (shell.folder / "linked").mkdir()
    (shell.folder / "linked" / "sub").symlink_to(tmp_path)
    ended = shell.call("batch", "download", batch_id, "--out", "linked", "--name", "sub/{index}.mp4")
    assert ended.code == 1
    assert "through a link" in ended.one_line_error()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_changed_in_the_archive_is_not_handed_out(shell: Shell, batch_id: str) -> None:
    objects = sorted((shell.folder / "rushes-data" / "archive").rglob("*.mp4"))
    changed, taken = objects[0], objects[1]
    before, moved = changed.read_bytes(), taken.read_bytes()
    try:
        changed.write_bytes(before[:-1] + b"!")
        taken.unlink()
        manifest = shell.call("batch", "download", batch_id, "--out", "changed", "--json").document
    finally:
        changed.write_bytes(before)
        taken.write_bytes(moved)
    errors = [line["error"] for line in manifest["files"] if line["error"]]
    assert sum("not the one that was stored" in error for error in errors) == 1
    assert sum("is not in the archive" in error for error in errors) == 1
    assert manifest["downloaded"] == len(objects) - 2


def test_an_out_that_is_no_folder_is_one_clear_line(shell: Shell, batch_id: str) -> None:
    shell.write("taken", "a file")
    ended = shell.call("batch", "download", batch_id, "--out", "taken")
    assert ended.code == 1
    assert "taken: cannot be a folder" in ended.one_line_error()


def test_without_an_archive_videos_come_from_their_provider_while_the_links_live(
    shell: Shell, simulator: SimulatorThread, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    bare = Shell(folder, {**QUICK, "GRSAI_HOST": simulator.base_url, "RUSHES_ARCHIVE_URL": "none"})
    bare.write("a.txt", "".join(f"a kite, take {n}\n" for n in range(8)))
    ran = bare.call("run", "a.txt", "--grant", "80", "--json").document
    assert not any(ran["files"].values())
    manifest = bare.call("batch", "download", ran["batch_id"], "--out", "out", "--json").document
    errors = [line["error"] for line in manifest["files"] if line["file"] is None]
    assert manifest["downloaded"] == 8 - len(errors) > 0
    assert all("moderation" in error or "must be an https URL" in error for error in errors), errors
