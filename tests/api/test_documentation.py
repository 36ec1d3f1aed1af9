"""Every route has an example in docs/api.md, and every example works."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import WebhookVerificationError

from rushes import api
from rushes.api.edge.problems import _STATUS_OF, CODE_OF_STATUS, status_of
from rushes.database_wiring import wall_clock_ms
from rushes.domain import errors
from rushes.domain.callback_tokens import callback_token
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import SECRETS, RunningService, Tenant, eventually, running_service
from tests.files import media_samples as samples
from tests.harness import knobs
from tests.notify.test_notify import Receiver

PICTURE = samples.png()

PAGE = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
REQUESTS = re.findall(r"```json\n({\"custom_id\".*?)```", PAGE, re.DOTALL)[0].encode()
"""The page's file of requests."""

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
    fields: dict[str, str] = {}
    words = iter(lexer[1:])
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = filled(next(words)).partition(": ")
                headers[name] = value
            case "--data-binary":
                assert next(words) == "@boat.png"
                body = PICTURE
            case "-d":
                body = filled(next(words)).encode()
            case "-F":
                field, _, value = next(words).partition("=")
                fields[field] = value
            case "-o":
                next(words)
            case "-N":
                pass
            case _:
                url = filled(word)
    if fields:
        form = httpx2.Request(
            "POST",
            "http://a",
            data={name: value for name, value in fields.items() if not value.startswith("@")},
            files={name: (value[1:], REQUESTS) for name, value in fields.items() if value.startswith("@")},
        )
        headers["content-type"], body = form.headers["content-type"], form.read()
    return method or ("GET" if body is None else "POST"), url, headers, body


def ask(http: httpx2.Client, command: str, variables: dict[str, str]) -> httpx2.Response:
    """Run it."""
    method, url, headers, body = words_of(command, variables)
    return http.request(method, url, headers=headers, content=body)


def remote_id_of(simulator: SimulatorThread, prompt: str) -> str:
    """The one that the provider gave the task with this prompt."""
    (found,) = [task.id for task in simulator.report().tasks or () if task.prompt == prompt]
    return found


def link_of_upload(service: RunningService, upload_id: str) -> str:
    """The end of the address that a video service gets for the upload."""
    running = service.service
    assert running is not None
    upload = service.ask(lambda _rushes: running.app.state.parts.uploads.kept(upload_id))
    return running.links.upload_link(upload, now_ms=wall_clock_ms()).rpartition("/")[2]


def finished(tenant: Tenant, batch_id: str) -> None:
    """Wait for its end."""
    tenant.finished(batch_id, seconds_max=30)


def test_every_example_of_the_page_works(new_database_url: Callable[[str], str], tmp_path: Path) -> None:
    """In the page's order; what the page says is failed or cancelled is made so first."""
    kept = {"RUSHES_ARCHIVE_URL": str(tmp_path / "archive"), "RUSHES_IN_FLIGHT_TASKS_MAX": "2"}
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
            command = command.replace("https://example.com/hooks/shop", f"{receiver.url}/shop")
            if "input_file_id" in command:
                simulator.use(knobs(render_seconds=5.0))
            if "/cancel" in command and "$BATCH" in command:
                simulator.use(knobs(render_seconds=30.0))
                many = tenant.batch(*("to cancel" for _ in range(4)))["batch_id"]
                variables["BATCH"], before = many, variables["BATCH"]
                command = command.replace("/items/0/", "/items/3/")  # which waits: two are in flight
            if command.endswith("/content -o boat.mp4"):
                eventually(
                    lambda: tenant.get(f"/v1/videos/{variables['VIDEO']}"),
                    lambda video: video["status"] == "completed",
                )
            if "$URL/files/" in command:
                item = eventually(
                    lambda: tenant.get(f"/v1/batches/{variables['VIDEO']}/items")["items"][0],
                    lambda item: item["archive"]["state"] == "stored",
                )
                variables["FILE"] = item["video_url"].rpartition("/")[2]
            if command.partition(" -d ")[0].endswith("/verdict"):
                eventually(
                    lambda: tenant.get(f"/v1/batches/{variables['BATCH']}/items")["items"][0]["status"],
                    lambda status: status == "succeeded",
                    seconds_max=60.0,  # where it waits for the cancelled ones, which render on
                )
            if "/adopt" in command:
                simulator.use(knobs(render_seconds=0.2, submit_accepted_then_reset=1.0))
                variables["ITEM"] = tenant.lost_item("its answer was lost")
                simulator.use(knobs(render_seconds=0.2))
                command = command.replace("1a2b3c4d-remote", remote_id_of(simulator, "its answer was lost"))
            answer = ask(http, command, variables)
            assert answer.status_code < 300, (command, answer.text)
            document: Any = {}
            if answer.headers.get("content-type", "").partition(";")[0] == "application/json":
                document = answer.json()
            if "$JOB/cancel" in command:
                simulator.use(knobs(render_seconds=0.2))
            if "/cancel" in command and "$BATCH" in command:
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
            if "--data-binary" in command:
                variables["PICTURE"] = document["upload_id"]
                variables["PICTURE_LINK"] = link_of_upload(service, document["upload_id"])
            if "/v1/keys -d" in command:
                variables["KEY_ID"] = str(document["key_id"])
            if "/hook/shop" in command:
                variables["ENDPOINT"] = document["endpoint"]["endpoint_id"]
            if "/openai/v1/files -F" in command:
                variables["UPLOAD"] = document["id"]
            if "input_file_id" in command:
                variables["JOB"] = document["id"]
            if "deliveries?" in command:
                variables["DELIVERY"] = document["data"][0]["delivery_id"]
        assert len(CURLS) >= 27


