"""The package that openapi-python-client made from the service's document."""

import os
import sys
import time

sys.path.insert(0, os.environ["GENERATED"])

from _report import KEY, URL, call
from rushes_client import AuthenticatedClient
from rushes_client.api.batches import create_batch, get_batch
from rushes_client.api.videos import download_video
from rushes_client.models import BatchItem, NewBatch

client = AuthenticatedClient(base_url=URL, token=KEY)

with call("create_batch, with the smallest body"):
    body = NewBatch(items=[BatchItem(prompt="a boat")])
    made = create_batch.sync(client=client, body=body)
    assert made.total_count == 1, made
with call("get_batch"):
    until = time.monotonic() + 60
    while (found := get_batch.sync(made.batch_id, client=client)).completed_at is None:
        assert time.monotonic() < until, found
        time.sleep(0.2)
    assert found.succeeded_count == 1, found
with call("download_video"):
    file = download_video.sync(f"{made.batch_id}-0", client=client)
    assert file.payload.read()[4:8] == b"ftyp", file
