"""`rushes serve` and `rushes keys` as real processes; and no secret in anything that they leave behind."""

import contextlib
import json
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from rushes.domain.api_key import is_api_key
from rushes.domain.callback_tokens import callback_token
from rushes.notify.secrets import webhook_secret
from rushes.simulator import SimulatorThread, running_simulator
from tests.api.harness import Tenant, eventually
from tests.api.test_callbacks import free_port
from tests.cli.process import QUICK, Running, Shell
from tests.harness import knobs
from tests.notify.test_notify import Receiver

CANARIES = {
    "GRSAI_API_KEY": "provider-key-canary-3f9b2c",
    "RUSHES_WEBHOOK_SECRET": "webhook-secret-canary-77d0e1",
    "RUSHES_WORKER_SECRET": "worker-secret-canary-a41b6f",
    "RUSHES_METRICS_TOKEN": "metrics-token-canary-c88e02",
}


@pytest.fixture
def shell(tmp_path: Path, simulator: SimulatorThread) -> Shell:
    """A folder of its own, the simulator behind it."""
    return Shell(tmp_path, {**QUICK, "GRSAI_HOST": simulator.base_url, "RUSHES_ALLOW_PRIVATE_URLS": "1"})


@contextlib.contextmanager
def serving(shell: Shell, port: int | None = None) -> Iterator[tuple[Running, str]]:
    """`rushes serve` on that or a free port, and its address."""
    running = shell.start("serve", "--port", str(port or free_port()), "--log-level", "debug")
    try:
        running.wait_until(lambda said: "serving on http" in said, "it serves")
        found = re.search(r"serving on (http://\S+)", running.stderr())
        assert found is not None
        yield running, found[1]
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


def new_tenant(shell: Shell, url: str, *, amount: int = 1000) -> Tenant:
    """The default account with a key made on the command line."""
    made = shell.call("keys", "create", "--rate-limit-per-min", "0", "--json").document
    shell.call("credits", "grant", str(amount))
    return Tenant(url, "default", made["key"])


def test_one_command_serves_works_and_stops_cleanly(shell: Shell) -> None:
    with serving(shell) as (running, url):
        tenant = new_tenant(shell, url)
        with tenant.http:
            batch_id = tenant.batch("a", "b")["batch_id"]
            assert tenant.finished(batch_id)["status"] == "succeeded"
            assert tenant.get("/readyz")["ok"] is True
        started = time.monotonic()
        running.signal(signal.SIGTERM)
        ended = running.end()
        assert ended.code == 0, ended.stderr
        assert time.monotonic() - started < 10
        assert "Traceback" not in ended.stderr
    shell.assert_books_are_right()


def test_a_stop_in_the_middle_loses_nothing(shell: Shell) -> None:
    with serving(shell) as (running, url):
        tenant = new_tenant(shell, url)
        with tenant.http:
            batch_id = tenant.batch(*(f"p{n}" for n in range(30)))["batch_id"]
            running.signal(signal.SIGTERM)
            assert running.end().code == 0
    with serving(shell) as (_, url):
        tenant = Tenant(url, tenant.account, tenant.key)
        with tenant.http:
            batch = tenant.finished(batch_id)
            assert (batch["succeeded_count"], batch["credits_settled"]) == (30, 300)
    shell.assert_books_are_right()


def test_with_json_the_address_is_on_stdout(shell: Shell) -> None:
    running = shell.start("serve", "--port", "0", "--no-worker", "--json")
    assert running.process.stdout is not None
    document = json.loads(running.process.stdout.readline())
    assert document["ok"] is True
    assert document["worker"] is False
    assert httpx2.get(document["url"] + "/healthz", trust_env=False, verify=False).json() == {"ok": True}
    running.signal(signal.SIGINT)
    assert running.end().code == 0


def test_what_cannot_be_served_is_said_in_one_line(shell: Shell) -> None:
    with serving(shell) as (_, url):
        port = url.rsplit(":", 1)[1]
        assert "cannot listen" in shell.run("serve", "--port", port, "--no-worker").one_line_error()


def test_without_any_provider_key_it_serves_and_says_what_is_missing(shell: Shell) -> None:
    port = free_port()
    running = shell.start("serve", "--port", str(port), GRSAI_API_KEY="")
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        running.wait_until(lambda said: "serving on" in said, "the address")
        assert http.get("/").headers["location"] == "/docs"
        assert "No provider has a key yet" in http.get("/docs").text
        assert http.get("/healthz").status_code == 200
    running.signal(signal.SIGTERM)
    ended = running.end()
    assert ended.code == 0
    assert "No provider has a key yet" in ended.stderr


