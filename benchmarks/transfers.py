"""Many things at once: the retry of a whole failed batch, exports, and downloads of a stored video.

Exports and downloads come from `rushes serve --no-worker`, in a process of its own on one core (see `api`).
Downloads alternate with those of the same file from a server that only sends it (`_plain_files`), on the same
core: eight `curl` at once, each fetching it several times on one connection.
"""

import asyncio
import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text

from benchmarks._installation import (
    SEED_WORKER,
    analyze,
    fresh_database,
    median,
    now_ms,
    postgresql_server,
    put_in_flight,
)
from benchmarks.api import Server, account, batch_of, on_first_core, own_core, serving
from benchmarks.report import write_section
from rushes.domain.task import Failed, FailureType, Succeeded, Verdict
from rushes.library import Rushes
from rushes.money.settle import Group, apply_group
from rushes.run.commit import GROUP_TASKS_MAX
from rushes.settings import Settings
from rushes.store.database import Database

ITEMS: Final = 10_000
BATCHES: Final = 10
VIDEO_BYTES: Final = 5_000_000
CURLS: Final = 8
FETCHES: Final = 20
ROUNDS: Final = 3
RETRY_SECONDS_MAX: Final = 1.0
EXPORTED_PER_S_MIN: Final = 50_000.0
EXPORT_GROWTH_MB_MAX: Final = 16.0
"""Of the server's resident memory, from the end of a first export on."""

SHARE_OF_PLAIN_MIN: Final = 0.8
VIDEO_KEY: Final = "bench/video.mp4"
FAILURE: Final = Failed("the model failed", FailureType.MODEL_ERROR)


def run(
    *,
    items: int = ITEMS,
    batches: int = BATCHES,
    video_bytes: int = VIDEO_BYTES,
    fetches: int = FETCHES,
    rounds: int = ROUNDS,
    dialects: tuple[str, ...] = ("sqlite", "postgresql"),
) -> dict[str, Any]:
    """Print the table and write the section `transfers`; returns it."""
    data: dict[str, Any] = {"items": items, "exported": items * batches, "video_bytes": video_bytes}
    with postgresql_server() as uri, own_core(), tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / VIDEO_KEY
        video.parent.mkdir()
        video.write_bytes(bytes(video_bytes))
        for dialect in dialects:
            with fresh_database(dialect, server_uri=uri) as database:
                url = database.url.render_as_string(hide_password=False)
                key = asyncio.run(account(url, credits=items * 20 * (batches + rounds + 1)))
                with serving(url, key, RUSHES_ARCHIVE_URL=folder) as server:
                    found = {
                        "retry_seconds": _retry_seconds(server, database, items, rounds),
                        **_exports(server, database, items, batches, rounds, video_bytes),
                        **_downloads(server, video, fetches, rounds),
                    }
            data[dialect] = found
            _print(dialect, found, items, batches)
    write_section("transfers", data)
    return data


def _print(dialect: str, found: dict[str, float], items: int, batches: int) -> None:
    retry = found["retry_seconds"]
    verdict = "met" if retry <= RETRY_SECONDS_MAX else "MISSED"
    print(
        f"  {dialect:10} retry of {items:,} failed items: {retry:.3f} s; at most {RETRY_SECONDS_MAX} s:"
        f" {verdict}"
    )
    for form in ("jsonl", "csv"):
        speed, growth = found[f"{form}_per_s"], found[f"{form}_growth_mb"]
        fast = "met" if speed >= EXPORTED_PER_S_MIN else "MISSED"
        flat = "met" if growth <= EXPORT_GROWTH_MB_MAX else "MISSED"
        print(
            f"  {dialect:10} export of {items * batches:,} items, {form}: {speed:,.0f}/s,"
            f" {found[f'{form}_per_cpu_s']:,.0f} per second of a core; at least {EXPORTED_PER_S_MIN:,.0f}/s:"
            f" {fast}; memory {growth:+.1f} MB, at most {EXPORT_GROWTH_MB_MAX:g}: {flat}"
        )
    share = found["downloads_to_plain"]
    verdict = "met" if share >= SHARE_OF_PLAIN_MIN else "MISSED"
    print(
        f"  {dialect:10} downloads by {CURLS} curl at once: {found['downloads_mb_per_s']:,.0f} MB/s, to a"
        f" plain server ({found['plain_mb_per_s']:,.0f} MB/s) {share:.2f} ×, server CPU"
        f" {found['downloads_cpu_share']:.0%}; at least {SHARE_OF_PLAIN_MIN} ×: {verdict}",
        flush=True,
    )


# --- finished batches -----------------------------------------------------------------------------------


def _new_batch(server: Server, items: int) -> str:
    return str(server.ask("POST", "/v1/batches", batch_of(items))["batch_id"])


def _in_flight(connection: Connection, batch_id: str) -> list[int]:
    row_id = connection.scalar(text("SELECT id FROM batches WHERE public_id = :id"), {"id": batch_id})
    waiting = text("SELECT id FROM video_tasks WHERE batch_id = :id AND status = 'pending' ORDER BY id")
    ids = [row[0] for row in connection.execute(waiting, {"id": row_id})]
    put_in_flight(connection, [int(row_id or 0)])
    return ids


