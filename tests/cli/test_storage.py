"""Files of an installation: private, copied while in use, read where nothing can be written, damaged."""

import errno
import hashlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from rushes.cli import main
from rushes.library import Rushes
from rushes.settings import Settings
from tests.cli.process import Shell


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def database(shell: Shell) -> Path:
    """The file of a database with an account and credits."""
    shell.grant(50)
    return shell.folder / "rushes-data" / "rushes.db"


# --- who can read them ------------------------------------------------------------------------------------


def test_a_new_database_and_its_folders_are_their_owners_alone(shell: Shell) -> None:
    mask = os.umask(0o022)
    try:
        shell.grant(1)
        assert shell.call("doctor").code == 0
        assert shell.call("audit", "key").code == 0
    finally:
        os.umask(mask)
    data = shell.folder / "rushes-data"
    assert _mode(data) == 0o700
    assert _mode(data / "rushes.db") == _mode(data / "signing-key.pem") == 0o600


def test_journals_beside_the_database_are_private_too(shell: Shell, database: Path) -> None:
    settings = Settings.load({"RUSHES_DATA_DIR": str(database.parent)}, env_file=None)
    rushes = Rushes(settings)
    try:
        rushes.migrate()
        beside = [path for path in database.parent.iterdir() if path.name.startswith("rushes.db")]
        assert {_mode(path) for path in beside} == {0o600}
        assert database.with_name("rushes.db-wal") in beside
    finally:
        rushes.close()


def test_doctor_names_files_that_others_can_read(shell: Shell, database: Path) -> None:
    database.chmod(0o644)
    assert "may read" not in shell.call("doctor").stdout, "nobody else comes into its folder"
    database.parent.chmod(0o755)
    (database.parent / "archive").mkdir(mode=0o755)
    told = shell.call("doctor").stdout
    assert "may read rushes-data/rushes.db (mode 0644); run `chmod 600 rushes-data/rushes.db`" in told
    assert "may read rushes-data/archive (mode 0755); run `chmod 700 rushes-data/archive`" in told
    database.chmod(0o600)
    (database.parent / "archive").chmod(0o700)
    assert "may read" not in shell.call("doctor").stdout


# --- a copy -----------------------------------------------------------------------------------------------


def test_a_backup_is_checked_private_and_described(shell: Shell, database: Path) -> None:
    document = shell.call("backup", "copies/monday", "--json").document
    copy = shell.folder / "copies" / "monday" / "rushes.db"
    assert (_mode(copy), _mode(copy.parent)) == (0o600, 0o700)
    assert {path.name for path in copy.parent.iterdir()} == {"rushes.db", "backup.json"}
    written = json.loads((copy.parent / "backup.json").read_text())
    assert document == {"folder": "copies/monday", **written}
    assert (written["database"], written["bytes"]) == ("sqlite", copy.stat().st_size)
    assert written["sha256"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    shutil.copy(copy, database)
    assert shell.available() == 50


def test_a_backup_never_replaces_another(shell: Shell, database: Path) -> None:
    assert shell.call("backup", "copy").code == 0
    before = (shell.folder / "copy" / "rushes.db").read_bytes()
    shell.grant(5)
    refused = shell.call("backup", "copy").one_line_error()
    assert refused == "rushes: copy/rushes.db: there is a backup already; name a new folder"
    assert (shell.folder / "copy" / "rushes.db").read_bytes() == before


def test_a_backup_of_a_damaged_database_is_refused(shell: Shell, database: Path) -> None:
    _spoil(database)
    assert "the database file is damaged" in shell.call("backup", "copy").one_line_error()
    assert list((shell.folder / "copy").iterdir()) == []


def test_a_backup_of_postgresql_needs_its_programs(
    shell: Shell, new_database_url: "object", request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("new_database_url")("postgresql")
    refused = shell.call("backup", "copy", RUSHES_DATABASE_URL=url, PATH="/nowhere")
    assert "pg_dump is not on the PATH" in refused.one_line_error()
    assert list((shell.folder / "copy").iterdir()) == []


# --- where nothing can be written -------------------------------------------------------------------------


@pytest.fixture
def read_only_disk(shell: Shell, database: Path) -> Iterator[Path]:
    """The database on a file system that takes no writes; only root can make one."""
    disk = shell.folder / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or _run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)) != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        shutil.copy(database, disk)
        assert _run("mount", "-o", "remount,ro", str(disk)) == 0
        yield disk
    finally:
        _run("umount", str(disk))


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True).returncode


