"""The worked examples of providers, really installed: their own tests pass, and they make videos."""

import ast
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rushes import plugin
from tests.cli.process import Shell
from tests.harness import QUICK

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "acme"
FACADES = {"rushes.plugin", "rushes.testing"}
KEY = "acme-canary-11"


class Acme(BaseHTTPRequestHandler):
    """The service that the example speaks to; a prompt's last word decides its end."""

    jobs: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["authorization"] != f"Bearer {KEY}":
            return self.answer(401, {"reason": "no"})
        self.jobs.append(body)
        return self.answer(200, {"job": f"j-{len(self.jobs)}"})

    def do_GET(self) -> None:
        name = self.path.removeprefix("/jobs/")
        job = self.jobs[int(name.removeprefix("j-")) - 1]
        if job["text"].endswith("weapon"):
            return self.answer(200, {"job": name, "state": "forbidden", "reason": "no weapons"})
        video = {"href": f"https://videos.acme.example/{name}.mp4"}
        return self.answer(200, {"job": name, "state": "done", "video": video})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def acme_service() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    jobs: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Acme,), {"jobs": jobs}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", jobs
    finally:
        server.shutdown()
        server.server_close()


def test_the_example_is_installed_and_makes_videos(tmp_path: Path) -> None:
    place, folder = tmp_path / "installed", tmp_path / "work"
    folder.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--no-index", "--disable-pip-version-check", "--target", str(place), str(_copied(tmp_path))),
        ],
        check=True,
    )
    with acme_service() as (url, jobs):
        variables = {
            **{name: value for name, value in QUICK.items() if name != "GRSAI_API_KEY"},
            "PYTHONPATH": str(place),
            "RUSHES_PROVIDER_ACME_KEY": KEY,
            "RUSHES_PROVIDER_ACME_HOST": url,
            "RUSHES_ARCHIVE_URL": "none",
        }
        shell = Shell(folder, variables)
        shell.write("prompts.txt", "a fox\na weapon\na boat\n")
        ended = shell.run(
            "run", "prompts.txt", "--model", "acme-1", "--duration", "5", "--grant", "36", "--json"
        )
    assert ended.code == 5, ended.stderr
    assert (ended.document["succeeded"], ended.document["failed"]) == (2, 1)
    assert sorted(job["text"] for job in jobs) == ["a boat", "a fox", "a weapon"]
    assert all(job["model"] == "acme-1" and job["seconds"] == 5 for job in jobs)
    assert "acme" in shell.run("models").stdout
    balance = shell.run("credits", "balance", "--json").document
    assert balance["available"] == 12, "the moderated one was given back"


def _copied(tmp_path: Path) -> Path:
    """A copy of the example: installing writes into the folder that is installed from."""
    copy = tmp_path / "acme"
    copy.mkdir()
    for name in ("pyproject.toml", "rushes_acme.py"):
        (copy / name).write_bytes((EXAMPLE / name).read_bytes())
    return copy


def test_the_provider_of_the_docs_keeps_the_contract(tmp_path: Path) -> None:
    blocks = re.findall(
        r"```python\n# (\w+\.py)\n(.*?)```", (ROOT / "docs" / "providers.md").read_text(), re.S
    )
    assert [name for name, _ in blocks] == ["rushes_lumen.py", "test_rushes_lumen.py"]
    for name, text in blocks:
        assert rushes_modules(text) <= FACADES
        (tmp_path / name).write_text(text)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rushes_lumen.py")
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert re.search(r"\b1[0-9] passed", ended.stdout), ended.stdout[-500:]


def test_the_example_imports_from_the_facades_alone() -> None:
    for path in EXAMPLE.glob("*.py"):
        assert rushes_modules(path.read_text()) <= FACADES
    assert rushes_modules((EXAMPLE / "rushes_acme.py").read_text()) == {"rushes.plugin"}


def test_the_facade_explains_each_of_its_names() -> None:
    text = str(plugin.__doc__)
    named = set(re.findall(r"`(\w+)`", text))
    assert set(plugin.__all__) - named == set()
    assert {name for name in named if hasattr(plugin, name)} == set(plugin.__all__)


def rushes_modules(source: str) -> set[str]:
    """The modules of rushes that the source imports from."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "rushes":
                found.add(module)
            case ast.Import(names=names):
                found |= {alias.name for alias in names if alias.name.split(".")[0] == "rushes"}
            case _:
                pass
    return found
