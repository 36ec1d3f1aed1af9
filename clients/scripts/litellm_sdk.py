"""LiteLLM: makes the video that stdin describes, and prints how it ended."""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
asked: dict[str, Any] = json.load(sys.stdin)
litellm = import_module("litellm")
way = {"api_base": asked["base_url"], "api_key": asked["key"]}
created = litellm.video_generation(prompt=asked["prompt"], model=asked["model"], **asked["parameters"], **way)
deadline = time.monotonic() + 30
while (video := litellm.video_status(video_id=created.id, **way)).status in ("queued", "in_progress"):
    assert time.monotonic() < deadline, "the task does not end"
    time.sleep(0.05)
print(json.dumps({"status": video.status, "url": None, "cost": None}))
