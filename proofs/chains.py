"""`chains`: items that start from each other's last frame, with kills and moderation; what is left is joined."""

import argparse
import asyncio
import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import msgspec

from proofs.chromium import played
from proofs.postgresql import running_postgresql
from proofs.processes import Process, wait_until
from proofs.result import ProofResult
from proofs.stage import START_SECONDS_MAX, Pace, Stage, Work, stage
from rushes.domain.task import CHAIN_BROKEN
from rushes.files.chains.last_frame import cut_last_frame
from rushes.library import Rushes
from rushes.settings import Settings

TASKS = 300
SHOTS: Final = 6
FRAMES: Final = 48
"""Of each clip of the simulator."""

AIM_SECONDS_MAX = 4.0
PAUSE_SECONDS_MAX = 1.5

MOMENTS: Final[Mapping[str, str]] = {
    "a clip's file was still to be fetched": "SELECT COUNT(*) FROM archived_files WHERE state = 'due'",
    "a file was stored, its frame was not cut": "SELECT COUNT(*) FROM last_frames f JOIN archived_files x"
    " ON x.task_id = f.task_id WHERE f.state = 'due' AND x.state = 'stored'",
    "a frame was given, its item was not claimed": "SELECT COUNT(*) FROM video_tasks WHERE status = 'pending'"
    " AND follows_index IS NOT NULL AND waits_for_frame = 0",
}
"""Where a chain may be caught between two steps."""

