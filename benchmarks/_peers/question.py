"""One poll, as every peer makes it."""

import json
from typing import Any

from pyreqwest.client import SyncClient, SyncClientBuilder

_clients: dict[str, SyncClient] = {}


def poll(base_url: str, remote_task_id: str) -> str | None:
    """The video's URL, or None while it is rendering."""
    client = _clients.get(base_url)
    if client is None:
        client = _clients[base_url] = SyncClientBuilder().no_proxy().build()
    body = json.dumps({"id": remote_task_id}, separators=(",", ":")).encode()
    response = client.post(f"{base_url}/v1/draw/result").body_bytes(body).build().send()
    answer: dict[str, Any] = json.loads(response.bytes().to_bytes())["data"]
    return str(answer["results"][0]["url"]) if answer["status"] == "succeeded" else None