def test_every_route_of_the_document_has_an_example(idle_tenant: Tenant) -> None:
    names = {"URL": "", "KEY": "k", "WORKER_SECRET": "w", "METRICS_TOKEN": "m", "TOKEN": "{token}"}
    names["FILE"] = "{token}"
    names |= {"UPLOAD": "{file_id}", "JOB": "{batch_id}", "PICTURE": "{upload_id}", "PICTURE_LINK": "{token}"}
    names |= {"ITEM": "{item_id}", "BATCH": "{batch_id}", "VIDEO": "{video_id}", "DELIVERY": "{delivery_id}"}
    names |= {"ENDPOINT": "{endpoint_id}", "KEY_ID": "{key_id}"}
    shown = set()
    for command in CURLS:
        method, url, _, _ = words_of(command, names)
        path = url.partition("?")[0].replace("/items/0/", "/items/{item}/").replace("/grsai/", "/{provider}/")
        path = path.replace("/models/sora-2", "/models/{model}")
        if not path.startswith("/api/"):  # of the earlier service: the same routes by other names
            shown.add((method, path))
    document = idle_tenant.get("/openapi.json")
    routes = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    assert routes - shown == set(), "routes without an example"
    assert shown - routes == set(), "examples without a route"


def test_every_code_of_the_error_tree_that_is_answered_is_named() -> None:
    of_the_tree = {kind.code for kind in _STATUS_OF if kind.code not in ("NOT_AUTHORISED", "INVALID_SETTING")}
    source = "".join(path.read_text() for path in Path(api.__file__).parent.rglob("*.py"))
    own = re.findall(r'(?:Refusal|_stop|_refuse|_problem)\(\s*\d{3},\s*"([A-Z_]+)"', source)
    assert len(own) >= 20
    unnamed = {code for code in {*of_the_tree, *own, *CODE_OF_STATUS.values()} if f"`{code}`" not in PAGE}
    assert unnamed == set()


def test_every_code_of_the_table_stands_at_the_status_that_it_is_answered_with() -> None:
    source = "".join(path.read_text() for path in Path(api.__file__).parent.rglob("*.py"))
    answered = {(code, status) for status, code in CODE_OF_STATUS.items()}
    answered |= {(kind.code, status_of(kind)) for kind in kinds_of(errors.RushesError)}
    for pattern in (r'\w\(\s*(\d{3}),\s*"([A-Z_]+)"', r'status=(\d{3}),\s*code="([A-Z_]+)"'):
        answered |= {(code, int(status)) for status, code in re.findall(pattern, source)}
    rows = re.findall(r"^\| (\d{3}(?:, \d{3})*) \| (.*?) \|", PAGE, re.MULTILINE)
    found: set[str] = set()
    for statuses, codes in rows:
        for code in re.findall(r"`([A-Z_]+)`", codes):
            own = {status for name, status in answered if name == code} or {HTTPStatus[code].value}
            assert own & set(map(int, statuses.split(", "))), f"{code} is {own}, not {statuses}"
            found.add(code)
    assert len(found) > 50


def kinds_of(kind: type[errors.RushesError]) -> set[type[errors.RushesError]]:
    return {kind}.union(*map(kinds_of, kind.__subclasses__()))


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


def test_the_table_of_clients_is_there_and_every_call_works() -> None:
    """`make clients` makes it, and refuses a table that is another one."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 55
    assert [row for row in rows if row[2] == "no"] == []
    assert {"openai (Python)", "openai (Node)", "litellm", "the earlier service's flow"} <= {
        r[0] for r in rows
    }
