"""Volcengine's Ark SDK: makes the video that stdin describes, and prints how it ended."""

import json
import sys
import time
from importlib import import_module
from typing import Any

asked: dict[str, Any] = json.load(sys.stdin)
client = import_module("volcenginesdkarkruntime").Ark(
    api_key=asked["key"], base_url=asked["base_url"], max_retries=0
)
tasks = client.content_generation.tasks
files = [{"type": kind, kind: {"url": url}, "role": role} for kind, role, url in asked.get("files", ())]
content = [{"type": "text", "text": asked["prompt"]}, *files]
created = tasks.create(model=asked["model"], content=content, **asked["parameters"])
deadline = time.monotonic() + 30
while (task := tasks.get(task_id=created.id)).status in ("queued", "running"):
    assert time.monotonic() < deadline, "the task does not end"
    time.sleep(0.05)
print(
    json.dumps({"status": task.status, "url": task.content.video_url, "cost": task.usage.completion_tokens})
)
