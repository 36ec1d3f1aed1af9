"""Commands that need no batch: sim, models, poll, migrate, doctor, worker; and the command line itself."""

import contextlib
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from rushes import __version__
from rushes.cli import main
from tests.cli.process import Shell
from tests.harness import SERVICE_THREAD
from tests.plugins import ACME, install_plugin

COMMANDS = (
    *("demo", "run", "worker", "tick", "batch", "poll", "credits", "audit", "sim", "models", "migrate"),
    "doctor",
    "backup",
)

POLL_COUNTS = ("scanned", "succeeded", "failed", "processing", "transient_errors")


def test_help_and_version_are_quick_and_need_nothing(shell: Shell) -> None:
    helped = shell.run("--help")
    assert helped.code == 0
    assert all(f" {command} " in helped.stdout for command in COMMANDS)
    assert shell.run("--version").stdout.strip() == __version__
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rushes", "--help"], capture_output=True, text=True
    ).stderr
    for heavy in ("sqlalchemy", "alembic", "pydantic", "pyreqwest", "structlog", "asyncio"):
        assert f" {heavy}\n" not in loaded, f"`rushes --help` imports {heavy}"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["frobnicate"], 'there is no command "frobnicate"; see `rushes --help`'),
        (["doctro"], 'there is no command "doctro" (did you mean "doctor"?); see `rushes --help`'),
        (["run"], "FILE"),
        (["run", "a.txt", "--format", "xml"], '"text", "csv"'),
        (["run", "a.txt", "--duration", "abc"], "whole number"),
        (["batch", "list", "--limit", "0"], ">= 1"),
        (["models", "--jsno"], "did you mean --json?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(shell: Shell, command: list[str], expected: str) -> None:
    ended = shell.call(*command)
    assert ended.code == 2
    assert expected in ended.one_line_error()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ["credits", "ledger", "--offset", "99999999999999999999"],
            "offset: must be 0 to 9223372036854775807",
        ),
        (["run", "a.txt", "--stop-loss", "nan:5", "--retries", "2"], "above 0 and at most 1, not nan"),
        (["serve", "--host", "999.1.1.1", "--no-worker"], "host: cannot listen on 999.1.1.1:"),
        (["sim", "--host", "999.1.1.1"], "host: cannot listen on 999.1.1.1:"),
        (["keys", "create", "--rate-limit-per-min", "-1"], "must be 0, for no limit, to 10000000"),
        (["keys", "create", "--rate-limit-per-min", "10000001"], "must be 0, for no limit, to 10000000"),
        (["keys", "list", "--account", "nobody"], 'there is no account "nobody"'),
    ],
)
def test_a_refused_value_is_named_for_what_it_is(shell: Shell, command: list[str], expected: str) -> None:
    shell.write("a.txt", "a boat\n")
    shell.grant(1)
    refused = shell.call(*command)
    assert refused.code == 1
    assert expected in refused.one_line_error()


