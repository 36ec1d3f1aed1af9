"""What the engine, the API and the dashboard's pages take among many rows, to what they take among few.

A tenth of the rows are open. The engine's own functions make them (`_year`), some thousands a second:
`ROWS=10000000 DIALECTS=sqlite python -m benchmarks rows` takes an hour and some 12 GB, the default a tenth.
The `year` proof measures the same before and after it prunes.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from proofs.api_site import free_port, new_key, serve
from proofs.processes import Site

from benchmarks import _year as year
from benchmarks._dashboard import SECRET, every_page
from benchmarks._installation import analyze, fresh_database, median, percentile, postgresql_server
from benchmarks.machines import CLAIMED, RUNS, adopt_seconds, claim_seconds, settle_seconds
from benchmarks.report import write_section
from rushes.store.database import Database

FEW = 100_000
MANY = int(os.environ.get("ROWS", "1000000"))
DIALECTS = tuple(os.environ.get("DIALECTS", "sqlite postgresql").split())
OPEN_SHARE = 0.1
SLOWER_MAX = 1.3
READ_MS_MAX = 50.0
READS = 40
SETTLED = 100
"""In a group; twice as many are adopted at a time."""

PAGES = [
    "overview",
    "batches",
    "search",
    "wall",
    "table",
    "failures",
    "credits",
    "events",
    "item",
    "accounts",
    "account",
    "month",
    "deliveries",
    "system",
]
ACCOUNT = f"account {year.ACCOUNTS - 1}"

Times = dict[str, list[float]]
"""What was done, and the milliseconds of each time."""


def run(
    *,
    few: int = FEW,
    many: int = MANY,
    dialects: tuple[str, ...] = DIALECTS,
    settled: int = SETTLED,
    reads: int = READS,
) -> dict[str, Any]:
    """Print the table and write the section `rows`; returns it. All times are milliseconds."""
    data: dict[str, Any] = {"few": few, "many": many}
    with postgresql_server() as uri:
        for dialect in dialects:
            found = []
            for rows in (few, many):
                with fresh_database(dialect, server_uri=uri) as database:
                    found.append(measured(database, made(database, rows), settled=settled, reads=reads))
            data[dialect] = compared(*found)
            _print(f"{dialect}, {few:,} and {many:,} rows", data[dialect])
    write_section("rows", data)
    return data


def made(database: Database, rows: int) -> year.Year:
    """So many tasks, of which a tenth are open."""
    history = year.Year(database, year.BATCH_TASKS)
    opened = int(rows * OPEN_SHARE)
    with year.hasty(database):
        history.make(rows - opened)
        history.open(opened)
    return history


def measured(database: Database, history: year.Year, *, settled: int = SETTLED, reads: int = READS) -> Times:
    """The engine's transactions, then reads of a service that runs on this database."""
    history.wait_to_be_claimed(CLAIMED * RUNS)
    analyze(database)
    engine = {
        f"claim {CLAIMED} tasks": claim_seconds(database),
        f"settle {settled} tasks": settle_seconds(database, settled),
        f"adopt {2 * settled} tasks": adopt_seconds(database, 2 * settled),
    }
    found = {what: [1000 * value for value in seconds] for what, seconds in engine.items()}
    url = database.url.render_as_string(hide_password=False)
    with _reading(url) as (api, pages):
        [batch] = api.get("/v1/batches?limit=1&status=partial").json()["data"]
        listed = {
            "GET batches": "/v1/batches?limit=100",
            "GET a batch": f"/v1/batches/{batch['batch_id']}",
            "GET its items": f"/v1/batches/{batch['batch_id']}/items",
            "GET ledger entries": "/v1/credits/ledger",
        }
        for what, path in listed.items():
            found[what] = _read(api, path, reads)
        paths = every_page(batch["batch_id"], ACCOUNT)
        for name in PAGES:
            found[f"GET page {name}"] = _read(pages, f"/dashboard{paths[name]}", reads)
    return found


@contextmanager
def _reading(database_url: str) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """A service, and clients with an account's key and with a session of the dashboard."""
    environment = {
        "RUSHES_DATABASE_URL": database_url,
        "RUSHES_DASHBOARD_SECRET": SECRET,
        "GRSAI_API_KEY": "benchmark",
    }
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder), environment) as site:
        key = new_key(site, credits=1, account=ACCOUNT)
        process, url = serve(site, free_port(), "--no-worker")
        options: dict[str, Any] = {"base_url": url, "trust_env": False, "timeout": 120}
        with (
            httpx2.Client(headers={"authorization": f"Bearer {key}"}, **options) as api,
            httpx2.Client(headers={"origin": url}, **options) as pages,
        ):
            signed_in = pages.post("/dashboard/sign-in", data={"secret": SECRET})
            assert signed_in.status_code == 303, signed_in.text
            yield api, pages
        process.stop()


def _read(client: httpx2.Client, path: str, reads: int) -> list[float]:
    """The first two warm up."""
    times = []
    for _ in range(reads + 2):
        started = time.perf_counter()
        answer = client.get(path)
        times.append(1000 * (time.perf_counter() - started))
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
    return times[2:]


def compared(few: Times, many: Times) -> dict[str, dict[str, float]]:
    """Medians, the 95th percentile among many rows, and the ratio of the medians."""
    return {
        what: {
            "few_ms": median(few[what]),
            "many_ms": median(many[what]),
            "many_p95_ms": percentile(many[what], 0.95),
            "ratio": median(many[what]) / median(few[what]),
        }
        for what in few
    }


def _print(title: str, found: dict[str, dict[str, float]]) -> None:
    print(f"  {title}; at most {SLOWER_MAX} x, and a read at most {READ_MS_MAX:g} ms (p95)")
    for what, row in found.items():
        late = what.startswith("GET") and row["many_p95_ms"] > READ_MS_MAX
        print(
            f"  {what:24} {row['few_ms']:8.1f} ms {row['many_ms']:8.1f} ms, p95 {row['many_p95_ms']:8.1f} ms,"
            f" {row['ratio']:5.2f} x: {'MISSED' if late or row['ratio'] > SLOWER_MAX else 'met'}",
            flush=True,
        )
