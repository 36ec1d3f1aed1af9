"""`webhooks`: a receiver that is down, then up, and a service killed in between: each event at least once."""

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from proofs.api_site import free_port, new_key, rows, serve
from proofs.processes import Site, wait_until
from proofs.result import ProofResult
from proofs.service import Service
from rushes.client import Client

TASKS = 200
SECRET = "a-secret-of-the-proofs"
DELIVERED_SECONDS_MAX = 240.0
DOWN_SECONDS = 3.0
"""How long the receiver stays down after the first delivery has failed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often the service is killed."""
    parser.add_argument("--kills", type=int, default=4, help="default: %(default)s")


@dataclass
class Receiver:
    """Verifies what it gets with the official library; now and then it takes an event and answers 500."""

    port: int
    chance: random.Random
    secret: str = ""
    documents: dict[str, set[str]] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    forged: int = 0
    _server: ThreadingHTTPServer | None = None

    def up(self) -> None:
        """Listen from now on."""
        receiver = self
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with lock:
                    status = receiver.take(dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The answer's status."""
        named = {name.lower(): value for name, value in headers.items()}
        try:
            Webhook(self.secret).verify(body.decode(), named)
        except WebhookVerificationError:
            self.forged += 1
            return 401
        name = named["webhook-id"]
        self.count[name] += 1
        # what the delivery was made with stays the same; the state of the item may have gone on
        document = json.loads(body)
        self.documents.setdefault(name, set()).add(document["type"])
        if self.chance.random() < 0.05:
            self.refused += 1
            return 500
        return 204

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def run(options: argparse.Namespace) -> ProofResult:
    """Start without a receiver, let it come, kill the service, replay what is left waiting."""
    result = ProofResult("webhooks")
    started = time.monotonic()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="rushes-proof-") as name:
        folder, port = Path(name), free_port()
        database_url = f"sqlite:///{folder / 'proof.db'}"
        environment = {
            "RUSHES_DATABASE_URL": database_url,
            "RUSHES_WEBHOOK_SECRET": SECRET,
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_LEASE_SECONDS": "3",
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.1",
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.5",
            "GRSAI_API_KEY": "any",
        }
        receiver = Receiver(free_port(), chance)
        knobs = ("render_seconds=2", "error=0.1")
        with (
            Service(folder / "simulator", preset="calm", knobs=knobs, seed=options.seed) as provider,
            Site(folder / "site", {**environment, "GRSAI_HOST": provider.url}) as site,
        ):
            key = new_key(site, credits=10 * options.tasks)
            process, url = serve(site, port)
            with Client(url, key, tries_max=10) as client:
                receiver.secret = client.webhook_secret()
                batch_id = client.create_batch(
                    [f"p{n}" for n in range(options.tasks)],
                    model="sora-2",
                    webhook_url=f"http://127.0.0.1:{receiver.port}/hook",
                )["batch_id"]
            wait_until(lambda: _tried(database_url) > 0, "a delivery that failed", seconds_max=60)
            time.sleep(DOWN_SECONDS)
            result.fact("deliveries that failed while it was down", _tried(database_url))
            receiver.up()
            for _ in range(options.kills):
                time.sleep(0.5 + chance.random() * 1.5)
                process.kill()
                process, url = serve(site, port)
            with Client(url, key, tries_max=10) as client:
                batch = client.wait(batch_id, timeout_seconds=DELIVERED_SECONDS_MAX)
                result.fact(
                    "tasks that succeeded, failed", f"{batch['succeeded_count']}, {batch['failed_count']}"
                )
                replayed = _deliver(client, database_url)
            process.stop()
            receiver.down()
            result.differ(site.faults())
            _compare(result, database_url, batch_id, receiver)
        result.fact("kills of the service", options.kills)
        result.fact("replayed by hand instead of waiting for the ladder", replayed)
    result.headline = f"{len(receiver.documents)} events of {options.tasks} tasks over {options.kills} kills"
    result.seconds = time.monotonic() - started
    return result


def _tried(database_url: str) -> int:
    (row,) = rows(database_url, "SELECT count(*) AS n FROM webhook_deliveries WHERE attempts > 0")
    return int(row["n"])


def _deliver(client: Client, database_url: str) -> int:
    """Wait until all is delivered; what failed twice, and would wait for minutes, is replayed."""
    replayed: set[str] = set()
    deadline = time.monotonic() + DELIVERED_SECONDS_MAX
    while True:
        (open_feeds,) = rows(
            database_url,
            "SELECT (SELECT count(*) FROM batch_events) - (SELECT count(*) FROM webhook_deliveries) AS n",
        )
        waiting: list[Any] = [each for each in client.deliveries() if each["status"] != "delivered"]
        if not waiting and open_feeds["n"] == 0:
            return len(replayed)
        if time.monotonic() > deadline:
            return len(replayed)  # the comparison says what is missing
        for each in waiting:
            if each["attempts"] >= 2:
                client.replay_delivery(each["delivery_id"])
                replayed.add(each["delivery_id"])
        time.sleep(1.0)


def _compare(result: ProofResult, database_url: str, batch_id: str, receiver: Receiver) -> None:
    events = rows(database_url, "SELECT seq, type FROM batch_events ORDER BY seq")
    expected = {f"msg_{batch_id}_{row['seq']}": row["type"] for row in events}
    result.fact("events", len(expected))
    result.fact("requests received and verified", receiver.count.total())
    result.fact("events received more than once", sum(count > 1 for count in receiver.count.values()))
    result.fact("answered 500 on purpose", receiver.refused)
    result.differ(f"{name} never arrived" for name in expected.keys() - receiver.documents.keys())
    result.differ(f"{name} is no event" for name in receiver.documents.keys() - expected.keys())
    result.differ(
        f"{name} came as {kinds}, not {expected[name]}"
        for name, kinds in receiver.documents.items()
        if name in expected and kinds != {expected[name]}
    )
    if receiver.forged:
        result.differ([f"{receiver.forged} requests whose signature is wrong"])