def test_the_documentation_loads_nothing_from_elsewhere(shell: Shell) -> None:
    with serving(shell) as (_, url), httpx2.Client(base_url=url, trust_env=False) as http:
        page = http.get("/docs").text
        assert "No provider has a key" not in page
        named = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
        assert len(named) >= 3
        assert "//" not in "".join(named)
        for path in named:
            answer = http.get(path)
            assert (answer.status_code, len(answer.content) > 500) == (200, True), path


def test_the_demonstration_serves_sample_batches_without_a_key(shell: Shell) -> None:
    running = shell.start("serve", "--demo", "--port", "0", "--json", GRSAI_API_KEY="")
    assert running.process.stdout is not None
    said = json.loads(running.process.stdout.readline())
    headers = {"x-api-key": said["api_key"]}
    with httpx2.Client(base_url=said["url"], headers=headers, trust_env=False) as http:
        batches = http.get("/v1/batches").json()["data"]
        assert len(batches) == 2
        # real renders of these models take up to seven minutes; the simulator's, a twentieth of that
        assert all(batch["eta_seconds"] < 60 for batch in batches)
        eventually(
            lambda: sum(batch["succeeded_count"] for batch in http.get("/v1/batches").json()["data"]),
            lambda count: count >= 1,
            seconds_max=60.0,
            pause=0.5,
        )
        assert len(said["dashboard_secret"]) >= 16
    running.signal(signal.SIGINT)
    assert running.end().code == 0
    assert not list(shell.folder.rglob("demo.db"))


def test_many_clients_are_served_where_a_shell_allows_few_open_files(shell: Shell) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        running = shell.start(
            "serve", "--port", "0", "--no-worker", "--json", RUSHES_CLIENTS_PER_ADDRESS_MAX="1000"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert running.process.stdout is not None
    url = json.loads(running.process.stdout.readline())["url"]
    address = urlsplit(url)
    with contextlib.ExitStack() as stack:
        stack.callback(running.process.kill)  # nothing once it has ended
        for _ in range(400):
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
        assert httpx2.get(f"{url}/readyz", trust_env=False).json()["database"] == "ok"
        running.signal(signal.SIGTERM)
        assert running.end().code == 0


# --- keys -----------------------------------------------------------------------------------------------


def test_keys_are_made_shown_once_listed_and_revoked(shell: Shell) -> None:
    made = shell.call("keys", "create", "--account", "acme", "--name", "ci", "--json").document
    assert is_api_key(made["key"])
    assert (made["account"], made["name"], made["rate_limit_per_min"]) == ("acme", "ci", 600)
    printed = shell.call("keys", "create", "--account", "acme")
    assert is_api_key(printed.stdout.strip())
    listed = shell.call("keys", "list", "--account", "acme", "--json").document["keys"]
    assert [key["account"] for key in listed] == ["acme", "acme"]
    assert all("key" not in key for key in listed)
    assert made["key"] not in shell.call("keys", "list").stdout
    assert shell.call("keys", "revoke", str(made["key_id"])).code == 0
    assert shell.call("keys", "revoke", str(made["key_id"])).code == 0, "again changes nothing"
    (revoked,) = [
        key
        for key in shell.call("keys", "list", "--json").document["keys"]
        if key["key_id"] == made["key_id"]
    ]
    assert revoked["revoked_at"] is not None
    acts = shell.call("operators", "log", "--json").document["actions"]
    assert [act["action"] for act in acts] == ["key.revoke", "key.create", "key.create"], "once each"
    assert acts[0]["subject"] == f"key {made['key_id']}"
    assert acts[0]["operator"].startswith("cli:")
    assert made["key"] not in str(acts)


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--account", ""),
        ("create", "--account", "x" * 101),
        ("create", "--name", "x" * 101),
        ("create", "--name", "a\nb"),
        ("create", "--rate-limit-per-min", "-1"),
        ("create", "--rate-limit-per-min", "99999999999"),
        ("revoke", "7"),
        ("revoke", "-7"),
        ("revoke", str(2**63)),
    ],
)
def test_a_wrong_key_command_is_refused_in_one_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.call("credits", "grant", "1")
    ended = shell.call("keys", *arguments)
    assert ended.code in (1, 2)
    ended.one_line_error()


