"""`attack`: floods, smuggled requests, forged links and callbacks, and guessed secrets, over raw sockets."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from proofs import attack_forgery, attack_requests
from proofs.api_site import free_port, new_key, serve
from proofs.attack_floods import FAST, SLOW
from proofs.attack_probe import Probe
from proofs.processes import Site
from proofs.result import ProofResult
from rushes.client import Client

TASKS = 2000
"""How many forged links, forged callbacks and guessed secrets, of each."""

RSS_GROWTH_BYTES_MAX = 60 * 2**20
HEALTH_P99_SECONDS_MAX = 0.25
HEALTH_P99_TIMES_MAX = 5.0
"""`/healthz` may take either so long at most, or so many times as long as without the flood."""

SETTLE_SECONDS = 1.0

SECRETS = {
    "RUSHES_WEBHOOK_SECRET": "Webhook-7d1f0a93b5c2-proof",
    "RUSHES_WORKER_SECRET": "Worker-19ce84f02ab7-proof",
    "RUSHES_DASHBOARD_SECRET": "Dashboard-b83d1c5f9e60-proof",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long, and which."""
    parser.add_argument("--seconds", type=float, default=8.0, help="of each flood (default: %(default)s)")
    parser.add_argument(
        "--p99-seconds",
        type=float,
        default=HEALTH_P99_SECONDS_MAX,
        help="that /healthz may take, or 5 times as long as without the flood (default: %(default)s)",
    )
    parser.add_argument(
        "--only", nargs="*", default=None, help=f"floods: {', '.join([*FAST, *SLOW, 'streams'])}"
    )


def run(options: argparse.Namespace) -> ProofResult:
    """Serve, attack with one thing after another, and judge each."""
    result = ProofResult("attack")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rushes-proof-") as name:
        port = free_port()
        environment = {
            **SECRETS,
            "RUSHES_BASE_URL": f"http://127.0.0.1:{port}",
            "GRSAI_API_KEY": "any",
        }
        with Site(Path(name) / "site", environment) as site:
            key, other_key = new_key(site, credits=1000), new_key(site, credits=1000, account="other")
            process, url = serve(site, port, "--no-worker")
            attack = Attack(result, process.pid, port, key, options.seconds, options.p99_seconds)
            attack.warm_up(url, key)
            for flood in [*FAST, *SLOW] if options.only is None else options.only:
                if flood != "streams":
                    attack.flood(flood)
            if options.only is None or "streams" in options.only:
                with Client(url, key) as client:
                    batch_id = client.create_batch(["a"])["batch_id"]
                attack.during(
                    "streams", lambda: attack_requests.hold_streams(port, batch_id, key, options.seconds)
                )
                result.differ(attack_requests.stream_differences(port, url, other_key))
            result.differ(attack_requests.smuggling_differences(result, port))
            result.differ(attack_requests.order_differences(result, port))
            result.differ(attack_forgery.differences(result, port, SECRETS, options.tasks, options.seed))
            process.stop()
            result.differ(site.faults())
    result.headline = f"{attack.floods} floods, RSS +{attack.growth_max / 2**20:.0f} MB at most"
    result.seconds = time.monotonic() - started
    return result


class Attack:
    """One service under attack, and how it fared without."""

    def __init__(
        self, result: ProofResult, pid: int, port: int, key: str, seconds: float, p99_seconds: float
    ) -> None:
        self.result, self.pid, self.port, self.key, self.seconds = result, pid, port, key, seconds
        self.p99_seconds = p99_seconds
        self.floods = 0
        self.growth_max = 0
        self.rss_before = 0
        self.quiet_p99_seconds = 0.0

    def warm_up(self, url: str, key: str) -> None:
        """What is loaded with the first requests is none of the floods' doing."""
        with Client(url, key) as client:
            for _ in range(50):
                list(client.batches())
        with Probe(self.pid, "127.0.0.1", self.port) as probe:
            time.sleep(max(3.0, self.seconds / 2))
        self.quiet_p99_seconds = probe.p99_seconds
        self.rss_before = psutil.Process(self.pid).memory_info().rss
        self.result.fact(
            "quiet: RSS, /healthz p99", f"{self.rss_before / 2**20:.0f} MB, {_ms(probe.p99_seconds)}"
        )

    def flood(self, name: str) -> None:
        """One flood from a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "proofs.attack_floods", name, "127.0.0.1", str(self.port)],
            env={**os.environ, "ATTACK_KEY": self.key},
        )

        def wait() -> str:
            time.sleep(self.seconds)
            if process.poll() is not None:
                self.result.differ([f"{name}: the flood ended by itself with {process.returncode}"])
            return ""

        try:
            self.during(name, wait)
        finally:
            process.kill()
            process.wait()
        time.sleep(SETTLE_SECONDS)

    def during(self, name: str, act: Callable[[], str]) -> None:
        """Probe while `act()` runs, which says what it saw."""
        self.floods += 1
        with Probe(self.pid, "127.0.0.1", self.port) as probe:
            said = act()
        growth = probe.rss_bytes_max - self.rss_before
        self.growth_max = max(self.growth_max, growth)
        p99_max = max(self.p99_seconds, HEALTH_P99_TIMES_MAX * self.quiet_p99_seconds)
        self.result.fact(
            name, f"RSS {growth / 2**20:+.0f} MB, p99 {_ms(probe.p99_seconds)} of {len(probe.seconds)}{said}"
        )
        if growth > RSS_GROWTH_BYTES_MAX:
            self.result.differ([f"{name}: the memory grew by {growth / 2**20:.0f} MB"])
        if probe.p99_seconds > p99_max:
            self.result.differ([f"{name}: /healthz p99 {_ms(probe.p99_seconds)}, more than {_ms(p99_max)}"])
        if probe.failures:
            self.result.differ(
                [f"{name}: {len(probe.failures)} of {len(probe.seconds)} failed: {probe.failures[0]}"]
            )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
