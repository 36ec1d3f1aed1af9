"""`rotation`: the operator's and an account's secret are replaced under load: every signature and link holds."""

import argparse
import random
import secrets
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from proofs.api_site import free_port, new_key, serve
from proofs.processes import Site
from proofs.result import ProofResult
from proofs.service import Service
from proofs.webhooks import Receiver
from rushes.client import Client
from rushes.domain.secrets import SECRET_RANDOM_BYTES, secret_from

TASKS = 60
"""In each of the batches that are under way during the changes."""

LATE_SECONDS = 2.0
"""How long receivers go on with the old secret after each change."""

FINISH_SECONDS_MAX = 180.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """How often each secret is replaced."""
    parser.add_argument("--rotations", type=int, default=3, help="of each secret (default: %(default)s)")


@dataclass
class _Links:
    """Asks for every link that it was given, again and again, in a thread of its own."""

    links: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ask for each link once more, and stop."""
        self._stop.set()
        self._thread.join()
        self._ask_all()

    def _ask(self) -> None:
        while not self._stop.wait(0.2):
            self._ask_all()

    def _ask_all(self) -> None:
        for link in list(self.links):
            try:
                with urllib.request.urlopen(link, timeout=30) as answer:
                    answer.read()
                self.asked += 1
            except urllib.error.HTTPError as error:
                self.asked += 1
                self.broken.add(f"{link.rpartition('/')[0]}/…: HTTP {error.code}")
            except OSError:
                continue  # the service is being started again


def run(options: argparse.Namespace) -> ProofResult:
    """Batches with webhooks and files, while secrets change and the service starts again with the new ones."""
    result = ProofResult("rotation")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rushes-proof-") as name:
        folder, port = Path(name), free_port()
        receiver = Receiver(free_port(), random.Random(options.seed))
        environment = {
            "RUSHES_BASE_URL": f"http://127.0.0.1:{port}",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.1",
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.5",
            "GRSAI_API_KEY": "any",
        }
        knobs = ("render_seconds=1",)
        with (
            Service(folder / "simulator", preset="calm", knobs=knobs, seed=options.seed) as provider,
            Site(folder / "site", {**environment, "GRSAI_HOST": provider.url}) as site,
        ):
            site.environment["RUSHES_WEBHOOK_SECRET"] = _new_secret()
            key = new_key(site, credits=100 * options.tasks * (2 * options.rotations + 1))
            load = _Load(site, port, key, receiver, options.tasks)
            load.start_service()
            with Client(load.url, key) as client:
                receiver.secret = client.webhook_secret()
            receiver.up()
            for _ in range(options.rotations):
                load.add_batch()
                load.replace_the_operators_secret()
                load.add_batch()
                load.replace_the_accounts_secret()
            load.finish()
            receiver.down()
            result.differ(site.faults())
    result.fact("operator's secrets, account's secrets replaced", f"{options.rotations}, {options.rotations}")
    result.fact("webhooks received and verified", receiver.count.total())
    result.fact("of them with the secret before", load.late)
    result.fact("links, requests for them", f"{len(load.links.links)}, {load.links.asked:,}")
    if receiver.forged:
        result.differ([f"{receiver.forged} webhooks were not verified"])
    result.differ(f"broken link: {link}" for link in sorted(load.links.broken))
    if not load.links.links or not load.late:
        result.differ(["nothing was under way while a secret changed"])
    result.headline = f"{2 * options.rotations} secrets replaced under {receiver.count.total()} webhooks"
    result.seconds = time.monotonic() - started
    return result


def _new_secret() -> str:
    return secret_from(secrets.token_bytes(SECRET_RANDOM_BYTES))


class _Load:
    """The service and what is under way at it."""

    def __init__(self, site: Site, port: int, key: str, receiver: Receiver, tasks: int) -> None:
        self.site, self.port, self.key, self.receiver, self.tasks = site, port, key, receiver, tasks
        self.links = _Links()
        self.late = 0
        self.url = f"http://127.0.0.1:{port}"
        self._batch_ids: list[str] = []

    def start_service(self) -> None:
        """With the secrets of now."""
        self._process, self.url = serve(self.site, self.port)

    def add_batch(self) -> None:
        """One more batch is under way."""
        with Client(self.url, self.key) as client:
            made = client.create_batch(
                [f"p{len(self._batch_ids)}-{n}" for n in range(self.tasks)],
                model="sora-2",
                webhook_url=f"http://127.0.0.1:{self.receiver.port}/hook",
            )
        self._batch_ids.append(made["batch_id"])
        time.sleep(1.0)
        self._collect_links()

    def replace_the_operators_secret(self) -> None:
        """A start with a new secret and the one before, which receivers use a while longer."""
        environment = self.site.environment
        environment["RUSHES_WEBHOOK_SECRET_PREVIOUS"] = environment["RUSHES_WEBHOOK_SECRET"]
        environment["RUSHES_WEBHOOK_SECRET"] = _new_secret()
        self._process.stop()
        self.start_service()
        self._follow()

    def replace_the_accounts_secret(self) -> None:
        """The account asks for a new secret; its receivers use the one before a while longer."""
        request = urllib.request.Request(
            f"{self.url}/v1/webhooks/secret/rotate", b"", headers={"x-api-key": self.key}
        )
        with urllib.request.urlopen(request, timeout=30):
            pass
        self._follow()

    def finish(self) -> None:
        """Everything ends, and every link is asked for once more."""
        with Client(self.url, self.key, tries_max=10) as client:
            for batch_id in self._batch_ids:
                client.wait(batch_id, timeout_seconds=FINISH_SECONDS_MAX)
        time.sleep(2.0)
        self._collect_links()
        self.links.end()
        self._process.stop()

    def _follow(self) -> None:
        before = self.receiver.count.total()
        time.sleep(LATE_SECONDS)
        self.late += self.receiver.count.total() - before
        with Client(self.url, self.key) as client:
            self.receiver.secret = client.webhook_secret()
        self._collect_links()

    def _collect_links(self) -> None:
        with Client(self.url, self.key, tries_max=10) as client:
            for batch_id in self._batch_ids[-2:]:
                for item in client.items(batch_id):
                    link = item["video_url"]
                    if link is not None and link.startswith(f"{self.url}/files/"):
                        self.links.links.add(link)
