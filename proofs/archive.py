"""`archive`: files that are bad, late or elsewhere, and an archive that is away: stored whole, or why not."""

import argparse
import ctypes
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import av

from proofs.api_site import rows
from proofs.processes import wait_until
from proofs.result import ProofResult
from proofs.stage import WEATHER, Pace, Stage, stage
from rushes.simulator import TaskReport

TASKS = 946
FILE_BYTES_MAX = 1_000_000
FILES_SECONDS_MAX = 900.0

FAULTS = {
    "file_server_error": 0.12,
    "file_server_error_seconds": 25,
    "file_truncated": 0.06,
    "file_cut_body": 0.08,
    "file_html": 0.06,
    "file_empty": 0.06,
    "file_oversize": 0.06,
    "file_oversize_bytes": 3 * FILE_BYTES_MAX,
    "file_slow": 0.04,
    "file_slow_seconds": 2,
    "file_redirect": 0.06,
}
MILD = FAULTS | {
    "file_server_error_seconds": 3,
    **dict.fromkeys(("file_truncated", "file_html", "file_empty", "file_oversize"), 0),
}
"""Without the faults that are refused only after six tries, which take most of a minute."""

EXPIRY = {"file_expiry_seconds": 20, "file_server_error": 0.5, "file_server_error_seconds": 600}
"""For the last tasks: half of the files cannot be had before their links die."""

REASONS: Mapping[str, tuple[str, str]] = {
    "file_truncated": ("refused", "breaks off"),
    "file_html": ("refused", "text page"),
    "file_empty": ("refused", "empty"),
    "file_oversize": ("refused", f"more than {FILE_BYTES_MAX} bytes"),
    "file_redirect": ("refused", "must be an https URL"),
    "file_expired": ("expired", "HTTP 403"),
}
"""What must become of a file, by what the simulator says was wrong with its last answer."""

