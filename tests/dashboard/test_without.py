"""The service without its dashboard, for each reason."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.cli.process import PROCESS_SECONDS_MAX, QUICK, Running, Shell

SECRET = "operator-secret-canary-77aa"
WITHOUT_NICEGUI = (
    "import sys; sys.modules['nicegui'] = None; from rushes.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "rushes: no dashboard: RUSHES_DASHBOARD_SECRET is not set"),
        (SECRET, "rushes: no dashboard: NiceGUI is missing; pip install 'rushes[dashboard]'"),
    ],
)
def test_without_a_secret_or_nicegui_the_service_runs_and_says_why(
    tmp_path: Path, secret: str, said: str
) -> None:
    shell = Shell(tmp_path, {**QUICK, "RUSHES_DASHBOARD_SECRET": secret})
    log = tmp_path / "stderr.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", WITHOUT_NICEGUI, "serve", "--port", "0", "--no-worker"],
            cwd=tmp_path,
            env=shell.environment_with({"PYTHONPATH": os.pathsep.join(sys.path)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    running = Running(process, log)
    try:
        running.wait_until(lambda text: "no dashboard" in text, "it serves")
        lines = running.stderr().splitlines()
        assert lines.count(said) == 1, lines
        url = next(line.split()[3] for line in lines if line.startswith("rushes: serving on"))
        assert httpx2.get(f"{url}/healthz", trust_env=False).json() == {"ok": True}
        assert httpx2.get(f"{url}/dashboard/", trust_env=False).status_code == 404
        running.signal(signal.SIGTERM)
        assert running.end().code == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=PROCESS_SECONDS_MAX)


def test_a_short_secret_is_refused_without_being_shown(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {**QUICK, "RUSHES_DASHBOARD_SECRET": "short-word"})
    error = shell.run("serve", "--port", "0").one_line_error()
    assert "RUSHES_DASHBOARD_SECRET" in error
    assert "at least 12 characters" in error
    assert "short-word" not in error
