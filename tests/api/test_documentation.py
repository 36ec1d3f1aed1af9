"""Every route has an example in docs/api.md, and every example works."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import WebhookVerificationError

from rushes.api.problems import _STATUS_OF
from rushes.engine.callbacks import callback_token
from rushes.providers.simulator import running_simulator
from tests.api.harness import SECRETS, RunningService, Tenant, eventually, running_service
from tests.engine.harness import knobs
from tests.engine.test_notify import Receiver

PAGE = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CURLS = [
    command.strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for command in re.split(r"\n(?=curl )", block)
    if command.startswith("curl ")
]


def words_of(command: str, variables: dict[str, str]) -> tuple[str, str, dict[str, str], bytes | None]:
    """The method, address, headers and body of a curl command."""

    def filled(word: str) -> str:
        return re.sub(r"\$([A-Z_]+)", lambda found: variables[found[1]], word)

    lexer = shlex.split(command)
    method, url, body = None, "", None
    headers: dict[str, str] = {}
    words = iter(lexer[1:])
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = filled(next(words)).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words).encode()
            case "-o":
                next(words)
            case "-N":
                pass
            case _:
                url = filled(word)
    return method or ("GET" if body is None else "POST"), url, headers, body


def ask(http: httpx2.Client, command: str, variables: dict[str, str]) -> httpx2.Response:
    """Run it."""
    method, url, headers, body = words_of(command, variables)
    return http.request(method, url, headers=headers, content=body)


def finished(tenant: Tenant, batch_id: str) -> None:
    """Wait for its end."""
    tenant.finished(batch_id, seconds_max=30)


def test_every_example_of_the_page_works(new_database_url: Callable[[str], str], tmp_path: Path) -> None:
    """In the page's order; what the page says is failed or cancelled is made so first."""
    kept = {"RUSHES_ARCHIVE_URL": str(tmp_path / "archive")}
    with (
        running_simulator(knobs(render_seconds=0.2, error=1.0)) as simulator,
        Receiver().running() as receiver,
        running_service(new_database_url("sqlite"), simulator.base_url, kept) as service,
        httpx2.Client(timeout=30, trust_env=False, verify=False) as http,
    ):
        tenant = service.tenant()
        token = callback_token(SECRETS["RUSHES_WEBHOOK_SECRET"].encode(), task_id=1, attempt=1)
        variables = {
            "URL": tenant.base_url,
            "KEY": tenant.key,
            "WORKER_SECRET": SECRETS["RUSHES_WORKER_SECRET"],
            "METRICS_TOKEN": "none",
            "TOKEN": token,
        }
        for command in CURLS:
            command = command.replace("https://example.com/hooks/rushes", receiver.url)
            if "/cancel" in command:
                simulator.use(knobs(render_seconds=30.0))
                variables["BATCH"], before = tenant.batch("to cancel")["batch_id"], variables["BATCH"]
            if command.endswith("/content -o boat.mp4"):
                eventually(
                    lambda: tenant.get(f"/v1/videos/{variables['VIDEO']}"),
                    lambda video: video["status"] == "completed",
                )
            if "/files/" in command:
                item = eventually(
                    lambda: tenant.get(f"/v1/batches/{variables['VIDEO']}/items")["items"][0],
                    lambda item: item["archive"]["state"] == "stored",
                )
                variables["FILE"] = item["video_url"].rpartition("/")[2]
            answer = ask(http, command, variables)
            assert answer.status_code < 300, (command, answer.text)
            document: Any = {}
            if answer.headers.get("content-type", "").startswith("application/json"):
                document = answer.json()
            if "/cancel" in command:
                variables["BATCH"] = before
                simulator.use(knobs(render_seconds=0.2, error=1.0))
            if "/retry" in command:
                simulator.use(knobs(render_seconds=0.2))
            if "order-1742" in command:
                variables["BATCH"] = document["batch_id"]
                finished(tenant, document["batch_id"])
                eventually(lambda: len(receiver.received), lambda count: count >= 3)
            if command.endswith("""'{"prompt": "a paper boat"}'"""):
                variables["VIDEO"] = document["id"]
            if "deliveries?" in command:
                variables["DELIVERY"] = document["data"][0]["delivery_id"]
        assert len(CURLS) >= 27


