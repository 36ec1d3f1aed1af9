"""How soon a video is settled, and stored, after its provider's callback.

`rushes serve` with its worker in one process, and with the worker in a process of its own. A witness stands
between the provider and the service and notes when each last callback leaves; the poll times that a schedule
would have chosen by itself are far later. Times are by one machine's clock, in milliseconds.
"""

import json
import sqlite3
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from proofs.api_site import free_port, new_key, serve
from proofs.processes import Site

from benchmarks._installation import median, percentile
from benchmarks.report import write_section
from rushes.client import Client
from rushes.simulator import SimulatorKnobs, running_simulator

TASKS = 200
SETTLED_MS_MAX = 300.0
STORED_MS_MAX = 2_000.0
PACE = 0.15
"""Of the real service's: its renders then take some 14 s, and the catalogue's first poll comes later."""

WAIT_SECONDS_MAX = 300.0
SECRET = "rushes-benchmark-0123456789-abcdef"


def run(*, tasks: int = TASKS, pace: float = PACE) -> dict[str, Any]:
    """Print the table and write the section `callbacks`; returns it."""
    data: dict[str, Any] = {"tasks": tasks}
    for name, apart in (("one process", False), ("API and worker apart", True)):
        data[name] = found = _measured(tasks, pace, apart=apart)
        for what, most in (("settled", SETTLED_MS_MAX), ("stored", STORED_MS_MAX)):
            p95 = found[f"{what}_p95_ms"]
            print(
                f"  {name:22} {what:8} median {found[f'{what}_median_ms']:6.0f} ms, p95 {p95:6.0f} ms;"
                f" at most {most:g}: {'met' if p95 <= most else 'MISSED'}",
                flush=True,
            )
        print(f"  {'':22} of {found['callbacks']} callbacks; {found['polls_per_task']:.2f} polls a task")
    write_section("callbacks", data)
    return data


def _measured(tasks: int, pace: float, *, apart: bool) -> dict[str, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(
            running_simulator(SimulatorKnobs(time_scale=pace, callback_progress=False))
        )
        port = free_port()
        left_at, witness_url = stack.enter_context(_witness(port))
        environment = {
            "RUSHES_DATABASE_URL": f"sqlite:///{folder / 'rushes.db'}",
            "GRSAI_HOST": provider.base_url,
            "GRSAI_API_KEY": "benchmark",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_BASE_URL": witness_url,
            "RUSHES_WEBHOOK_SECRET": SECRET,
        }
        site = stack.enter_context(Site(folder / "site", environment))
        key = new_key(site, credits=tasks * 10)
        process, url = serve(site, port, *(["--no-worker"] if apart else []))
        worker = site.start("worker") if apart else None
        with Client(url, key) as client:
            batch = client.create_batch([f"a paper boat, take {take}" for take in range(tasks)])
            client.wait(batch["batch_id"], timeout_seconds=WAIT_SECONDS_MAX)
        rows = _rows_once_stored(folder / "rushes.db", tasks)
        for each in filter(None, (worker, process)):
            each.stop()
        polls = provider.report().polls
    lags = [(done - left_at[name], stored - left_at[name]) for name, done, stored in rows if name in left_at]
    settled, stored = ([lag[i] for lag in lags] for i in (0, 1))
    return {
        "callbacks": len(lags),
        "polls_per_task": polls / tasks,
        "settled_median_ms": median(settled),
        "settled_p95_ms": percentile(settled, 0.95),
        "stored_median_ms": median(stored),
        "stored_p95_ms": percentile(stored, 0.95),
    }


def _rows_once_stored(path: Path, tasks: int) -> list[tuple[str, float, float]]:
    """Remote id, when it was settled, when its video was stored; epoch milliseconds."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    with closing(sqlite3.connect(path)) as connection:
        while True:
            rows = connection.execute(
                "SELECT remote_task_id, completed_at_ms, stored_at_ms FROM video_tasks JOIN archived_files"
                " ON archived_files.task_id = video_tasks.id WHERE stored_at_ms IS NOT NULL"
            ).fetchall()
            if len(rows) == tasks:
                return rows
            if time.monotonic() > until:
                raise AssertionError(f"only {len(rows)} of {tasks} videos were stored")
            time.sleep(0.2)


@contextmanager
def _witness(service_port: int) -> Iterator[tuple[Mapping[str, float], str]]:
    """What passes callbacks on to the service: when each task's last one left, and the witness's address."""
    left_at: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            left_at[json.loads(body)["id"]] = time.time() * 1000
            request = urllib.request.Request(f"http://127.0.0.1:{service_port}{self.path}", body)
            request.add_header("content-type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield left_at, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