# --- secrets --------------------------------------------------------------------------------------------


def test_no_secret_is_in_logs_answers_metrics_or_the_database(tmp_path: Path) -> None:
    port = free_port()
    with (
        running_simulator(knobs(render_seconds=0.2, error=0.3, submit_html=0.1)) as simulator,
        Receiver(answers=[500, 200]).running() as receiver,
        contextlib.ExitStack() as stack,
    ):
        shell = Shell(
            tmp_path,
            {
                **QUICK,
                **CANARIES,
                "GRSAI_HOST": simulator.base_url,
                "RUSHES_ALLOW_PRIVATE_URLS": "1",
                "RUSHES_BASE_URL": f"http://127.0.0.1:{port}",
                "RUSHES_UNCONFIRMED_GRACE_SECONDS": "1",
            },
        )
        answers: list[str] = []
        running, url = stack.enter_context(serving(shell, port))
        tenant = new_tenant(shell, url)
        token = callback_token(CANARIES["RUSHES_WEBHOOK_SECRET"].encode(), task_id=1, attempt=1)
        with tenant.http as http:

            def ask(method: str, path: str, **arguments: object) -> None:
                answer = http.request(method, path, **arguments)  # type: ignore[arg-type]
                answers.append(f"{answer.headers}\n{answer.text}")

            batch_id = tenant.batch(*(f"p{n}" for n in range(10)), webhook_url=receiver.url)["batch_id"]
            tenant.finished(batch_id)
            eventually(lambda: len(receiver.received), lambda count: count >= 11)
            for path in ("", "/items", "/events", "/export", "/items/0/retry", "/none"):
                ask("GET", f"/v1/batches/{batch_id}{path}")
            for path in (
                "/v1/credits/ledger",
                "/v1/webhooks/deliveries",
                "/openapi.json",
                "/docs",
                "/metrics",
                "/readyz",
            ):
                ask("GET", path)
            ask("GET", "/metrics", headers={"authorization": f"Bearer {CANARIES['RUSHES_METRICS_TOKEN']}"})
            ask("GET", "/v1/batches", headers={"x-api-key": tenant.key[:-1] + "0"})
            ask(
                "POST",
                "/internal/batch-worker",
                headers={"x-worker-secret": CANARIES["RUSHES_WORKER_SECRET"]},
            )
            ask("POST", "/internal/batch-worker", headers={"x-worker-secret": "wrong"})
            for path in (
                f"/callbacks/grsai/{token}",
                f"/callbacks/grsai/{token}x",
                f"/callbacks/none/{token}",
            ):
                ask("POST", path, json={"id": "x"})
                ask("POST", path, content=b"{")
            ask("POST", "/v1/batches", content=b'{"items": [{"prompt": 7}]}')
            ask("POST", "/v1/videos", json={"prompt": "a", "key": tenant.key[:9]})
            assert "whsec_" in tenant.get("/v1/webhooks/secret")["secret"]
        running.signal(signal.SIGTERM)
        said = running.end().stderr
    secrets = {
        **CANARIES,
        "api key": tenant.key,
        "callback token": token.rsplit("-", 1)[1],
        "account's webhook secret": webhook_secret(CANARIES["RUSHES_WEBHOOK_SECRET"], 1),
    }
    files = {
        path.name: path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and "stderr" not in path.name
    }
    assert any(name.endswith(".db") for name in files)
    places = {
        "log": said.encode(),
        "answers": "\n".join(answers).encode(),
        "webhooks": b"".join(body + str(headers).encode() for _, headers, body in receiver.received),
        **files,
    }
    for secret_name, secret in secrets.items():
        for place, content in places.items():
            assert secret.encode() not in content, f"{secret_name} in {place}"
    assert "request" in said, "there was something to be found in"


def test_debug_logs_name_routes_and_not_paths(shell: Shell, simulator: SimulatorThread) -> None:
    with serving(shell) as (running, url):
        tenant = new_tenant(shell, url)
        with tenant.http:
            batch_id = tenant.batch("a")["batch_id"]
            tenant.get(f"/v1/batches/{batch_id}")
        running.wait_until(lambda said: "/batches/{batch_id}" in said, "the route is logged")
        assert batch_id not in running.stderr()