ROWS = (
    "SELECT f.*, t.remote_task_id FROM archived_files f JOIN video_tasks t ON t.id = f.task_id"
    " WHERE t.status = 'succeeded'"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many of the tasks have links that die, how long the archive is away, how many workers there are."""
    parser.add_argument("--expiring", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--away-seconds", type=float, default=20.0, help="default: %(default)s")
    parser.add_argument("--mild", action="store_true", help="leave out what takes long to be refused")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")


def run(options: argparse.Namespace) -> ProofResult:
    """All prompts but some with every fault, the archive away in between; then those whose links die."""
    with stage(
        "archive",
        options,
        database_url=None,
        pace=Pace(lease=5.0, render=2.0, in_flight_max=200),
        weather=(
            *WEATHER,
            *(f"{name}={value}" for name, value in (MILD if options.mild else FAULTS).items()),
        ),
        environment={
            "RUSHES_ARCHIVE_URL": "archive",
            "RUSHES_ARCHIVE_FILE_BYTES_MAX": str(FILE_BYTES_MAX),
        },
    ) as on:
        folder, prompts = on.site.folder / "archive", list(on.work.prompts)
        folder.mkdir()
        workers = on.start_workers(options.workers)
        on.work.prompts = prompts[: len(prompts) - options.expiring]
        on.work.accept(on.site.environment)
        _while_away(on, folder, options.away_seconds)
        _finish(on)
        if options.expiring:
            on.service.turn(**EXPIRY)
            on.work.prompts = prompts[len(prompts) - options.expiring :]
            on.work.accept(on.site.environment)
            _finish(on)
        on.finish(workers)
        _compare(on, folder)
        on.result.headline = f"{len(prompts)} prompts, files with every fault, an archive that was away"
        return on.result


def _while_away(on: Stage, folder: Path, seconds: float) -> None:
    """When some files are stored, put a file in the folder's place, for so long; both are swapped at once."""
    counts = partial(_states, on)
    wait_until(lambda: counts()["stored"] >= len(on.work.prompts) // 8, "stored files", seconds_max=120)
    in_its_place = folder.with_name("archive-away")
    in_its_place.write_text("the archive is away")
    _swap(folder, in_its_place)
    time.sleep(1)
    before = counts()["stored"]
    time.sleep(seconds)
    after = counts()
    _swap(folder, in_its_place)
    on.result.fact("seconds that the archive was away", seconds + 1)
    on.result.fact("· files waiting when it came back", after["due"])
    if after["stored"] > before + 16:  # those that were being recorded
        on.result.differ([f"{after['stored'] - before} files were stored in an archive that was away"])


def _swap(one: Path, other: Path) -> None:
    """Exchange two names in one step (renameat2, RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def _states(on: Stage) -> Counter[str]:
    found = rows(
        on.site.environment["RUSHES_DATABASE_URL"],
        "SELECT state, COUNT(*) AS n FROM archived_files GROUP BY state",
    )
    return Counter({row["state"]: int(row["n"]) for row in found})


def _finish(on: Stage) -> None:
    """Until no task is open and no file is due."""
    wait_until(
        lambda: on.peek.open_tasks() == 0 and _states(on)["due"] == 0,
        "the end of all tasks and files",
        seconds_max=FILES_SECONDS_MAX,
        every=0.5,
    )


def _compare(on: Stage, folder: Path) -> None:
    counted = on.compare(lossless=True)
    result = on.result
    found = rows(on.site.environment["RUSHES_DATABASE_URL"], ROWS)
    states = Counter(row["state"] for row in found)
    for state in ("stored", "refused", "expired"):
        result.fact(f"files {state}", states[state])
    if len(found) != counted.succeeded:
        result.differ([f"{counted.succeeded} successes have {len(found)} files"])
    told = {task.id: task for task in on.service.report().tasks or ()}
    became: Counter[str] = Counter()
    for row in found:
        task = told.get(row["remote_task_id"])
        if task is None:
            result.differ([f"file {row['task_id']} is of no task of the provider"])
            continue
        became[f"{row['state']}: {task.file_fault or 'a whole file'}"] += 1
        result.differ(_differences(row, task, folder))
    for what, count in sorted(became.items()):
        result.fact(f"· {what}", count)
    faults = on.service.report().faults
    result.fact(
        "bad answers to requests for files", sum(n for name, n in faults.items() if name.startswith("file_"))
    )
    kept = {
        folder / row[name]
        for row in found
        for name in ("video_key", "thumbnail_key", "poster_key")
        if row[name]
    }
    there = {path for path in folder.rglob("*") if path.is_file()}
    result.differ(f"{path.name} is in the archive and belongs to nothing" for path in there - kept)
    result.differ(f"{path.name} is not in the archive" for path in kept - there)
    verified = on.site.document("archive", "verify")
    result.fact("videos hashed again by `rushes archive verify`", verified["checked"])
    if not verified["ok"] or verified["checked"] != states["stored"]:
        result.differ([f"archive verify: {verified}"])
    for name, count in on.site.events(("archive.failed", "archive.trouble")).items():
        result.fact(f"log lines {name}", count)


def _differences(row: Mapping[str, Any], task: TaskReport, folder: Path) -> list[str]:
    """What is wrong about one file, by the simulator's account of it."""
    name = f"file {row['task_id']} ({task.file_fault or 'whole'})"
    if task.file_fault in ("", "file_slow"):
        if row["state"] != "stored":
            return [f"{name} is {row['state']}: {row['reason']}"]
        return [f"{name}: {what}" for what in _wrong_with(folder / row["video_key"], row, task)]
    state, reason = REASONS.get(task.file_fault, ("stored", ""))
    if row["state"] != state or reason not in (row["reason"] or ""):
        return [f"{name} is {row['state']} ({row['reason']}), not {state} ({reason})"]
    if task.file_fault == "file_redirect" and task.downloads != 1:
        return [f"{name} was asked for {task.downloads} times"]
    return []


def _wrong_with(path: Path, row: Mapping[str, Any], task: TaskReport) -> list[str]:
    """Whether the object is the very file, as it was recorded, and plays from its beginning to its end."""
    content = path.read_bytes()
    checks: dict[str, Callable[[], bool]] = {
        "its size is another": lambda: len(content) == row["bytes"],
        "its hash is another": lambda: hashlib.sha256(content).hexdigest() == row["sha256"],
        "it is another task's": lambda: content.endswith(f"rushes simulator, task {task.id}".encode()),
        "it does not play": lambda: _frames(path) == 48,
    }
    return [what for what, is_right in checks.items() if not is_right()]


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
