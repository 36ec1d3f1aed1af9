"""`callbacks`: forged and replayed callbacks change nothing, and cause no more polls than their time allows."""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pyreqwest.client import Client, ClientBuilder

from proofs.api_site import free_port, new_key, rows, serve
from proofs.processes import Site, wait_until
from proofs.result import ProofResult
from proofs.service import Service
from rushes.client import Client as RushesClient
from rushes.domain.callback_tokens import callback_token
from rushes.run.nudges import NUDGE_INTERVAL_SECONDS

TASKS = 10_000
"""How many callbacks."""

IN_FLIGHT = 20
AT_ONCE = 24
SECRET = "a-secret-of-the-proofs"
TABLES = (
    "accounts",
    "credit_lots",
    "batches",
    "batch_reservations",
    "batch_events",
    "task_resolutions",
    "ledger_entries",
    "video_tasks",
)
EXPECTED = {
    "replayed": (200,),
    "wrong signature": (404,),
    "another key": (404,),
    "another attempt": (200,),
    "no such task": (200,),
    "malformed body": (400, 422),
}
"""What each kind is answered: a token that is ours is taken, whatever became of its task."""

KINDS = tuple(EXPECTED)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Nothing more."""


def run(options: argparse.Namespace) -> ProofResult:
    """A service whose tasks are at a provider for an hour; then everybody says that they have ended."""
    result = ProofResult("callbacks")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rushes-proof-") as name:
        folder, port = Path(name), free_port()
        database_url = f"sqlite:///{folder / 'proof.db'}"
        environment = {
            "RUSHES_DATABASE_URL": database_url,
            "RUSHES_WEBHOOK_SECRET": SECRET,
            "RUSHES_BASE_URL": f"http://127.0.0.1:{port}",
            "GRSAI_API_KEY": "any",
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": "600",
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": "600",
        }
        knobs = ("render_seconds=3600",)
        with (
            Service(folder / "simulator", preset="calm", knobs=knobs, seed=options.seed) as provider,
            Site(folder / "site", {**environment, "GRSAI_HOST": provider.url}) as site,
        ):
            key = new_key(site, credits=1000)
            process, url = serve(site, port)
            with RushesClient(url, key) as client:
                client.create_batch([f"p{n}" for n in range(IN_FLIGHT)], model="sora-2")
            wait_until(
                lambda: len(_in_flight(database_url)) == IN_FLIGHT, "all tasks in flight", seconds_max=60
            )
            time.sleep(1.0)
            before, polls_before = _everything(database_url), provider.report().polls
            sending = time.monotonic()
            counts = asyncio.run(_send(url, _in_flight(database_url), options.tasks, options.seed))
            seconds = time.monotonic() - sending
            time.sleep(2 * NUDGE_INTERVAL_SECONDS)
            _compare(result, before, _everything(database_url))
            polls = provider.report().polls - polls_before
            polls_max = IN_FLIGHT * ((seconds + 4) / NUDGE_INTERVAL_SECONDS + 2)
            if not 0 < polls <= polls_max:
                result.differ([f"{polls} polls; at least one and at most {polls_max:.0f} were expected"])
            process.stop()
            result.differ(site.faults())
    for (kind, status), count in sorted(counts.items()):
        result.fact(f"{kind}: answered {status}", count)
        if status not in EXPECTED[kind]:
            result.differ([f"{count} callbacks with {kind} were answered {status}"])
    result.fact("polls that they caused", polls)
    result.fact("callbacks a second", sum(counts.values()) / seconds)
    result.headline = f"{sum(counts.values())} forged and replayed callbacks of {IN_FLIGHT} tasks"
    result.seconds = time.monotonic() - started
    return result


def _in_flight(database_url: str) -> list[dict[str, Any]]:
    return rows(
        database_url,
        "SELECT id, attempt, remote_task_id FROM video_tasks"
        " WHERE status = 'processing' AND remote_task_id IS NOT NULL ORDER BY id",
    )


def _everything(database_url: str) -> dict[str, list[dict[str, Any]]]:
    """All that is known of money and tasks, but for progress, which a poll may move."""
    return {
        table: [
            {**row, "progress": None} for row in rows(database_url, f"SELECT * FROM {table} ORDER BY 1, 2")
        ]
        for table in TABLES
    }


def _compare(
    result: ProofResult, before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]
) -> None:
    for table in TABLES:
        if before[table] != after[table]:
            result.differ([f"{table} has changed"])
    result.fact("rows compared before and after", sum(map(len, before.values())))


async def _send(url: str, tasks: list[dict[str, Any]], count: int, seed: int) -> Counter[tuple[str, int]]:
    """How each kind was answered."""
    chance = random.Random(seed)
    client = ClientBuilder().no_proxy().max_connections(AT_ONCE).build()
    at_once = asyncio.Semaphore(AT_ONCE)
    answers: Counter[tuple[str, int]] = Counter()

    async def one(number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        token, body = _forged(kind, chance.choice(tasks), chance)
        async with at_once:
            answers[kind, await _post(client, f"{url}/callbacks/grsai/{token}", body)] += 1

    await asyncio.gather(*(one(number) for number in range(count)))
    await client.close()
    return answers


async def _post(client: Client, url: str, body: bytes) -> int:
    request = client.post(url).header("content-type", "application/json").body_bytes(body).build()
    return (await request.send()).status


def _forged(kind: str, task: dict[str, Any], chance: random.Random) -> tuple[str, bytes]:
    key, task_id, attempt = SECRET.encode(), task["id"], task["attempt"]
    right = callback_token(key, task_id=task_id, attempt=attempt)
    status = chance.choice(('"succeeded"', '"failed"'))
    body = (
        f'{{"id":"{task["remote_task_id"]}","status":{status},"progress":100,'
        '"results":[{"url":"https://evil.example.com/v.mp4"}],"failure_reason":"error"}'
    ).encode()
    match kind:
        case "wrong signature":
            return right[:-1] + ("0" if right[-1] != "0" else "1"), body
        case "another key":
            return callback_token(b"another", task_id=task_id, attempt=attempt), body
        case "another attempt":
            return callback_token(key, task_id=task_id, attempt=attempt + 1 + chance.randrange(5)), body
        case "no such task":
            return callback_token(key, task_id=10**12 + chance.randrange(10**6), attempt=1), body
        case "malformed body":
            return right, chance.choice((b"{", b"[]", b"\xff", b"", b"null"))
        case _:
            return right, body
