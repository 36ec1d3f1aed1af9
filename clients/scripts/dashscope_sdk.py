"""Alibaba's DashScope SDK: makes the video that stdin describes, and prints how it ended."""

import json
import sys
import time
from importlib import import_module
from typing import Any

asked: dict[str, Any] = json.load(sys.stdin)
client = import_module("dashscope.v2").Client(api_key=asked["key"], base_url=asked["base_url"], max_retries=0)
media = [{"type": role, "url": url} for _, role, url in asked.get("files", ())]
jobs = client.videos.jobs
job = jobs.create(model=asked["model"], prompt=asked["prompt"], media=media or None, **asked["parameters"])
deadline = time.monotonic() + 30
while not (found := jobs.fetch(job.task_id)).finished:
    assert time.monotonic() < deadline, "the task does not end"
    time.sleep(0.05)
seconds = found.model_dump()["usage"]["duration"]
print(json.dumps({"status": found.status, "url": found.output["video_url"], "cost": seconds}))
