"""No secret is in anything that a service writes: a real process with canaries, through good days and bad."""

import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from rushes.domain.callback_tokens import callback_token
from rushes.notify.secrets import webhook_secret
from rushes.simulator import running_simulator
from tests.api.harness import Tenant, eventually
from tests.api.scripted import Said, scripted
from tests.api.test_callbacks import free_port
from tests.api.test_serve import CANARIES as OLDER_CANARIES
from tests.api.test_serve import new_tenant, serving
from tests.cli.process import QUICK, Shell
from tests.harness import knobs
from tests.notify.test_notify import Receiver

CANARIES = {**OLDER_CANARIES, "RUSHES_DASHBOARD_SECRET": "dashboard-secret-canary-2be4d7"}
PROVIDER_KEY = CANARIES["GRSAI_API_KEY"]
PAGES = ("/", "/batches", "/accounts", "/system", "/deliveries", "/sign-in", "/none")


def secrets_of(tenant: Tenant) -> dict[str, bytes]:
    """Everything that must stay secret, in every form in which it is used."""
    operators = CANARIES["RUSHES_WEBHOOK_SECRET"]
    token = callback_token(operators.encode(), task_id=1, attempt=1)
    found = {
        **CANARIES,
        "api key": tenant.key,
        "callback token": token.rsplit("-", 1)[1],
        "account's webhook secret": webhook_secret(operators, 1).removeprefix("whsec_"),
    }
    return {name: secret.encode() for name, secret in found.items()}