def test_an_audit_reads_a_copy_on_a_read_only_disk(shell: Shell, read_only_disk: Path) -> None:
    assert "wal" in _journal_mode(read_only_disk / "rushes.db")
    audited = shell.run("audit", "--json", RUSHES_DATABASE_URL=f"sqlite:///{read_only_disk}/rushes.db")
    assert (audited.code, audited.document["accounts"]) == (0, 1), audited.stderr
    checked = shell.run("doctor", RUSHES_DATABASE_URL=f"sqlite:///{read_only_disk}/rushes.db")
    assert checked.code == 0, checked.stdout


def _journal_mode(path: Path) -> str:
    """As the file's header has it: 2 is WAL."""
    return {1: "delete", 2: "wal"}[path.read_bytes()[18]]


def test_an_audit_leaves_a_copy_and_its_folder_as_they_are(shell: Shell, database: Path) -> None:
    assert shell.call("backup", "copy").code == 0
    copy = shell.folder / "copy" / "rushes.db"
    before = (sorted(copy.parent.iterdir()), copy.read_bytes(), copy.stat().st_mtime_ns)
    audited = shell.call("audit", RUSHES_DATABASE_URL=f"sqlite:///{copy}")
    assert audited.code == 0, audited.stderr
    assert (sorted(copy.parent.iterdir()), copy.read_bytes(), copy.stat().st_mtime_ns) == before


# --- damage -----------------------------------------------------------------------------------------------


def _spoil(database: Path) -> None:
    """Overwrites the pages of one table's tree, as a failing disk would."""
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ledger_entries'"
        ).fetchone()
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_damage_is_called_by_its_name_with_what_to_do(shell: Shell, database: Path) -> None:
    _spoil(database)
    checked = shell.call("doctor")
    assert checked.code == 1
    assert "broken: the database file is damaged (" in checked.stdout
    audited = shell.call("audit", "--json")
    assert audited.code == 1
    assert {violation["code"] for violation in audited.document["violations"]} >= {"DATABASE_DAMAGED"}
    refused = shell.call("credits", "ledger").one_line_error()
    assert "the database file is damaged" in refused
    assert "restore a backup" in refused
    assert "cannot be reached" not in refused


def test_a_file_that_is_no_database_and_text_that_is_no_text_are_damage_too(
    shell: Shell, database: Path
) -> None:
    connection = sqlite3.connect(database)
    connection.execute("UPDATE accounts SET name = CAST(x'ff41' AS text)")
    connection.commit()
    connection.close()
    assert "the database file is damaged" in shell.call("batch", "list", "--account", "x").stderr + (
        shell.call("audit").stderr
    )
    database.write_bytes(b"this is a letter\n" * 500)
    for beside in database.parent.glob("rushes.db-*"):
        beside.unlink()
    for command in (("audit",), ("credits", "balance"), ("backup", "copy")):
        assert "the database file is damaged" in shell.call(*command).one_line_error()


def test_a_check_that_takes_too_long_is_left_to_the_audit(
    shell: Shell, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rushes.cli.commands.operate.INTEGRITY_SECONDS_MAX", -1.0)
    monkeypatch.setattr("rushes.store.connections.integrity.INSTRUCTIONS_BETWEEN_LOOKS", 1)
    checked = shell.call("doctor")
    assert checked.code == 0
    assert "was not checked to its end" in checked.stdout


# --- too little memory ------------------------------------------------------------------------------------


def test_too_little_memory_is_named_in_one_line(shell: Shell, database: Path) -> None:
    """At some limits the interpreter itself gives up; at none is it an error that nobody expected."""
    named = 0
    for megabytes in (45, 60, 75, 100, 120):
        limit = megabytes * 1000 * 1024
        confine = partial(resource.setrlimit, resource.RLIMIT_AS, (limit, limit))
        ended = shell.run("credits", "balance", preexec=confine)
        assert "unexpected" not in ended.stderr, megabytes
        if "gives this process no more memory or threads; raise its limits" in ended.stderr:
            assert ended.code == 1
            assert ended.one_line_error()
            named += 1
    assert named >= 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("x.so: failed to map segment from shared object"),
        ExceptionGroup("several", [MemoryError()]),
    ],
)
def test_every_form_of_too_little_memory_is_recognised(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_arguments: object) -> int:
        raise error

    monkeypatch.setattr("rushes.cli._run", broken)
    assert main(["doctor"]) == 1
    assert "no more memory or threads" in capfd.readouterr().err
