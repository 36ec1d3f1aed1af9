"""OpenAI's Python SDK, as it comes."""

import json
import time
import warnings

import openai
from _report import KEY, URL, call

warnings.simplefilter("ignore")
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
door = openai.OpenAI(base_url=f"{URL}/openai/v1", api_key=KEY, max_retries=0)

with call("models.list"):
    assert "sora-2" in {model.id for model in client.models.list()}
with call("models.retrieve"):
    assert client.models.retrieve("sora-2").owned_by == "grsai"
with call("videos.create_and_poll"):
    video = client.videos.create_and_poll(
        model="sora-2", prompt="a boat", seconds="8", size="720x1280", poll_interval_ms=100
    )
    assert video.status == "completed", video
with call("videos.retrieve"):
    assert client.videos.retrieve(video.id).id == video.id
with call("videos.list"):
    assert video.id in {each.id for each in client.videos.list(limit=1)}
with call("videos.download_content"):
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"
with call("a refusal says why"):
    try:
        client.videos.create(model="sora-2", prompt="a boat", seconds="99")  # type: ignore[arg-type]
    except openai.UnprocessableEntityError as error:
        assert "at most 15 seconds" in str(error), error
        assert (error.code, error.param) == ("INVALID_INPUT", "seconds")
    else:
        raise AssertionError("it was taken")
with call("videos.remix says why not"):
    try:
        client.videos.remix(video.id, prompt="a red boat")
    except openai.APIStatusError as error:
        assert "no model here" in str(error), error
with call("videos.delete"):
    assert client.videos.delete(video.id).deleted
with call("files.create, batches.create, files.content"):
    lines = [
        {"custom_id": f"r-{n}", "method": "POST", "url": "/v1/videos", "body": {"prompt": f"kite {n}"}}
        for n in range(3)
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = door.files.create(file=("requests.jsonl", data), purpose="batch")
    batch = door.batches.create(input_file_id=file.id, endpoint="/v1/videos", completion_window="24h")
    until = time.monotonic() + 60
    while batch.status != "completed" and time.monotonic() < until:
        time.sleep(0.2)
        batch = door.batches.retrieve(batch.id)
    assert batch.output_file_id, batch
    results = [json.loads(line) for line in door.files.content(batch.output_file_id).text.splitlines()]
    assert [result["custom_id"] for result in results] == ["r-0", "r-1", "r-2"]
with call("batches.list, files.list, files.delete"):
    assert [each.id for each in door.batches.list()] == [batch.id]
    assert [each.id for each in door.files.list()] == [file.id]
    assert door.files.delete(file.id).deleted