def test_every_route_of_the_document_has_an_example(idle_tenant: Tenant) -> None:
    names = {"URL": "", "KEY": "k", "WORKER_SECRET": "w", "METRICS_TOKEN": "m", "TOKEN": "{token}"}
    names["FILE"] = "{token}"
    names |= {"BATCH": "{batch_id}", "VIDEO": "{video_id}", "DELIVERY": "{delivery_id}"}
    shown = set()
    for command in CURLS:
        method, url, _, _ = words_of(command, names)
        path = url.partition("?")[0].replace("/items/0/", "/items/{item}/").replace("/grsai/", "/{provider}/")
        shown.add((method, path))
    document = idle_tenant.get("/openapi.json")
    routes = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    assert routes - shown == set(), "routes without an example"
    assert shown - routes == set(), "examples without a route"


def test_every_code_of_the_error_tree_that_is_answered_is_named() -> None:
    tenants = {kind.code for kind in _STATUS_OF if kind.code not in ("NOT_AUTHORISED", "INVALID_SETTING")}
    unnamed = {code for code in tenants if f"`{code}`" not in PAGE}
    assert unnamed <= {"URL_REFUSED", "URL_UNREACHABLE"}, unnamed


@pytest.mark.parametrize("word", ["openai.OpenAI", "import Client"])
def test_the_programs_run_as_printed(tmp_path: Path, service: RunningService, word: str) -> None:
    tenant = service.tenant()
    done = subprocess.run(
        [sys.executable, "-c", next(code for code in PYTHON if word in code)],
        cwd=tmp_path,
        env={**os.environ, "SERVICE_URL": tenant.base_url, "SERVICE_KEY": tenant.key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == ("completed" if "openai" in word else "2 downloaded, 0 without a file")
    assert len(list(tmp_path.rglob("*.mp4"))) == (1 if "openai" in word else 2)


def ended_program_of_the_sdk(tenant: Tenant, folder: Path) -> str:
    """What the page's program says when it ends with an error."""
    done = subprocess.run(
        [sys.executable, "-c", next(code for code in PYTHON if "openai.OpenAI" in code)],
        cwd=folder,
        env={**os.environ, "SERVICE_URL": tenant.base_url, "SERVICE_KEY": tenant.key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_the_sdks_program_says_why_it_was_refused(tmp_path: Path, service: RunningService) -> None:
    said = ended_program_of_the_sdk(service.tenant(credits=1), tmp_path)
    assert said.startswith("INSUFFICIENT_CREDITS: ")
    assert "are missing" in said


def test_the_sdks_program_says_why_its_video_failed(
    new_database_url: Callable[[str], str], tmp_path: Path
) -> None:
    with (
        running_simulator(knobs(render_seconds=0.1, output_moderation=1.0)) as strict,
        running_service(new_database_url("sqlite"), strict.base_url) as running,
    ):
        said = ended_program_of_the_sdk(running.tenant(), tmp_path)
    assert said == "the video failed, output_moderation: output_moderation"
    assert not list(tmp_path.rglob("*.mp4"))


def test_the_receiver_takes_an_event_once_and_no_forgery(
    idle_tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(next(code for code in PYTHON if "def receive" in code), names)
    with Receiver().running() as receiver:
        secret = idle_tenant.get("/v1/webhooks/secret")["secret"]
        batch_id = idle_tenant.batch("a", webhook_url=receiver.url)["batch_id"]
        idle_tenant.post(f"/v1/batches/{batch_id}/cancel")
        eventually(lambda: len(receiver.received), lambda count: count >= 2)
        _, headers, body = receiver.received[0]
    assert [names["receive"](secret, headers, body) for _ in range(2)] == [204, 204]
    assert capsys.readouterr().out.count(batch_id) == 1
    with pytest.raises(WebhookVerificationError):
        names["receive"](secret, headers, body.replace(b"video", b"voodo"))
