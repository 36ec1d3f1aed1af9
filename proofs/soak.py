"""`soak`: tenants come and go for hours; memory, descriptors, threads and tables stay as large as they were.

Each visit has a new key: a batch is made, watched over the event stream, downloaded, listed and counted, then the
key is revoked. Meanwhile webhooks are received, and finished batches are pruned with their videos every minute.
"""

import argparse
import itertools
import random
import secrets
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from proofs.api_site import free_port, new_key, rows, serve
from proofs.processes import Site
from proofs.result import ProofResult
from proofs.service import Service
from proofs.webhooks import Receiver
from rushes.client import Client
from rushes.domain.secrets import SECRET_RANDOM_BYTES, secret_from

TASKS = 20
"""In the batch of one visit."""

TENANTS = 6
VISITORS = 3
CREDITS = 10_000_000
SAMPLE_SECONDS = 10.0
PRUNE_SECONDS = 60.0
PRUNE_AGE = "120s"
VISIT_EVERY_SECONDS = 10.0, 20.0
"""From the start of a visitor's visit to that of the next: so the pace does not follow the machine's other work."""

VISIT_SECONDS_MAX = 300.0
WARM_UP_SHARE = 0.25
WINDOW_SHARE = 0.15
"""Medians of so much of the run, after the warm-up and at the end, are compared."""

GROWTH_MAX = 0.05
KEPT_FOR_GOOD = frozenset({"action_log", "api_keys", "folds", "folded_batches"})
"""Tables that only grow, by what is done: an act, a key, a prune, a batch that it folds. They are reported, and not judged."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long."""
    parser.add_argument("--minutes", type=float, default=120.0, help="(default: %(default)g)")


@dataclass
class _Samples:
    """What is measured again and again; bytes, counts."""

    series: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One more value."""
        self.series.setdefault(name, []).append(value)

    def grown(self, name: str) -> tuple[float, float]:
        """The medians after the warm-up and at the end."""
        values = self.series[name]
        first, window = int(len(values) * WARM_UP_SHARE), max(1, int(len(values) * WINDOW_SHARE))
        return statistics.median(values[first : first + window]), statistics.median(values[-window:])


class _Counting(Receiver):
    """Takes everything: what is signed by whom is proved by `webhooks` and `rotation`."""

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The answer's status."""
        self.count["taken"] += 1
        return 204


