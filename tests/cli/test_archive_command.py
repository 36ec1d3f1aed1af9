"""`rushes archive`: status, verify and prune over a finished batch's files."""

import pytest

from rushes.simulator import SimulatorKnobs, running_simulator
from tests.cli.process import QUICK, Shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder whose archive has some files, while others were refused."""
    with running_simulator(SimulatorKnobs(render_seconds=0.1, file_redirect=0.5, seed=5)) as simulator:
        shell = Shell(tmp_path_factory.mktemp("archive"), {**QUICK, "GRSAI_HOST": simulator.base_url})
        shell.write("a.txt", "".join(f"prompt {n}\n" for n in range(10)))
        assert shell.call("run", "a.txt", "--grant", "100").code == 5
    return shell


def test_status_verify_and_prune_tell_the_same_story(shell: Shell) -> None:
    status = shell.call("archive", "status", "--json").document
    stored, refused = status["files"]["stored"], status["files"]["refused"]
    assert (stored + refused, status["at_risk"]) == (10, 0)
    assert [(reason["state"], reason["count"]) for reason in status["reasons"]] == [("refused", refused)]
    people = shell.call("archive", "status").stdout
    assert "rushes-data/archive" in people
    assert "must be an https URL" in people

    verified = shell.call("archive", "verify", "--json")
    assert verified.code == 0
    assert verified.document["checked"] == stored
    assert verified.document["bytes"] == status["stored_bytes"] > 0
    broken = next((shell.folder / "rushes-data" / "archive").rglob("*.mp4"))
    content = broken.read_bytes()
    broken.write_bytes(b"")
    found = shell.call("archive", "verify")
    assert found.code == 1
    assert f"{broken.name}: it has 0 bytes" in found.stdout
    broken.write_bytes(content)

    would = shell.call("archive", "prune", "--older-than", "0s", "--dry-run", "--json").document
    assert (would["files"], would["bytes"]) == (stored, status["stored_bytes"])
    kept = shell.call("archive", "prune", "--json", RUSHES_ARCHIVE_KEEP_DAYS="30").document
    assert kept["files"] == 0
    assert shell.call("archive", "prune", "--older-than", "0s").stdout.startswith(f"{stored} videos removed")
    assert not list((shell.folder / "rushes-data" / "archive").rglob("*.*"))
    assert shell.call("archive", "status", "--json").document["files"]["removed"] == stored
    (batch,) = shell.ask(lambda rushes: rushes.list_batches())
    ended = shell.call("batch", "download", batch["batch_id"], "--out", "out", "--json").document
    assert sum("retention is over" in (line["error"] or "") for line in ended["files"]) == stored
    shell.assert_books_are_right()


@pytest.mark.parametrize(
    ("command", "environment", "said"),
    [
        (["archive", "prune"], {}, "nothing says how long videos are kept"),
        (["archive", "prune", "--older-than", "soon"], {}, "must be a span such as 30d"),
        (["archive", "prune", "--older-than", "1d", "--account", "nobody"], {}, "nobody"),
        (["archive", "verify"], {"RUSHES_ARCHIVE_URL": "none"}, "no videos are kept here"),
        (["archive", "status"], {"RUSHES_ARCHIVE_KEEP_DAYS": "-1"}, "RUSHES_ARCHIVE_KEEP_DAYS: "),
        (["archive", "status"], {"RUSHES_ARCHIVE_KEEP_DAYS_BY_ACCOUNT": "[1]"}, "KEEP_DAYS_BY_ACCOUNT: "),
        (
            ["archive", "status"],
            {"RUSHES_ARCHIVE_KEEP_DAYS_BY_ACCOUNT": '{"a": "x"}'},
            "KEEP_DAYS_BY_ACCOUNT: ",
        ),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(
    shell: Shell, command: list[str], environment: dict[str, str], said: str
) -> None:
    ended = Shell(shell.folder, {**shell.environment, **environment}).call(*command)
    assert ended.code in (1, 2)
    assert said in ended.one_line_error()
