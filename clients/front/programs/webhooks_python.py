"""The libraries of Standard Webhooks and of Svix for Python, with what the service posted."""

import json
import os
from pathlib import Path

from _report import call
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

posted = json.loads(Path(os.environ["POSTED"]).read_text())
secret = os.environ["WEBHOOK_SECRET"]

for name, kind in (("standardwebhooks", Webhook), ("svix", SvixWebhook)):
    with call(f"{name}: verify"):
        assert posted, "no webhook came"
        for each in posted:
            kind(secret).verify(each["body"].encode(), each["headers"])
    with call(f"{name}: refuse a changed body"):
        try:
            kind(secret).verify(b"{}", posted[0]["headers"])
        except Exception as error:
            assert "erification" in type(error).__name__, error
        else:
            raise AssertionError("it was taken")
