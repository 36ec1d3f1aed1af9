"""Each call of a client is one line of JSON on stdout: whether it works, and why not."""

import contextlib
import json
import os
from collections.abc import Iterator

URL = os.environ["SERVICE_URL"]
KEY = os.environ["SERVICE_KEY"]


@contextlib.contextmanager
def call(name: str) -> Iterator[None]:
    """Report the block as a call of that name."""
    try:
        yield
    except Exception as error:
        print(json.dumps({"call": name, "why": f"{type(error).__name__}: {error}"[:300]}), flush=True)
    else:
        print(json.dumps({"call": name, "why": None}), flush=True)
