"""Replicate's SDK: makes the video that stdin describes, and prints how it ended."""

import json
import sys
import time
from importlib import import_module
from typing import Any

asked: dict[str, Any] = json.load(sys.stdin)
client = import_module("replicate").Client(api_token=asked["key"], base_url=asked["base_url"])
files = {role: url for _, role, url in asked.get("files", ())}
prediction = client.models.predictions.create(
    model=asked["model"], input={"prompt": asked["prompt"], **files, **asked["parameters"]}
)
deadline = time.monotonic() + 30
while prediction.status in ("starting", "processing"):
    assert time.monotonic() < deadline, "the task does not end"
    time.sleep(0.05)
    prediction.reload()
print(json.dumps({"status": prediction.status, "url": prediction.output, "cost": None}))
