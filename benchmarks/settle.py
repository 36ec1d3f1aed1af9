"""Settling: tasks settled per second through the engine's committer, and by the same statements raw.

The engine's number carries final statuses, resolutions, ledger entries with their hashes, balances,
counters, finalized batches and events. The raw loop sends the same writes of the same rows through the
driver alone, with every value computed beforehand. Also: how long accepting 10,000 tasks takes.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import uvloop
from sqlalchemy import Connection, text

from benchmarks._installation import (
    CREDITS,
    SEED_WORKER,
    accept_tasks,
    fresh_database,
    median,
    new_tasks,
    now_ms,
    open_account,
    postgresql_server,
    require_settled,
    seed_in_flight,
)
from benchmarks.report import write_section
from rushes.domain.task import Succeeded
from rushes.files.due import recording_successes
from rushes.money.retry import retry_failed
from rushes.providers.base import RESULT_LINK_SECONDS
from rushes.run.commit import GROUP_TASKS_MAX, Committer
from rushes.store.database import Database

SETTLED_PER_S_MIN = {"sqlite": 15_000.0, "postgresql": 8_000.0}
RATIO_TO_RAW_MIN = 0.6
ACCEPT_TASKS = 10_000
ACCEPT_SECONDS_MAX = 1.0
TASKS = 20_000
ROUNDS = 3
DIALECTS = ("sqlite", "postgresql")


def run(*, tasks: int = TASKS, rounds: int = ROUNDS, accept: int = ACCEPT_TASKS) -> dict[str, Any]:
    """Print the table and write the section `settle`; returns it."""
    data: dict[str, Any] = {}
    with postgresql_server() as uri:
        for dialect in DIALECTS:
            found = [_round(dialect, uri, tasks=tasks, accept=accept) for _ in range(rounds)]
            data[dialect] = {name: median([each[name] for each in found]) for name in found[0]}
            _print(dialect, data[dialect], accept)
    write_section("settle", data)
    return data


def _print(dialect: str, found: dict[str, float], accept: int) -> None:
    for name, value, limit, met in (
        ("settled/s", found["settled_per_s"], SETTLED_PER_S_MIN[dialect], 1),
        ("ratio to raw", found["ratio_to_raw"], RATIO_TO_RAW_MIN, 1),
        (f"accept {accept} tasks, s", found["accept_seconds"], ACCEPT_SECONDS_MAX, -1),
    ):
        verdict = "met" if (value - limit) * met >= 0 else "MISSED"
        word = "at least" if met > 0 else "at most"
        print(f"  {dialect:10} {name:24} {value:10,.2f}  {word} {limit:,g}: {verdict}")
    print(f"  {dialect:10} {'raw settled/s':24} {found['raw_per_s']:10,.0f}")


def _round(dialect: str, uri: str, *, tasks: int, accept: int) -> dict[str, float]:
    with fresh_database(dialect, server_uri=uri) as database:
        accepted = _accept_seconds(database, accept)
    with fresh_database(dialect, server_uri=uri) as database:
        seed_in_flight(database, tasks)
        raw = _raw_per_s(database, tasks)
    with fresh_database(dialect, server_uri=uri) as database:
        seed_in_flight(database, tasks)
        engine = uvloop.run(_engine_per_s(database, tasks))
        require_settled(database, tasks)
    return {
        "settled_per_s": engine,
        "raw_per_s": raw,
        "ratio_to_raw": engine / raw,
        "accept_seconds": accepted,
    }


def _accept_seconds(database: Database, count: int) -> float:
    items = new_tasks(count)
    account_id = database.run(open_account, "warm", count * CREDITS + CREDITS)
    database.run(accept_tasks, account_id, items[:1])
    started = time.perf_counter()
    database.run(accept_tasks, account_id, items)
    return time.perf_counter() - started


def _task_ids(database: Database) -> list[int]:
    def run(connection: Connection) -> list[int]:
        return [row[0] for row in connection.execute(text("SELECT id FROM video_tasks ORDER BY id"))]

    return database.run_reading(run)


def _video_url(task_id: int) -> str:
    return f"https://file.example.com/video/{task_id}.mp4"


async def _commit(committer: Committer) -> None:
    while True:
        await committer.commit_next()


async def _engine_per_s(database: Database, tasks: int) -> float:
    """Verdicts of all tasks through a `Committer`, which groups them and commits on its own thread.

    As a worker does by default, it also notes each success as a file to be fetched.
    """
    task_ids = _task_ids(database)
    committer = Committer(
        database,
        worker_id=SEED_WORKER,
        now_ms=now_ms,
        before_closing=recording_successes({"grsai": RESULT_LINK_SECONDS}, then=retry_failed),
    )
    running = asyncio.create_task(_commit(committer))
    started = time.perf_counter()
    for task_id in task_ids:
        committer.verdict(task_id, 1, Succeeded(_video_url(task_id)))
    await committer.flushed()
    seconds = time.perf_counter() - started
    running.cancel()
    if committer.settled_total != tasks:
        raise AssertionError(f"{committer.settled_total} of {tasks} settled")
    return tasks / seconds


# --- the same writes, raw -----------------------------------------------------------------------------

_UPDATE = """
    UPDATE video_tasks SET status = 'succeeded', progress = 100, video_url = v.url, error = NULL,
        failure_type = NULL, unconfirmed_at_ms = NULL, completed_at_ms = v.now
    FROM {rows} WHERE video_tasks.id = v.id AND {plus}video_tasks.attempt = 1
        AND {plus}video_tasks.status = 'processing' AND {plus}video_tasks.worker_id = 'seed'"""
_RESOLUTIONS = """
    INSERT INTO task_resolutions (task_id, batch_id, attempt, kind, credits, created_at_ms)
    SELECT id, batch_id, 1, 'settle', credits, now FROM {rows}"""
_LEDGER = """
    INSERT INTO ledger_entries (account_id, seq, type, delta, balance_after, batch_id, task_id, parts,
        description, created_at_ms, hash)
    SELECT account_id, seq, 'settle', 0, 0, batch_id, id, '[[1,10]]', '', now, hash FROM {rows}"""
_EVENTS = """
    INSERT INTO batch_events (batch_id, seq, type, task_id, created_at_ms)
    SELECT batch_id, event_seq, 'video.succeeded', id, now FROM {rows}"""
_TOTALS = (
    "UPDATE accounts SET held = held - {amount}, ledger_seq = ledger_seq + {count} WHERE id = {account}",
    "UPDATE batches SET processing_count = processing_count - {count},"
    " succeeded_count = succeeded_count + {count}, credits_settled = credits_settled + {amount}"
    " WHERE id = {batch}",
    "UPDATE batch_reservations SET settled = settled + {amount} WHERE batch_id = {batch}",
)
_COLUMNS = ("id", "batch_id", "account_id", "credits", "now", "seq", "event_seq", "url", "hash")
_TEXTS = ("url", "hash")


def _raw_rows(database: Database) -> list[list[Any]]:
    now = now_ms()

    def run(connection: Connection) -> list[list[Any]]:
        rows = connection.execute(
            text("SELECT id, batch_id, account_id, credits, item_index FROM video_tasks ORDER BY id")
        )
        return [
            [row[0], row[1], row[2], row[3], now, 1_000_000 + n, 1000 + row[4], _video_url(row[0]), "0" * 64]
            for n, row in enumerate(rows)
        ]

    return database.run_reading(run)


def _raw_per_s(database: Database, tasks: int) -> float:
    """Groups of at most GROUP_TASKS_MAX tasks of one batch each, a transaction each."""
    rows = _raw_rows(database)
    groups: dict[int, list[list[Any]]] = {}
    for row in rows:
        groups.setdefault(row[1], []).append(row)
    listed = [
        group[first : first + GROUP_TASKS_MAX]
        for group in groups.values()
        for first in range(0, len(group), GROUP_TASKS_MAX)
    ]
    encoded = [json.dumps(group) for group in listed]
    settle, close = _raw_postgresql(database) if database.dialect == "postgresql" else _raw_sqlite(database)
    started = time.perf_counter()
    for group, encoded_group in zip(listed, encoded, strict=True):
        settle(group, encoded_group)
    seconds = time.perf_counter() - started
    close()
    return tasks / seconds


_Settle = Callable[[Sequence[Sequence[Any]], str], None]


def _totals(group: Sequence[Sequence[Any]]) -> list[str]:
    facts = {
        "amount": sum(row[3] for row in group),
        "count": len(group),
        "account": group[0][2],
        "batch": group[0][1],
    }
    return [statement.format(**facts) for statement in _TOTALS]


def _raw_sqlite(database: Database) -> tuple[_Settle, Callable[[], None]]:
    assert database.sqlite_path is not None
    connection = sqlite3.connect(database.sqlite_path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    picks = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(_COLUMNS))
    source = f"(SELECT {picks} FROM json_each(:rows)) AS v"
    statements = [each.format(rows=source, plus="+") for each in (_UPDATE, _RESOLUTIONS, _LEDGER, _EVENTS)]

    def settle(group: Sequence[Sequence[Any]], encoded: str) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement, {"rows": encoded})
        for statement in _totals(group):
            connection.execute(statement)
        connection.execute("COMMIT")

    return settle, connection.close


def _raw_postgresql(database: Database) -> tuple[_Settle, Callable[[], None]]:
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(url)
    connection.execute("SET random_page_cost = 1.1")
    connection.execute("SET jit = off")
    picks = ", ".join(
        f"CAST(value ->> {i} AS {'text' if name in _TEXTS else 'bigint'}) AS {name}"
        for i, name in enumerate(_COLUMNS)
    )
    source = f"(SELECT {picks} FROM jsonb_array_elements(CAST(%(rows)s AS jsonb))) AS v"
    statements = [each.format(rows=source, plus="") for each in (_UPDATE, _RESOLUTIONS, _LEDGER, _EVENTS)]

    def settle(group: Sequence[Sequence[Any]], encoded: str) -> None:
        for statement in statements:
            connection.execute(statement, {"rows": encoded})
        for statement in _totals(group):
            connection.execute(statement)
        connection.commit()

    return settle, connection.close
