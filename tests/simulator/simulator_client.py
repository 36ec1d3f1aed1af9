"""A plain client for the simulator's tests: http.client shows resets and broken bodies as they are."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rushes.simulator import SimRequest, SimulatorCore

SORA, VEO, RESULT = "/v1/video/sora-video", "/v1/video/veo", "/v1/draw/result"
GENERATE, UNIFIED_RESULT = "/v1/api/generate", "/v1/api/result"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    base_url: str,
    method: str,
    target: str,
    body: object = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Answer:
    """One request on a connection of its own; raises what http.client and the socket raise."""
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        all_headers = {"content-type": "application/json", **(headers or {})}
        connection.request(method, target, data, all_headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def sora_body(prompt: str = "a fox", **more: object) -> dict[str, object]:
    return {"model": "sora-2", "prompt": prompt, "webHook": "-1", **more}


def veo_body(prompt: str = "a fox", model: str = "veo3.1-fast", **more: object) -> dict[str, object]:
    return {"model": model, "prompt": prompt, "webHook": "-1", **more}


def minimax_body(prompt: str = "a fox", **more: object) -> dict[str, object]:
    return {"model": "minimax-h3", "prompt": prompt, "replyType": "async", **more}


def submit_sora(base_url: str, prompt: str = "a fox", **more: object) -> str:
    answer = call(base_url, "POST", SORA, sora_body(prompt, **more)).json
    assert answer["code"] == 0, answer
    return str(answer["data"]["id"])


def poll(base_url: str, task_id: str, *, timeout: float = 10.0) -> Answer:
    return call(base_url, "POST", RESULT, {"id": task_id}, timeout=timeout)


def poll_until_final(base_url: str, task_id: str, *, seconds_max: float = 10.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        data: dict[str, Any] = poll(base_url, task_id).json["data"]
        if data["status"] in ("succeeded", "failed"):
            return data
        time.sleep(0.02)
    raise AssertionError(f"{task_id} did not end")


# --- the same against a core, in virtual time


def core_call(core: SimulatorCore, now: float, method: str, target: str, body: object = None) -> Any:
    """The JSON answer of a core that answers normally."""
    path, _, query = target.partition("?")
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    return json.loads(core.handle(SimRequest(method, path, query, headers, data), now).body)


def core_submit(core: SimulatorCore, now: float, prompt: str) -> str:
    answer = core_call(core, now, "POST", SORA, sora_body(prompt))
    assert answer["code"] == 0, answer
    return str(answer["data"]["id"])


def core_poll(core: SimulatorCore, now: float, task_id: str) -> Any:
    return core_call(core, now, "POST", RESULT, {"id": task_id})
