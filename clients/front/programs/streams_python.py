"""httpx-sse, and the decoder of OpenAI's SDK, on a batch's events."""

import json

import httpx
from _report import KEY, URL, call
from httpx_sse import connect_sse
from openai._streaming import SSEDecoder

http = httpx.Client(base_url=URL, headers={"x-api-key": KEY}, timeout=60)
made = http.post("/v1/batches", json={"items": [{"prompt": "a"}, {"prompt": "b"}]}).json()
path = f"/v1/batches/{made['batch_id']}/events"

with call("httpx-sse: every event to the end"):
    with connect_sse(http, "GET", path) as source:
        types = [event.json()["type"] for event in source.iter_sse()]
    assert types[-1] == "batch.succeeded", types
    assert types.count("video.succeeded") == 2, types
with call("httpx-sse: resume by Last-Event-ID"):
    with connect_sse(http, "GET", path, headers={"last-event-id": "1"}) as source:
        later = [event.json()["type"] for event in source.iter_sse()]
    assert later == types[1:], later
with call("openai's decoder: every event to the end"):
    with http.stream("GET", path) as response:
        events = [json.loads(each.data)["type"] for each in SSEDecoder().iter_bytes(response.iter_bytes())]
    assert events == types, events
