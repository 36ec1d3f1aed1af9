"""Claims: what one costs when nothing may be sent, with thousands of held batches and with none; and in turn.

A dispatcher with nothing to do asks again and again, with one statement (`count_waiting`). So what waits for
something else (a paused model, another provider, a limit that is reached) must cost it nothing, however much
it is.
"""

import time
from typing import Any

from sqlalchemy import Connection, text

from benchmarks._installation import (
    accept_tasks,
    analyze,
    fresh_database,
    median,
    new_tasks,
    now_ms,
    open_account,
    postgresql_server,
)
from benchmarks.report import write_section
from rushes.run.lane.fairness import claim_fairly
from rushes.store import workers
from rushes.store.database import Database
from rushes.store.tasks import turns

HELD_BATCHES = 20_000
ACCOUNTS = 500
RUNS = 40
EMPTY_MS_MAX = 5.0
DIALECTS = ("sqlite", "postgresql")
WORKER = "claimer"


def run(*, held: int = HELD_BATCHES, accounts: int = ACCOUNTS, runs: int = RUNS) -> dict[str, Any]:
    """Print the table and write the section `claims`; returns it. All times are milliseconds."""
    data: dict[str, Any] = {"held_batches": held, "accounts": accounts}
    with postgresql_server() as uri:
        for dialect in DIALECTS:
            with fresh_database(dialect, server_uri=uri) as database:
                data[dialect] = found = _measure(database, held, accounts, runs)
            for name, value in found.items():
                bound = f"  at most {EMPTY_MS_MAX:g}" if name.startswith("empty") else ""
                verdict = "" if not bound else ": met" if value <= EMPTY_MS_MAX else ": MISSED"
                print(f"  {dialect:10} {name.replace('_', ' '):44} {value:8.2f}{bound}{verdict}")
            ratio = found["empty_with_held_batches_ms"] / found["empty_with_nothing_waiting_ms"]
            print(f"  {dialect:10} {'empty with held batches to without any':44} {ratio:8.2f}")
    write_section("claims", data)
    return data


def _measure(database: Database, held: int, accounts: int, runs: int) -> dict[str, float]:
    database.run(
        workers.register,
        WORKER,
        host="here",
        pid=1,
        now_ms=now_ms(),
        lease_expires_at_ms=now_ms() + 3_600_000,
    )

    def empty_ms(*, in_flight_max: int | None = None) -> float:
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            waiting = database.run_reading(
                turns.count_waiting, "grsai", ["sora-2"], count_max=64, in_flight_max=in_flight_max
            )
            times.append((time.perf_counter() - started) * 1000)
            assert waiting <= 0
        return median(times)

    def claim_ms(expected: int, *, limit: int = 64) -> float:
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            claimed = database.run(
                claim_fairly,
                provider="grsai",
                worker_id=WORKER,
                limit=limit,
                now_ms=now_ms(),
                models=["sora-2"],
            )
            times.append((time.perf_counter() - started) * 1000)
            assert len(claimed) == expected
        return median(times)

    found = {"empty_with_nothing_waiting_ms": empty_ms()}
    for model, provider in (("paused-model", "grsai"), ("sora-2", "another")):
        database.run(wait_in_batches, held // 2, model=model, provider=provider, accounts=1)
    analyze(database)
    found["empty_with_held_batches_ms"] = empty_ms()
    database.run(wait_in_batches, held, model="sora-2", provider="grsai", accounts=accounts)
    analyze(database)
    found["empty_at_the_limit_in_flight_ms"] = empty_ms(in_flight_max=0)
    found[f"1_task_of_{accounts}_accounts_ms"] = claim_ms(1, limit=1)
    found[f"64_tasks_of_{accounts}_accounts_ms"] = claim_ms(64)
    return found


def wait_in_batches(
    connection: Connection, batches: int, *, model: str, provider: str, accounts: int
) -> None:
    """So many one-item batches that wait at the provider, of so many accounts, by plain SQL."""
    account_id = open_account(connection, f"{provider}-{model}", 10_000)
    batch_id = accept_tasks(connection, account_id, new_tasks(1))
    ids = [account_id]
    ids += [open_account(connection, f"{provider}-{model}-{n}", 1) for n in range(1, accounts)]
    series = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :count)"
    common = {"batch_id": batch_id, "count": batches, "first": ids[0], "accounts": accounts}
    connection.execute(
        text(
            f"{series} INSERT INTO batches (public_id, account_id, request_scope, request_id, request_hash,"
            " status, total_count, pending_count, created_at_ms)"
            " SELECT public_id || '-' || n, :first + n % :accounts, 'held', public_id || n, '', 'pending', 1,"
            " 1, created_at_ms FROM batches, series WHERE id = :batch_id"
        ),
        common,
    )
    connection.execute(
        text(
            "INSERT INTO video_tasks (batch_id, account_id, item_index, prompt, model, options, credits,"
            " status, provider, api_model, created_at_ms)"
            " SELECT b.id, b.account_id, 0, t.prompt, :model, t.options, 0, 'pending', :provider, :model,"
            " t.created_at_ms FROM batches b, video_tasks t WHERE b.id > :batch_id"
            " AND t.batch_id = :batch_id"
        ),
        {**common, "model": model, "provider": provider},
    )
    for sql in (
        "UPDATE video_tasks SET status = 'failed', error = '-', failure_type = 'unknown'"
        " WHERE batch_id = :batch_id",
        "UPDATE batches SET pending_count = 0, failed_count = 1 WHERE id = :batch_id",
    ):
        connection.execute(text(sql), common)
