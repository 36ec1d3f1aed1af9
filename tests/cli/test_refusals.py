"""Bad input, a bad database, a bad service: one clear line, the right exit code, nothing half-written."""

import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("a.txt", "", "a.txt: no items"),
    "blank lines": ("a.txt", "\n \n\t\r\n", "a.txt: no items: there is no prompt in it"),
    "nothing but a byte order mark": ("a.txt", b"\xef\xbb\xbf", "a.txt: no items"),
    "a line of 1 MB": ("a.txt", "x" * 1_000_000, "a.txt:1: a line of 1000000 bytes"),
    "not UTF-8": ("a.txt", b"good\n\xff\xfe bad", "a.txt:2: not UTF-8"),
    "an unknown column": ("a.csv", "prompt,modle\nx,sora-2\n", 'a.csv:1: modle: unknown column "modle"'),
    "a missing prompt": ("a.csv", "prompt,model\nboat,sora-2\n,sora-2\n", "a.csv:3: prompt: blank"),
    "no prompt in an object": ("a.jsonl", '{"model": "sora-2"}\n', "a.jsonl:1: prompt: missing"),
    "a duration of abc": (
        "a.csv",
        "prompt,duration\nboat,abc\n",
        "a.csv:2: duration: must be a whole number",
    ),
    "a duration in text": ("a.jsonl", '{"prompt": "x", "duration": "10"}', "a.jsonl:1: duration: must be 10"),
    "broken JSON": ("a.jsonl", '{"prompt": "x"}\n{"prompt":', "a.jsonl:2: not JSON"),
    "an unknown suffix": ("a.docx", "x", "a.docx: cannot tell the format"),
    "an unknown model": (
        "a.csv",
        "prompt,model\nboat,sora2\n",
        'a.csv:2: model: unknown model "sora2"; did you mean "sora-2"?',
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_line_and_field_and_nothing_is_written(shell: Shell, case: str) -> None:
    name, content, expected = BAD_FILES[case]
    shell.write(name, content)
    ended = shell.call("run", name, "--grant", "1000000")
    assert ended.code == 1
    assert expected in ended.one_line_error()
    assert shell.files() == {name}


def test_a_path_that_cannot_be_read_is_named(shell: Shell) -> None:
    (shell.folder / "folder.txt").mkdir()
    assert "folder.txt: cannot be read: Is a directory" in shell.call("run", "folder.txt").one_line_error()
    missing = shell.call("run", "nothing.txt", "--json")
    assert missing.code == 1
    assert missing.one_line_error() == "rushes: nothing.txt: cannot be read: No such file or directory"
    assert shell.files() == {"folder.txt"}


def test_a_name_with_a_newline_and_an_escape_still_gives_one_printable_line(shell: Shell) -> None:
    error = shell.call("run", "a\nb\x1b[31m.txt").one_line_error()
    assert "a b\ufffd[31m.txt" in error


def test_a_retired_model_is_refused_before_anything_is_written(shell: Shell) -> None:
    shell.write("a.txt", "a boat\n")
    retired = '{"sora-2": {"sunset_at": "2020-01-01"}}'
    ended = shell.call("run", "a.txt", "--grant", "10", RUSHES_MODELS=retired)
    assert ended.code == 1
    assert '"sora-2" was retired on 2020-01-01' in ended.one_line_error()
    assert shell.files() == {"a.txt"}


@pytest.mark.parametrize(
    ("amount", "code", "expected"),
    [
        ("-5", 1, "a grant is 1 to 1000000000000000 credits, not -5"),
        ("0", 1, "a grant is 1 to 1000000000000000 credits, not 0"),
        ("9" * 25, 1, "a grant is 1 to 1000000000000000 credits"),
        ("1.5", 2, 'must be a whole number, not "1.5"'),
        ("many", 2, 'must be a whole number, not "many"'),
    ],
)
def test_only_a_whole_positive_amount_can_be_granted(
    shell: Shell, amount: str, code: int, expected: str
) -> None:
    shell.write("a.txt", "a boat\n")
    granted = shell.call("credits", "grant", amount)
    for ended in (granted, shell.call("run", "a.txt", "--grant", amount)):
        assert ended.code == code
        assert expected in ended.one_line_error()
    assert shell.files() == {"a.txt"}


def test_without_enough_credits_nothing_is_written_and_the_missing_ones_are_told(shell: Shell) -> None:
    shell.write("a.txt", "a boat\na bird\n")
    ended = shell.call("run", "a.txt", "--grant", "5", "--account", "acme")
    assert ended.code == 1
    assert ended.one_line_error() == (
        "rushes: 20 credits are required, 5 are available: 15 are missing;"
        " grant them with `rushes credits grant 20 --account acme` or `--grant 20`"
    )
    assert shell.files() == {"a.txt"}
    shell.grant(7)
    refused = shell.call("run", "a.txt", "--grant", "5")  # now with a database
    assert "20 credits are required, 12 are available: 8 are missing" in refused.one_line_error()
    assert "--grant 13`" in refused.stderr
    assert shell.available() == 7, "the grant went the way of the batch"
    assert shell.ask(lambda rushes: rushes.list_batches()) == []


def test_without_a_key_nothing_is_written(shell: Shell) -> None:
    shell.write("a.txt", "a boat\n")
    ended = shell.call("run", "a.txt", "--grant", "10", GRSAI_API_KEY="")
    assert ended.code == 1
    assert "GRSAI_API_KEY is not set" in ended.one_line_error()
    assert shell.files() == {"a.txt"}


def test_looking_from_the_wrong_folder_leaves_no_database_there(shell: Shell) -> None:
    for command in (["batch", "list"], ["credits", "balance"], ["audit"]):
        ended = shell.call(*command)
        assert ended.code == 1
        assert "there is no database at rushes-data/rushes.db yet" in ended.one_line_error()
    assert shell.files() == set()


def test_a_setting_that_cannot_work_is_named(shell: Shell) -> None:
    ended = shell.call("credits", "grant", "5", RUSHES_LEASE_SECONDS="soon")
    assert ended.code == 1
    assert "RUSHES_LEASE_SECONDS" in ended.one_line_error()


# --- the database -----------------------------------------------------------------------------------------


def test_a_locked_database_is_one_line_and_changes_nothing(shell: Shell) -> None:
    shell.grant(10)
    shell.write("a.txt", "a boat\n")
    lock = sqlite3.connect(shell.folder / "rushes-data" / "rushes.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        for command in (["credits", "grant", "5"], ["run", "a.txt"]):
            ended = shell.call(*command, RUSHES_SQLITE_BUSY_TIMEOUT_SECONDS="0.3")
            assert ended.code == 1
            assert "locked by another process" in ended.one_line_error()
    finally:
        lock.close()
    assert shell.available() == 10
    assert shell.ask(lambda rushes: rushes.list_batches()) == []


def test_a_file_that_is_no_database_is_one_line(shell: Shell) -> None:
    (shell.folder / "rushes-data").mkdir()
    shell.write("rushes-data/rushes.db", "this is a letter, not a database. " * 100)
    for command in (["credits", "grant", "5"], ["batch", "list"]):
        ended = shell.call(*command)
        assert ended.code == 1
        assert "the database file is damaged (file is not a database)" in ended.one_line_error()


def test_a_database_folder_that_cannot_be_made_is_one_line(shell: Shell) -> None:
    shell.write("rushes-data", "a file where the folder should be")
    ended = shell.call("credits", "grant", "5")
    assert ended.code == 1
    assert "rushes-data" in ended.one_line_error()


def test_a_postgresql_that_is_not_there_is_one_line_without_its_password(shell: Shell) -> None:
    url = "postgresql://someone:s3cr3t-word@127.0.0.1:1/rushes"
    ended = shell.call("credits", "grant", "5", RUSHES_DATABASE_URL=url)
    assert ended.code == 1
    assert "cannot be reached" in ended.one_line_error()
    assert "s3cr3t-word" not in ended.stderr


def test_a_file_that_may_not_grow_is_one_line_and_the_old_state_stays(shell: Shell) -> None:
    shell.grant(100000)
    shell.write("a.txt", "".join(f"prompt {n} {'x' * 300}\n" for n in range(3000)))

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, 256 * 1024))

    ended = shell.run("run", "a.txt", preexec=small_files)
    assert ended.code == 1
    assert "the database" in ended.one_line_error()
    assert shell.available() == 100_000
    shell.assert_books_are_right()