def _end(database: Database, batch_id: str, *, succeeds: bool) -> None:
    """End all items of the batch that wait, as a worker does."""
    ids = database.run(_in_flight, batch_id)
    for first in range(0, len(ids), GROUP_TASKS_MAX):
        group = Group()
        for task_id in ids[first : first + GROUP_TASKS_MAX]:
            end: Verdict = Succeeded(f"https://file.example.com/{task_id}.mp4") if succeeds else FAILURE
            group.verdicts.append((task_id, 1, end))
        applied = database.run(apply_group, group, worker_id=SEED_WORKER, now_ms=now_ms())
        assert len(applied.settled) == len(group.verdicts)


def _retry_seconds(server: Server, database: Database, items: int, rounds: int) -> float:
    """`rushes batch retry` of a batch whose items have all failed, without its start."""
    batch_id = _new_batch(server, items)
    url = database.url.render_as_string(hide_password=False)
    settings = Settings.load({"RUSHES_DATABASE_URL": url}, env_file=None)

    async def retry() -> float:
        async with Rushes(settings) as rushes:
            started = time.perf_counter()
            retried = await rushes.retry(batch_id)
            seconds = time.perf_counter() - started
        assert retried["pending_count"] == items, retried
        return seconds

    found = []
    for _ in range(rounds):
        _end(database, batch_id, succeeds=False)
        analyze(database)
        found.append(asyncio.run(retry()))
    return median(found)


# --- exports --------------------------------------------------------------------------------------------


def _store_all(connection: Connection, video_bytes: int) -> None:
    connection.execute(
        text(
            "INSERT INTO archived_files (task_id, account_id, state, next_attempt_at_ms, link_dies_at_ms,"
            " video_key, bytes, sha256, width, height, duration_ms, stored_at_ms, created_at_ms)"
            " SELECT id, account_id, 'stored', 0, 0, :key, :bytes, :sha256, 720, 1280, 10000, :now, :now"
            " FROM video_tasks WHERE status = 'succeeded'"
        ),
        {"key": VIDEO_KEY, "bytes": video_bytes, "sha256": "0" * 64, "now": now_ms()},
    )


def _exports(
    server: Server, database: Database, items: int, batches: int, rounds: int, video_bytes: int
) -> dict[str, float]:
    """Of batches whose videos are all stored, one after the other, as each has 10,000 items at most."""
    ids = [_new_batch(server, items) for _ in range(batches)]
    for batch_id in ids:
        _end(database, batch_id, succeeds=True)
    analyze(database)
    database.run(_store_all, video_bytes)
    found: dict[str, float] = {}
    for form in ("jsonl", "csv"):
        heads = int(form == "csv")
        _export(server, ids[0], form)  # warm up
        start = most = server.process.memory_info().rss
        taken: list[tuple[float, float]] = []
        for _ in range(rounds):
            with server.timed(taken):
                for batch_id in ids:
                    rows, memory = _export(server, batch_id, form)
                    assert rows == items + heads, (batch_id, rows)
                    most = max(most, memory)
        found |= {
            f"{form}_per_s": items * batches / median([seconds for seconds, _ in taken]),
            f"{form}_per_cpu_s": items * batches / max(0.001, median([cpu for _, cpu in taken])),
            f"{form}_growth_mb": (most - start) / 1_000_000,
        }
    return found


def _export(server: Server, batch_id: str, form: str) -> tuple[int, int]:
    """The lines, and the most memory that the server had meanwhile."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    with contextlib.closing(connection):
        path = f"/v1/batches/{batch_id}/export?format={form}"
        connection.request("GET", path, headers={"x-api-key": server.key})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        lines, memory = 0, 0
        while chunk := answer.read(1 << 18):
            lines += chunk.count(b"\n")
            memory = max(memory, server.process.memory_info().rss)
    return lines, memory


# --- downloads ------------------------------------------------------------------------------------------


def _downloads(server: Server, video: Path, fetches: int, rounds: int) -> dict[str, float]:
    """In turns, as a machine's speed changes while others work on it. Of the newest batch's first video."""
    [batch] = server.ask("GET", "/v1/batches?limit=1")["data"]
    [item] = server.ask("GET", f"/v1/batches/{batch['batch_id']}/items?limit=1")["items"]
    megabytes = CURLS * fetches * video.stat().st_size / 1_000_000
    found = []
    with plain_server(video) as plain:
        for url in (item["video_url"], plain):
            _curls(url, 1, video)  # warm up
        for _ in range(rounds):
            taken: list[tuple[float, float]] = []
            with server.timed(taken):
                _curls(item["video_url"], fetches, video)
            started = time.perf_counter()
            _curls(plain, fetches, video)
            other = time.perf_counter() - started
            [(seconds, cpu)] = taken
            found.append(
                {
                    "downloads_mb_per_s": megabytes / seconds,
                    "downloads_cpu_share": cpu / seconds,
                    "plain_mb_per_s": megabytes / other,
                    "downloads_to_plain": other / seconds,
                }
            )
    return {name: median([each[name] for each in found]) for name in found[0]}


def _curls(url: str, fetches: int, video: Path) -> None:
    arguments = ["curl", "--silent", "--show-error", "--fail", "--write-out", "%{size_download}\n"]
    arguments += ["--output", os.devnull, url] * fetches
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE) for _ in range(CURLS)]
    for each in running:
        sizes = each.communicate(timeout=300)[0].split()
        assert each.returncode == 0, each.returncode
        assert sizes == [str(video.stat().st_size).encode()] * fetches, sizes


@contextmanager
def plain_server(video: Path) -> Iterator[str]:
    """The address of a server that sends the file for every path."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._plain_files", str(video)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        on_first_core(process.pid)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()