def test_an_unexpected_error_is_one_line_with_a_hint_at_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise ExceptionGroup("several", [ValueError("first\nof several")])

    monkeypatch.delenv("RUSHES_DEBUG", raising=False)
    monkeypatch.setattr("rushes.cli.show.print_json", broken)
    monkeypatch.setattr("rushes.settings.Settings.load", broken)
    assert main(["models"]) == 1
    said = capsys.readouterr().err
    assert said == (
        "rushes: unexpected ValueError: first of several (set RUSHES_DEBUG=1 for the traceback)\n"
    )
    monkeypatch.setenv("RUSHES_DEBUG", "1")
    assert main(["models"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    shell.grant(5)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "rushes", "models"],
        cwd=shell.folder,
        env=shell.environment_with({}),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
    full = subprocess.run(
        [sys.executable, "-m", "rushes", "models", "--json"],
        cwd=shell.folder,
        env=shell.environment_with({}),
        stdout=os.open("/dev/full", os.O_WRONLY),
        stderr=subprocess.PIPE,
    )
    assert (full.returncode, full.stderr) == (1, b"rushes: No space left on device\n")


def test_the_simulator_serves_tells_how_to_use_it_and_ends_on_sigterm(shell: Shell) -> None:
    running = shell.start("sim", "--port", "0", "--seed", "5", "--set", "render_seconds=0", "--json")
    assert running.process.stdout is not None
    ready = json.loads(running.process.stdout.readline())
    base_url = ready["base_url"]
    said = running.stderr().splitlines()
    assert f"export GRSAI_HOST={base_url}" in said
    assert "export GRSAI_API_KEY=simulator" in said
    assert ready["exports"]["GRSAI_HOST"] == base_url
    with urllib.request.urlopen(f"{base_url}/_sim/knobs") as answer:
        knobs = json.load(answer)
    assert (knobs["seed"], knobs["render_seconds"]) == (5, 0)
    polled = shell.call("poll", "some-task", "--provider", "grsai", "--json", GRSAI_HOST=base_url)
    assert polled.code == 0
    assert polled.document == {
        "ok": True,
        "status": "failed",
        "error_message": "task some-task does not exist",
        "failure_type": "not_found",
    }
    running.signal(signal.SIGTERM)
    ended = running.end()
    assert ended.code == 0
    assert "simulator ended" in ended.stderr
    assert "rushes-data" not in shell.files(), "neither the simulator nor a poll needs a database"


def test_wrong_knobs_and_a_taken_port_are_one_line(shell: Shell) -> None:
    wrong = shell.call("sim", "--port", "0", "--set", "output_moderatio=0.1")
    assert wrong.code == 1
    assert "did you mean output_moderation" in wrong.one_line_error()
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = shell.call("sim", "--port", str(port))
    assert refused.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in refused.one_line_error()


def test_models_show_price_options_and_sunset(shell: Shell) -> None:
    overrides = '{"veo-pro": {"credits": 70, "sunset_at": "2020-01-01"}}'
    models = {
        m["name"]: m for m in shell.call("models", "--json", RUSHES_MODELS=overrides).document["models"]
    }
    assert {"sora-2", "veo-flash", "veo-pro", "minimax-h3"} <= set(models)
    assert models["sora-2"]["takes_new_tasks"] is True
    assert models["sora-2"]["options"]["duration"] == "10 or 15"
    retired = models["veo-pro"]
    assert (retired["credits"], retired["takes_new_tasks"]) == (70, False)
    assert retired["sunset_at"].startswith("2020-01-01")


def test_the_doctor_finds_the_misspelt_the_masked_and_the_missing(shell: Shell) -> None:
    ended = shell.call("doctor", "--json", RUSHES_LEESE_SECONDS="5", RUSHES_WORKER_SECRET="do-not-show-this")
    assert ended.code == 0
    report = ended.document
    assert report["ok"] is True
    assert any(
        "RUSHES_LEESE_SECONDS is no setting; did you mean RUSHES_LEASE_SECONDS?" in w
        for w in report["warnings"]
    )
    assert "do-not-show-this" not in ended.stdout + ended.stderr
    assert "test-key" not in ended.stdout + ended.stderr
    usable = {provider["name"]: provider["has_key"] for provider in report["providers"]}
    assert usable["grsai"] is usable["grsai-unified"] is True
    assert report["database"]["reachable"] is False
    assert shell.files() == set(), "a doctor that finds no database makes none"
    old_sqlite = sqlite3.sqlite_version_info < (3, 51, 3)
    assert any("before 3.51.3" in warning for warning in report["warnings"]) == old_sqlite
    broken = shell.call("doctor", RUSHES_DATABASE_URL="postgresql://x:s3cr3t-word@127.0.0.1:1/rushes")
    assert broken.code == 1
    assert "broken: the database cannot be reached" in broken.stdout
    assert "s3cr3t-word" not in broken.stdout + broken.stderr


@pytest.mark.parametrize("place", ["taken/deep/er", "/proc/rushes"])
def test_the_doctor_finds_folders_that_cannot_be_made(shell: Shell, place: str) -> None:
    shell.write("taken", "a file")
    archive = shell.call("doctor", RUSHES_ARCHIVE_URL=place)
    assert archive.code == 1
    assert f"broken: the archive {place} cannot be made: " in archive.stdout
    data = shell.call("doctor", RUSHES_DATA_DIR=place)
    assert data.code == 1
    assert f"broken: the database {place}/rushes.db cannot be made: " in data.stdout
    assert shell.files() == {"taken"}


def test_the_doctor_is_content_with_folders_that_can_be_made(shell: Shell) -> None:
    told = shell.call("doctor", "--json", RUSHES_DATA_DIR="some/where", RUSHES_ARCHIVE_URL="else/where")
    assert (told.code, told.document["problems"]) == (0, [])
    assert shell.files() == set()


def test_a_database_of_another_version_is_left_alone_until_it_is_migrated(shell: Shell) -> None:
    first = shell.call("migrate", "--json").document
    assert (first["before"], first["changed"]) == (None, True)
    assert shell.call("migrate", "--json").document["changed"] is False
    path = shell.folder / "rushes-data" / "rushes.db"
    _set_revision(path, "0008")
    for command in (["credits", "grant", "5"], ["batch", "list"], ["worker", "--until-idle"]):
        ended = shell.call(*command)
        assert ended.code == 1
        assert "run `rushes migrate`" in ended.one_line_error()
    assert "broken: the database is at revision 0008" in shell.call("doctor").stdout


def test_a_database_of_a_newer_version_asks_for_that_version(shell: Shell) -> None:
    shell.call("migrate")
    _set_revision(shell.folder / "rushes-data" / "rushes.db", "9999")
    for command in (["credits", "grant", "5"], ["migrate"], ["migrate", "--json"]):
        ended = shell.call(*command)
        assert ended.code == 1
        assert re.search(
            "is at revision 9999, .* a newer rushes made it; install that version, or restore the backup",
            ended.one_line_error(),
        )
    told = shell.call("doctor").stdout
    assert "broken: the database is at revision 9999" in told
    assert "rushes migrate" not in told


def _set_revision(path: Path, revision: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.commit()
    connection.close()


def test_a_worker_and_a_tick_without_work_end_well(shell: Shell) -> None:
    tick = shell.call("tick", "--json").document
    assert set(tick) == {"ok", "dispatch", "poll", "settle", "archive", "duration_ms"}
    assert tick["poll"] == dict.fromkeys(
        ("scanned", "succeeded", "failed", "processing", "transient_errors"), 0
    )
    running = shell.start("worker")
    running.wait_until(lambda said: "worker.started" in said, "the worker's first line")
    running.signal(signal.SIGTERM)
    ended = running.end()
    assert ended.code == 0
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines() if line.startswith("{")] == [
        *("worker.started", "worker.stopped"),
    ]
    without_key = shell.call("worker", GRSAI_API_KEY="")
    assert without_key.code == 1
    assert "GRSAI_API_KEY is not set" in without_key.one_line_error()


def test_a_plug_in_is_shown_with_what_it_lacks(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin(tmp_path, monkeypatch, "acme", ACME)
    report = shell.call("doctor", "--json", RUSHES_PROVIDER_OTHER_KEY="do-not-show-this").document
    acme = next(provider for provider in report["providers"] if provider["name"] == "acme")
    assert (acme["has_key"], acme["missing"]) == (False, "RUSHES_PROVIDER_ACME_KEY")
    assert "RUSHES_PROVIDER_OTHER_KEY: no such provider is installed" in report["warnings"]
    shown = shell.call("doctor", RUSHES_PROVIDER_OTHER_KEY="do-not-show-this").stdout
    assert "no: RUSHES_PROVIDER_ACME_KEY is not set" in shown
    assert "do-not-show-this" not in shown
    models = {m["name"]: m for m in shell.call("models", "--json").document["models"]}
    assert models["acme-1"]["unavailable"] == "RUSHES_PROVIDER_ACME_KEY is not set"
    assert models["sora-2"]["unavailable"] is None
    shell.write("prompts.txt", "a fox\n")
    refused = shell.call("run", "prompts.txt", "--model", "acme-1")
    assert refused.code == 1
    assert '"acme-1" is unavailable: RUSHES_PROVIDER_ACME_KEY is not set' in refused.one_line_error()


def test_what_a_service_of_another_test_logs_is_not_a_commands_own(shell: Shell) -> None:
    done = threading.Event()

    def log() -> None:
        while not done.is_set():
            sys.stderr.write("a service's warning\n")
            time.sleep(0.001)

    other = threading.Thread(target=log, name=SERVICE_THREAD)
    with contextlib.redirect_stderr(io.StringIO()):  # of the tests' own terminal, not of the command
        other.start()
        try:
            ended = shell.call("batch", "show", "none")
        finally:
            done.set()
            other.join()
    assert "a service's warning" not in ended.stderr
    assert ended.one_line_error()