@dataclass
class _Visitors:
    """Tenants that come and go, in threads."""

    url: str
    admin_keys: Sequence[str]
    hook: str
    tasks: int
    folder: Path
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._come_and_go, daemon=True) for _ in range(VISITORS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let the visits under way end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(VISIT_SECONDS_MAX)

    def _come_and_go(self) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            next_at = time.monotonic() + self.random.uniform(*VISIT_EVERY_SECONDS)
            try:
                self._visit(number, self.admin_keys[number % len(self.admin_keys)])
                self.done["visits"] += 1
            except Exception as error:  # whatever a tenant is told is what this proof is about
                self.faults.append(f"visit {number}: {type(error).__name__}: {error}")
            self._stop.wait(max(0.0, next_at - time.monotonic()))

    def _visit(self, number: int, admin_key: str) -> None:
        folder = self.folder / f"visit-{number}"
        with Client(self.url, admin_key) as admin:
            made = admin.create_key(name=f"visit {number}", rate_limit_per_min=100_000)
            with Client(self.url, made["key"]) as tenant:
                batch = tenant.create_batch(
                    [f"visit {number}, take {take}" for take in range(self.tasks)], webhook_url=self.hook
                )
                ended = tenant.wait(batch["batch_id"], timeout_seconds=VISIT_SECONDS_MAX)
                self.done["tasks"] += ended["total_count"]
                manifest = tenant.download_all(batch["batch_id"], folder)
                self.done["files"] += len(manifest["files"])
                items = sum(1 for _ in tenant.items(batch["batch_id"]))
                entries = sum(1 for _ in tenant.ledger(batch_id=batch["batch_id"]))
            with self._counting:  # an addition that waits for its number would lose what others add meanwhile
                self.done += Counter({"items listed": items, "ledger entries listed": entries})
            admin.revoke_key(made["key_id"])
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def run(options: argparse.Namespace) -> ProofResult:
    """A service under visitors; sizes at the end against sizes after the warm-up."""
    result = ProofResult("soak")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rushes-proof-") as name:
        folder, receiver = Path(name), _Counting(free_port(), random.Random(options.seed))
        with (
            Service(
                folder / "simulator", preset="calm", knobs=("render_seconds=2",), seed=options.seed
            ) as provider,
            Site(folder / "site", _environment(provider, folder)) as site,
        ):
            keys = [new_key(site, credits=CREDITS, account=f"tenant-{n}") for n in range(TENANTS)]
            process, url = serve(site, free_port())
            receiver.up()
            visitors = _Visitors(
                url,
                keys,
                f"http://127.0.0.1:{receiver.port}/hook",
                options.tasks,
                folder,
                random.Random(options.seed),
            )
            samples = _Samples()
            _measure(site, psutil.Process(process.pid), samples, options.minutes * 60)
            visitors.end()
            receiver.down()
            process.stop()
            audit = site.document("audit")
            result.differ(f"audit: {violation}" for violation in audit["violations"])
            result.differ(site.faults())
    result.differ(visitors.faults)
    for what, count in sorted(visitors.done.items()):
        result.fact(what, count)
    result.fact("webhooks received", receiver.count.total())
    _judge(result, samples)
    result.headline = f"{options.minutes:g} minutes, {visitors.done['visits']} visits of {TENANTS} tenants"
    result.seconds = time.monotonic() - started
    return result


def _environment(provider: Service, folder: Path) -> dict[str, str]:
    return {
        "RUSHES_DATABASE_URL": f"sqlite:///{folder / 'soak.db'}",
        **provider.exports,
        "RUSHES_ALLOW_PRIVATE_URLS": "1",
        "RUSHES_WEBHOOK_SECRET": secret_from(secrets.token_bytes(SECRET_RANDOM_BYTES)),
        "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.5",
        "RUSHES_POLL_INTERVAL_MAX_SECONDS": "2",
    }


def _measure(site: Site, process: psutil.Process, samples: _Samples, seconds: float) -> None:
    """Until the time is over: a sample every ten seconds, a prune every minute."""
    url, archive = site.environment["RUSHES_DATABASE_URL"], site.folder
    ends, prunes = time.monotonic() + seconds, time.monotonic() + PRUNE_SECONDS
    tables = [row["name"] for row in rows(url, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    while time.monotonic() < ends:
        time.sleep(SAMPLE_SECONDS)
        samples.add("memory, MB", process.memory_info().rss / 1e6)
        samples.add("descriptors", process.num_fds())
        samples.add("threads", process.num_threads())
        samples.add("files on the disk", sum(1 for path in archive.rglob("*.mp4")))
        for table in tables:
            count = rows(url, f'SELECT count(*) AS count FROM "{table}"')[0]["count"]
            samples.add(f"rows of {table}", count)
        if time.monotonic() > prunes:
            prunes += PRUNE_SECONDS
            site.document("prune", "--older-than", PRUNE_AGE, "--with-videos")


def _judge(result: ProofResult, samples: _Samples) -> None:
    for name in samples.series:
        early, late = samples.grown(name)
        if not early and not late:
            continue
        growth = late / early - 1 if early else float("inf")
        result.fact(name, f"{early:,.1f} → {late:,.1f} ({growth:+.1%})")
        table = name.removeprefix("rows of ")
        if growth > GROWTH_MAX and late - early > 1 and table not in KEPT_FOR_GOOD:
            result.differ([f"{name} grew from {early:,.1f} to {late:,.1f}"])
