"""`duplicates`: each idempotency key sent many times at once makes one batch and one reservation."""

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from pathlib import Path

from proofs.api_site import free_port, new_key, rows, serve
from proofs.postgresql import running_postgresql
from proofs.processes import Site
from proofs.result import ProofResult
from rushes import AsyncClient
from rushes.store.database import Database
from rushes.store.migrations import migrate

TASKS = 1000
"""How many keys."""

KEYS_AT_ONCE = 4
CREDITS_EACH = 10
TIMEOUT_SECONDS = 120.0
TRIES_MAX = 30


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many duplicates, and where."""
    parser.add_argument("--duplicates", type=int, default=50, help="of each key (default: %(default)s)")
    parser.add_argument(
        "--only", choices=("sqlite", "postgresql"), default=None, help="one database instead of both"
    )


def run(options: argparse.Namespace) -> ProofResult:
    """One process on SQLite, then two processes on PostgreSQL."""
    result = ProofResult("duplicates")
    started = time.monotonic()
    if options.only != "postgresql":
        with tempfile.TemporaryDirectory(prefix="rushes-proof-") as folder:
            url = f"sqlite:///{Path(folder) / 'proof.db'}"
            database = Database(url)
            migrate.upgrade(database)
            database.close()
            _prove(result, options, "sqlite", url, processes=1)
    if options.only != "sqlite":
        with running_postgresql() as server:
            _prove(result, options, "postgresql", server.new_database(), processes=2)
    result.headline = f"{options.tasks} keys × {options.duplicates} duplicates"
    result.seconds = time.monotonic() - started
    return result


def _prove(
    result: ProofResult, options: argparse.Namespace, name: str, database_url: str, *, processes: int
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rushes-proof-") as folder,
        Site(Path(folder), {"RUSHES_DATABASE_URL": database_url}) as site,
    ):
        # credits for twice as many: a second reservation would be taken, not refused
        key = new_key(site, credits=2 * CREDITS_EACH * options.tasks)
        served = [serve(site, free_port(), "--no-worker") for _ in range(processes)]
        started = time.monotonic()
        seen = asyncio.run(_send([url for _, url in served], key, options.tasks, options.duplicates))
        seconds = time.monotonic() - started
        for process, _ in served:
            process.stop()
        result.differ(site.faults())
    _compare(result, name, database_url, options.tasks, options.duplicates, seen)
    result.fact(f"{name}: requests answered, {processes} process(es)", sum(map(len, seen.values())))
    result.fact(f"{name}: requests/s", sum(map(len, seen.values())) / seconds)


async def _send(urls: list[str], key: str, keys: int, duplicates: int) -> dict[str, list[tuple[str, bool]]]:
    """For each request id what each duplicate was answered: the batch, and whether it was a replay."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncClient(url, key, timeout_seconds=TIMEOUT_SECONDS, tries_max=TRIES_MAX)
            )
            for url in urls
        ]
        at_once = asyncio.Semaphore(KEYS_AT_ONCE)

        async def one(request_id: str, number: int) -> tuple[str, bool]:
            client = clients[number % len(clients)]
            made = await client.create_batch([{"prompt": f"for {request_id}"}], request_id=request_id)
            return made["batch_id"], made["idempotent_replay"]

        async def all_of(request_id: str) -> tuple[str, list[tuple[str, bool]]]:
            async with at_once:
                found = await asyncio.gather(*(one(request_id, number) for number in range(duplicates)))
                return request_id, list(found)

        return dict(await asyncio.gather(*(all_of(f"key-{number}") for number in range(keys))))


def _compare(
    result: ProofResult,
    name: str,
    database_url: str,
    keys: int,
    duplicates: int,
    seen: dict[str, list[tuple[str, bool]]],
) -> None:
    found = rows(
        database_url,
        "SELECT b.public_id, b.request_id, b.credits_reserved, (SELECT count(*) FROM ledger_entries e"
        " WHERE e.batch_id = b.id AND e.type = 'reserve') AS reservations FROM batches b",
    )
    (account,) = rows(database_url, "SELECT held FROM accounts WHERE name = 'default'")
    for what, is_so, expected in (
        ("batches", len(found), keys),
        ("reservations", sum(row["reservations"] for row in found), keys),
        ("credits held", account["held"], keys * CREDITS_EACH),
    ):
        result.fact(f"{name}: {what}", is_so)
        if is_so != expected:
            result.differ([f"{name}: {is_so} {what}, not {expected}"])
    for request_id, count in Counter(row["request_id"] for row in found).items():
        if count > 1:
            result.differ([f"{name}: {request_id} made {count} batches"])
    batch_of = {row["request_id"]: row["public_id"] for row in found}
    for request_id, answers in seen.items():
        if {batch_id for batch_id, _ in answers} != {batch_of.get(request_id)}:
            result.differ([f"{name}: {request_id} was answered with different batches"])
        new = sum(not is_replay for _, is_replay in answers)
        if new != 1 or len(answers) != duplicates:
            result.differ([f"{name}: {request_id}: {len(answers)} answers, {new} of them a new batch"])
