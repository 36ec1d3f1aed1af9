"""Celery on Redis (append-only file on): a message per poll, retried until the video is there."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

import celery
import redis

from benchmarks._peers.question import poll

PORT_VARIABLE = "RUSHES_BENCH_REDIS_PORT"
PROCESSES = os.cpu_count() or 1
_DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
_LEAN = (
    *("--concurrency", str(PROCESSES), "--loglevel", "CRITICAL"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)

app = celery.Celery("benchmarks._peers.with_celery")
app.conf.update(
    broker_url=f"redis://127.0.0.1:{os.environ.get(PORT_VARIABLE, '0')}/0",
    result_backend=f"redis://127.0.0.1:{os.environ.get(PORT_VARIABLE, '0')}/1",
    task_acks_late=True,
    worker_prefetch_multiplier=8,
    broker_connection_retry_on_startup=True,
)


@app.task(bind=True, max_retries=None, name="follow")
def follow(self: Any, base_url: str, remote_task_id: str) -> str:
    """One poll; the next one is a new message."""
    video_url = poll(base_url, remote_task_id)
    if video_url is None:
        raise self.retry(countdown=0)
    return video_url


def main(base_url: str, tasks: int) -> float:
    """Seconds from sending the first message to the last result; the worker is up before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, PORT_VARIABLE: str(port)}
    app.conf.update(broker_url=f"redis://127.0.0.1:{port}/0", result_backend=f"redis://127.0.0.1:{port}/1")
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, *_DURABLE],
            stdout=subprocess.DEVNULL,
        )
        worker = None
        try:
            _wait_for(lambda: redis.Redis(port=port).ping())
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "benchmarks._peers.with_celery", "worker", *_LEAN],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            _wait_for(lambda: app.control.ping(timeout=0.5))
            started = time.perf_counter()
            sent = [follow.delay(base_url, f"task-{number:06}") for number in range(tasks)]
            for each in sent:
                each.get(timeout=100, interval=0.01)
            return time.perf_counter() - started
        finally:
            if worker is not None:
                worker.terminate()
                worker.wait(timeout=20)
            server.terminate()
            server.wait(timeout=20)


def _wait_for(is_up: Any, seconds_max: float = 30.0) -> None:
    until = time.monotonic() + seconds_max
    while True:
        try:
            if is_up():
                return
        except Exception:
            if time.monotonic() > until:
                raise
        if time.monotonic() > until:
            raise TimeoutError("it did not come up")
        time.sleep(0.1)


if __name__ == "__main__":
    print(json.dumps({"seconds": main(sys.argv[2], int(sys.argv[3]))}))
