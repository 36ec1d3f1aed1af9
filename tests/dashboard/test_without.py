"""The service without its dashboard, for each reason."""

import signal
from pathlib import Path

import httpx2

from tests.cli.process import PROCESS_SECONDS_MAX, QUICK, Shell


def test_without_a_secret_the_service_runs_and_says_why(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {**QUICK, "RUSHES_DASHBOARD_SECRET": ""})
    running = shell.start("serve", "--port", "0", "--no-worker")
    try:
        running.wait_until(lambda text: "no dashboard" in text, "it serves")
        lines = running.stderr().splitlines()
        said = "rushes: no dashboard: RUSHES_DASHBOARD_SECRET is not set"
        assert lines.count(said) == 1, lines
        url = next(line.split()[3] for line in lines if line.startswith("rushes: serving on"))
        assert httpx2.get(f"{url}/healthz", trust_env=False).json() == {"ok": True}
        assert httpx2.get(f"{url}/dashboard/", trust_env=False).status_code == 404
        running.signal(signal.SIGTERM)
        assert running.end().code == 0
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate(timeout=PROCESS_SECONDS_MAX)


def test_a_short_secret_is_refused_without_being_shown(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {**QUICK, "RUSHES_DASHBOARD_SECRET": "short-word"})
    error = shell.run("serve", "--port", "0").one_line_error()
    assert "RUSHES_DASHBOARD_SECRET" in error
    assert "at least 12 characters" in error
    assert "short-word" not in error