ROWS: Final = (
    "SELECT t.id, t.item_index, t.custom_id, t.status, t.attempt, t.credits, t.error, t.options,"
    " t.dispatched_at_ms, t.follows_index, t.prompt, x.state, x.video_key, x.stored_at_ms, b.public_id"
    " FROM video_tasks t JOIN batches b ON b.id = t.batch_id"
    " LEFT JOIN archived_files x ON x.task_id = t.id ORDER BY t.item_index"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many kills, and where."""
    parser.add_argument("--kills", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--postgresql", action="store_true", help="three workers on a server of its own")


@dataclass(slots=True)
class ChainWork(Work):
    """One batch of chains."""

    def items(self) -> list[dict[str, str]]:
        """Six shots a chain, each but the first from the last frame of the one before."""
        found: list[dict[str, str]] = []
        for number, prompt in enumerate(self.prompts):
            chain, shot = divmod(number, SHOTS)
            item = {"prompt": f"{prompt}, chain {chain}, shot {shot}", "model": self.models[0]}
            item["custom_id"] = f"c{chain}-{shot}"
            if shot:
                item["first_frame"] = f"@c{chain}-{shot - 1}.last_frame"
            found.append(item)
        return found


def run(options: argparse.Namespace) -> ProofResult:
    """On SQLite with one worker, or on PostgreSQL with three."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_postgresql()).new_database() if options.postgresql else None
        on = stack.enter_context(
            stage(
                "chains",
                options,
                database_url=url,
                pace=Pace(in_flight_max=100),
                models=("veo-flash",),
                environment={"RUSHES_ARCHIVE_URL": "archive", "RUSHES_ALLOW_PRIVATE_URLS": "1"},
            )
        )
        prompts = on.work.prompts[: len(on.work.prompts) // SHOTS * SHOTS]
        on.work = ChainWork(prompts, on.work.folder, on.work.models)
        on.work.accept(on.site.environment)
        killed = _kill(on, options.kills, count=3 if options.postgresql else 1)
        on.finish_with_a_last_worker()
        on.compare(lossless=False)
        chains = _chains(on)
        _compare(on, chains)
        _join(on, [chain for chain in chains if all(row.status == "succeeded" for row in chain)])
        where = "PostgreSQL, 3 workers" if options.postgresql else "SQLite"
        on.result.headline = f"{len(chains)} chains of {SHOTS}, {killed} kills, {where}"
        return on.result


# --- kills ----------------------------------------------------------------------------------------------


def _kill(on: Stage, kills: int, *, count: int) -> int:
    """Kill a worker that often while there is work, when a chain is between two steps or at any moment."""
    workers = on.start_workers(count)
    killed, met = 0, Counter[str]()
    while killed < kills and on.peek.open_tasks() != 0:
        worker = on.random.choice(workers)
        if on.random.random() < 0.25:
            time.sleep(on.random.uniform(0.0, PAUSE_SECONDS_MAX))
        else:
            _wait_for(on, on.random.choice(list(MOMENTS.values())))
        if not worker.kill():
            break  # it has ended by itself: its faults are named
        killed += 1
        met.update(what for what, query in MOMENTS.items() if on.peek.number(query))
        workers[workers.index(worker)] = on.site.start("worker")
        _wait_for_lease(on, workers)
    on.result.fact("kills", killed)
    for what in MOMENTS:
        on.result.fact(f"· when {what}", met[what])
    on.finish(workers)
    return killed


def _wait_for(on: Stage, query: str) -> None:
    deadline = time.monotonic() + AIM_SECONDS_MAX
    while time.monotonic() < deadline and not on.peek.number(query):
        time.sleep(0.002)


def _wait_for_lease(on: Stage, workers: Sequence[Process]) -> None:
    wait_until(
        lambda: all(on.peek.registered(worker.pid) or not worker.running for worker in workers),
        "a worker to register",
        seconds_max=START_SECONDS_MAX,
    )


# --- comparison -----------------------------------------------------------------------------------------


def _chains(on: Stage) -> list[list[Any]]:
    rows = on.peek.rows(ROWS)
    return [list(rows[start : start + SHOTS]) for start in range(0, len(rows), SHOTS)]


def _compare(on: Stage, chains: Sequence[Sequence[Any]]) -> None:
    """Each chain is clips, then at most one failure, then a tail that was refunded and never sent."""
    result = on.result
    folder = on.site.folder / "archive"
    refunds = Counter(
        row[0] for row in on.peek.rows("SELECT task_id FROM task_resolutions WHERE kind = 'refund'")
    )
    shas = {row[0]: row[1] for row in on.peek.rows("SELECT public_id, sha256 FROM uploads")}
    arrived = {prompt.prompt for prompt in on.service.report().prompts or () if prompt.submits}
    whole = tails = ended = 0
    for chain in chains:
        made = [row for row in chain if row.status == "succeeded"]
        tail = [row for row in chain if (row.error or "").startswith(CHAIN_BROKEN)]
        whole += len(made) == SHOTS
        tails += bool(tail)
        ended += len(tail)
        shape = [*made, *chain[len(made) : SHOTS - len(tail)], *tail]
        if (
            shape != list(chain)
            or len(made) + len(tail) not in (SHOTS, SHOTS - 1)
            or (tail and len(made) + len(tail) == SHOTS and made[-1].state == "stored")
        ):
            result.differ([f"chain {chain[0].custom_id}: {[(row.status, row.error) for row in chain]}"])
        result.differ(_of_tail(tail, refunds, arrived))
        result.differ(_of_links(chain, folder, shas))
    result.fact("chains whole / broken before their last shot", f"{whole} / {tails}")
    result.fact("items of tails, each refunded once and never sent", ended)
    frames = on.peek.number("SELECT COUNT(*) FROM last_frames WHERE state = 'given'")
    result.fact("last frames cut, kept and given", frames or 0)
    left = on.peek.number("SELECT COUNT(*) FROM last_frames WHERE state = 'due'")
    result.differ([f"{left} frames are still due"] if left else [])


def _of_tail(tail: Sequence[Any], refunds: Counter[int], arrived: set[str]) -> Iterator[str]:
    for row in tail:
        if refunds[row.id] != 1:
            yield f"{row.custom_id} was refunded {refunds[row.id]} times"
        if row.attempt != 0 or row.prompt in arrived:
            yield f"{row.custom_id} was sent, and ended as {row.error}"


def _of_links(chain: Sequence[Any], folder: Path, shas: Mapping[str, str]) -> Iterator[str]:
    """Each that was sent has the last frame of the stored file of the one before, and was sent after that."""
    for before, row in pairwise(chain):
        if not row.attempt:
            continue
        given = msgspec.json.decode(row.options)["first_frame"]
        if before.state != "stored" or row.dispatched_at_ms < before.stored_at_ms:
            yield f"{row.custom_id} was sent before the file of {before.custom_id} was stored"
        elif shas.get(given) != hashlib.sha256(cut_last_frame(folder / before.video_key)).hexdigest():
            yield f"{row.custom_id} did not start from the last frame of {before.custom_id}"


# --- the films ------------------------------------------------------------------------------------------


def _join(on: Stage, chains: Sequence[Sequence[Any]]) -> None:
    """One film of each whole chain, decoded to its last frame; the first one made by the command, and played."""
    result, copied = on.result, 0
    settings = Settings.load(
        on.site.environment | {"RUSHES_ARCHIVE_URL": str(on.site.folder / "archive")}, env_file=None
    )
    for number, chain in enumerate(chains):
        target, name = on.site.folder / f"film-{number}.mp4", chain[-1].custom_id
        if number == 0:
            command = ("batch", "join", chain[0].public_id, "--chain", name, "--out", target.name)
            said = on.site.document(*command)
        else:
            said = asyncio.run(_joined(settings, chain[0].public_id, target, name))
        copied += bool(said["is_copied"])
        wrong = _wrong_with(target)
        result.differ([f"the film of {name}: {wrong}"] if wrong else [])
    result.fact("films joined, each decoded to its last frame", len(chains))
    result.fact("· of copied streams", copied)
    if chains:
        seconds = played(on.site.folder / "film-0.mp4")
        result.fact(
            "seconds that chromium played of one", "there is no chromium" if seconds is None else seconds
        )
    else:
        result.differ(["no chain is whole: there is nothing to join"])


async def _joined(settings: Settings, batch_id: str, target: Path, name: str) -> dict[str, Any]:
    async with Rushes(settings) as rushes:
        return await rushes.join_chain(batch_id, target, chain=name)


def _wrong_with(path: Path) -> str | None:
    with av.open(str(path)) as container:
        times = [float(frame.time or 0.0) for frame in container.decode(video=0)]
    if len(times) != SHOTS * FRAMES:
        return f"{len(times)} frames, not {SHOTS * FRAMES}"
    return None if times == sorted(set(times)) else "its frames are out of order"
