"""LiteLLM, as it comes, with this service as an OpenAI-compatible one."""

import json
import time

import litellm
from _report import KEY, URL, call

where = {"api_base": f"{URL}/v1", "api_key": KEY, "custom_llm_provider": "openai"}
door = {"api_base": f"{URL}/openai/v1", "api_key": KEY, "custom_llm_provider": "openai"}

with call("video_generation"):
    video = litellm.video_generation(model="sora-2", prompt="a boat", seconds="8", **where)
    assert video.id, video
with call("video_status"):
    until = time.monotonic() + 60
    status = litellm.video_status(video_id=video.id, **where)
    while status.status not in ("completed", "failed") and time.monotonic() < until:
        time.sleep(0.2)
        status = litellm.video_status(video_id=video.id, **where)
    assert status.status == "completed", status
with call("video_content"):
    assert litellm.video_content(video_id=video.id, **where)[4:8] == b"ftyp"
with call("a refusal says why"):
    try:
        litellm.video_generation(model="sora-2", prompt="a boat", seconds="99", **where)
    except Exception as error:
        assert "at most 15 seconds" in str(error), error
    else:
        raise AssertionError("it was taken")
with call("create_file, create_batch, retrieve_batch, file_content"):
    line = {"custom_id": "r-0", "method": "POST", "url": "/v1/videos", "body": {"prompt": "a kite"}}
    upload = ("requests.jsonl", json.dumps(line).encode())
    file = litellm.create_file(file=upload, purpose="batch", **door)
    batch = litellm.create_batch(
        input_file_id=file.id, endpoint="/v1/videos", completion_window="24h", **door
    )
    until = time.monotonic() + 60
    while batch.status != "completed" and time.monotonic() < until:
        time.sleep(0.2)
        batch = litellm.retrieve_batch(batch_id=batch.id, **door)
    assert "r-0" in litellm.file_content(file_id=batch.output_file_id, **door).text