@pytest.fixture
def small_disk(shell: Shell) -> Iterator[Path]:
    """A file system of 2 MB under the shell's data folder; only root can make one."""
    data = shell.folder / "rushes-data"
    data.mkdir()
    if os.geteuid() != 0 or _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(data)) != 0:
        pytest.skip("needs the right to mount a file system")
    yield data
    subprocess.run(["umount", str(data)], check=True)


def _mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode


def test_a_full_disk_is_one_line_and_the_old_state_stays(shell: Shell, small_disk: Path) -> None:
    shell.grant(100000)
    shell.write("a.txt", "".join(f"prompt {n} {'x' * 300}\n" for n in range(9000)))
    ended = shell.run("run", "a.txt")
    assert ended.code == 1
    assert "no space is left for the database" in ended.one_line_error()
    assert shell.available() == 100_000
    shell.assert_books_are_right()


def test_a_read_only_database_is_one_line(shell: Shell, small_disk: Path) -> None:
    shell.grant(10)
    assert _mount("-o", "remount,ro", str(small_disk)) == 0
    ended = shell.run("credits", "grant", "5")
    assert ended.code == 1
    assert "the database" in ended.one_line_error()


# --- the service ------------------------------------------------------------------------------------------


def test_a_wrong_key_ends_the_run_with_4_and_keeps_every_task_pending(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator(api_key="the-right-key"))
    shell.write("a.csv", "prompt,model\n" + "boat,sora-2\n" * 10 + "bird,minimax-h3\n")
    ended = shell.run("run", "a.csv", "--grant", "120", "--json")
    assert ended.code == 4
    assert ended.document["status"] in ("pending", "processing")
    assert (ended.document["succeeded"], ended.document["failed"]) == (0, 0)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("rushes: grsai: the key was refused (HTTP 401")
    assert "`rushes worker` works on" in ended.stderr
    assert "test-key" not in ended.stderr
    batch = shell.ask(lambda rushes: rushes.batch(ended.document["batch_id"]))
    assert (batch["pending_count"], batch["processing_count"]) == (11, 0)
    assert shell.call("poll", "some-task", "--json").code == 4
    resumed = shell.call("worker", "--until-idle", "--json", GRSAI_API_KEY="the-right-key")
    assert resumed.document["settled_tasks"] == 11


def test_an_unreachable_host_is_said_and_the_tasks_stay(shell: Shell) -> None:
    shell.write("a.txt", "a boat\na bird\n")
    running = shell.start("run", "a.txt", "--grant", "20", "--json")
    running.wait_until(lambda said: "grsai: Connection refused" in said, "the trouble's line")
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert "nothing is lost: 2 of 2 tasks are open" in ended.stderr
    assert "Traceback" not in ended.stderr
    batch = shell.ask(lambda rushes: rushes.batch(ended.document["batch_id"]))
    assert (batch["pending_count"], batch["processing_count"]) == (2, 0)
    shell.assert_books_are_right()
    polled = shell.call("poll", "some-task", "--json")
    assert polled.code == 1
    assert polled.document["ok"] is False


@pytest.mark.parametrize("request_id", ["", "x" * 129, "two\nlines"])
def test_a_request_id_that_names_nothing_is_refused_before_anything_is_written(
    shell: Shell, request_id: str
) -> None:
    shell.write("a.txt", "a boat\n")
    error = shell.run("run", "a.txt", "--grant", "10", "--request-id", request_id).one_line_error()
    assert error == "rushes: request_id: must be 1 to 128 printable characters"
    assert shell.files() == {"a.txt"}