def left_behind(folder: Path) -> dict[str, bytes]:
    """Every file of the service's folder: databases with their logs, process logs."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert any(".db" in name for name in files)
    return files


def assert_no_secret(secrets: dict[str, bytes], places: dict[str, bytes]) -> None:
    """None of them is in any of those."""
    for place, content in places.items():
        for name, secret in secrets.items():
            assert secret not in content, f"{name} in {place}"


def test_pages_webhooks_and_answers_tell_no_secret(tmp_path: Path) -> None:
    port = free_port()
    with (
        running_simulator(knobs(render_seconds=0.2, error=0.3)) as simulator,
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
            },
        )
        running, url = stack.enter_context(serving(shell, port))
        tenant = new_tenant(shell, url)
        answers: list[str] = []
        with tenant.http as http:

            def ask(method: str, path: str, **arguments: Any) -> int:
                answer = http.request(method, path, **arguments)
                answers.append(f"{answer.headers}\n{answer.text}")
                return int(answer.status_code)

            tenant.finished(tenant.batch("a", "b", "c", webhook_url=receiver.url)["batch_id"])
            eventually(lambda: len(receiver.received), lambda count: count >= 4)
            wrong = {"secret": CANARIES["RUSHES_DASHBOARD_SECRET"][:-1]}
            assert ask("POST", "/dashboard/sign-in", data=wrong, headers={"origin": url}) == 403
            right = {"secret": CANARIES["RUSHES_DASHBOARD_SECRET"]}
            assert ask("POST", "/dashboard/sign-in", data=right, headers={"origin": url}) == 303
            seen = [ask("GET", f"/dashboard{page}") for page in PAGES]
            assert seen[0] == 200, "signed in"
            for path in ("/metrics", "/openapi.json", "/docs", "/v1/webhooks/deliveries"):
                ask("GET", path)
            ask("POST", "/v1/batches", json={"items": [{"prompt": 1}]}, headers={"idempotency-key": "\x7f"})
        running.signal(signal.SIGTERM)
        said = running.end().stderr
    secrets = secrets_of(tenant)
    webhooks = b"".join(body + str(headers).encode() for _, headers, body in receiver.received)
    places = {"log": said.encode(), "answers": "\n".join(answers).encode(), "webhooks": webhooks}
    assert_no_secret(secrets, {**places, **left_behind(tmp_path)})
    assert "request" in said, "there was something to be found in"


BAD_PROVIDERS: dict[str, list[Said]] = {
    "a refusal with the key": [
        Said(200, json.dumps({"code": -1, "msg": f"bad key {PROVIDER_KEY}"}).encode())
    ],
    "401 with the key": [Said(401, json.dumps({"error": f"no such key {PROVIDER_KEY}"}).encode())],
    "400 with the key": [Said(400, json.dumps({"code": 400, "msg": f"Bearer {PROVIDER_KEY}"}).encode())],
    "a page with the key": [Said(500, f"<html>{PROVIDER_KEY}".encode(), {"content-type": "text/html"})],
    "no JSON": [Said(200, f'{{"id": "{PROVIDER_KEY}'.encode())],
    "a failure with the key": [
        Said(200, json.dumps({"code": 0, "msg": "ok", "data": {"id": "r1"}}).encode()),
        Said(
            200,
            json.dumps(
                {
                    "code": 0,
                    "msg": PROVIDER_KEY,
                    "data": {
                        "id": "r1",
                        "status": "failed",
                        "failure_reason": "error",
                        "error": f"key {PROVIDER_KEY} was refused",
                        "results": [],
                        "progress": 1,
                    },
                }
            ).encode(),
        ),
    ],
}


@pytest.mark.parametrize("name", BAD_PROVIDERS)
def test_a_provider_that_repeats_the_key_does_not_spread_it(tmp_path: Path, name: str) -> None:
    with scripted(BAD_PROVIDERS[name]) as provider, contextlib.ExitStack() as stack:
        environment = {
            **QUICK,
            **CANARIES,
            "GRSAI_HOST": provider.url,
            "RUSHES_UNCONFIRMED_GRACE_SECONDS": "1",
        }
        del environment["RUSHES_DASHBOARD_SECRET"]
        shell = Shell(tmp_path, environment)
        running, url = stack.enter_context(serving(shell))
        tenant = new_tenant(shell, url)
        with tenant.http as http:
            batch_id = tenant.batch("a")["batch_id"]
            eventually(lambda: len(provider.heard), lambda count: count >= 1)
            time.sleep(1.0)
            answers = [
                http.get(path).text
                for path in (f"/v1/batches/{batch_id}/items", f"/v1/batches/{batch_id}/export", "/metrics")
            ]
        running.signal(signal.SIGTERM)
        said = running.end().stderr
    assert PROVIDER_KEY in str(provider.heard[0].headers), "the provider has the key"
    places = {"log": said.encode(), "answers": "\n".join(answers).encode()}
    assert_no_secret(secrets_of(tenant), {**places, **left_behind(tmp_path)})


PROVIDERS = {
    "GRSAI_API_KEY": "GRSAI_HOST",
    "GEMINI_API_KEY": "GEMINI_HOST",
    "FAL_KEY": "FAL_HOST",
    "RUNWAYML_API_SECRET": "RUNWAYML_HOST",
    "ARK_API_KEY": "ARK_HOST",
    "BYTEPLUS_API_KEY": "BYTEPLUS_HOST",
    "DASHSCOPE_API_KEY": "DASHSCOPE_HOST",
    "MINIMAX_API_KEY": "MINIMAX_HOST",
    "XAI_API_KEY": "XAI_HOST",
    "OPENAI_VIDEO_API_KEY": "OPENAI_VIDEO_BASE_URL",
}
PROVIDER_KEYS = {name: f"{name.lower().replace('_', '-')}-canary-5d7e" for name in PROVIDERS}
MODELS = (
    *("sora-2", "minimax-h3", "gemini-omni", "fal-veo3.1", "runway-gen4.5", "openai-sora-2"),
    *("seedance-2.0", "ark-intl/seedance-2.0", "wan-3.0", "minimax-h3-max", "grok-imagine-video"),
)
"""One of each provider."""


def telling(status: int, key: str) -> Said:
    """An answer in no provider's form, with the key wherever one may look for words."""
    error = {"message": f"no such key: {key}", "code": key, "details": [key]}
    body = {
        "id": "remote-1",
        "request_id": "remote-1",
        "status": key,
        "error": error,
        "msg": key,
        "detail": key,
    }
    headers = {"content-type": "application/json", "x-request-id": key}
    return Said(status, json.dumps(body).encode(), headers)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_no_provider_spreads_its_key(tmp_path: Path, status: int) -> None:
    """Every provider answers with the key that it was asked with; nothing of it is said, shown or stored."""
    with contextlib.ExitStack() as stack:
        sites = {
            host: stack.enter_context(scripted([telling(status, PROVIDER_KEYS[key])]))
            for key, host in PROVIDERS.items()
        }
        environment = {**QUICK, **PROVIDER_KEYS, "RUSHES_UNCONFIRMED_GRACE_SECONDS": "1"}
        shell = Shell(tmp_path, {**environment, **{host: site.url for host, site in sites.items()}})
        running, url = stack.enter_context(serving(shell))
        tenant = new_tenant(shell, url, amount=100_000)
        with tenant.http as http:
            items = [{"prompt": "a boat", "model": model} for model in MODELS]
            batch_id = tenant.post("/v1/batches", {"items": items}, status=201)["batch_id"]
            for key, host in PROVIDERS.items():
                heard = eventually(lambda host=host: sites[host].heard, bool)  # type: ignore[misc]
                assert PROVIDER_KEYS[key] in str(heard[0].headers), "asked with its own key"
            time.sleep(1.0)
            paths = [f"/v1/batches/{batch_id}/items", f"/v1/batches/{batch_id}/export"]
            paths += [f"/v1/batches/{batch_id}/items/{n}/attempts" for n in range(len(MODELS))]
            answers = [http.get(path).text for path in (*paths, "/metrics", "/readyz")]
        running.signal(signal.SIGTERM)
        said = running.end().stderr
    secrets = {name: key.encode() for name, key in PROVIDER_KEYS.items()}
    places = {"log": said.encode(), "answers": "\n".join(answers).encode()}
    assert_no_secret(secrets, {**places, **left_behind(tmp_path)})
