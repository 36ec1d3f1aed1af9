"""What the benchmarks of the dashboard's pages work on: a service over a simulated provider, and chromium.

`serving()` starts `rushes serve` as a process of its own, also one of another checkout's interpreter, and
`Service` makes accounts and batches through the command line and the API, as users do.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from playwright.sync_api import Browser, BrowserContext, sync_playwright

CHROMIUM = shutil.which("chromium")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
MISSING = "missing"
"""The page that says that there is no such batch: a browser's console calls that an error."""

SECRET = "a-secret-of-the-benchmark"
WAIT_SECONDS_MAX = 900.0
QUICK = {
    "GRSAI_API_KEY": "benchmark",
    "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.2",
    "RUSHES_POLL_INTERVAL_MAX_SECONDS": "1",
    "RUSHES_DASHBOARD_SECRET": SECRET,
    "RUSHES_ALLOW_PRIVATE_URLS": "1",
    "RUSHES_CREDIT_VALUE": "0.05 CNY",
}


def every_page(batch_id: str, account: str) -> dict[str, str]:
    """The path of each page, by name; the batch is of the account, and its fourth item failed or not."""
    of_account = f"/accounts?account={quote(account)}"
    return {
        "overview": "/",
        "batches": "/batches",
        "new-batch": "/batches/new?text=a+boat&model=sora-2",
        "wall": f"/batches/{batch_id}",
        "table": f"/batches/{batch_id}/table",
        "failures": f"/batches/{batch_id}/failures",
        "credits": f"/batches/{batch_id}/credits",
        "events": f"/batches/{batch_id}/events",
        "retry": f"/batches/{batch_id}/retry?all=1",
        "item": f"/items/{batch_id}-3",
        "accounts": "/accounts",
        "account": of_account,
        "grant": "/accounts/grant",
        "month": f"{of_account}&month={datetime.now(UTC):%Y-%m}",
        "deliveries": "/deliveries",
        "delivery": "/deliveries/1",
        "review": "/review/unconfirmed",
        "search": "/batches?search=boat&sort=failed",
        "system": "/system",
        "pause": "/pause?provider=grsai",
        "prove": "/system/prove",
        "refund": f"/items/{batch_id}-3/refund",
        "cancel-chosen": f"/batches/cancel?batches={batch_id}",
        "part": "/?from=1790000000&to=1800000000",
        MISSING: "/batches/bat_none",
    }


@dataclass
class Service:
    """A running service, its folder and what starts it."""

    url: str
    folder: Path
    python: str
    environment: Mapping[str, str]

    @property
    def dashboard(self) -> str:
        """Where the pages are."""
        return f"{self.url}/dashboard"

    def command(self, *arguments: str) -> Any:
        """A command, and the document that it prints."""
        done = subprocess.run(
            [self.python, "-m", "rushes", *arguments, "--json"],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            check=True,
            text=True,
        )
        return json.loads(done.stdout)

    def account(self, name: str, credits: int) -> httpx2.Client:
        """An account with credits, and a client with its key."""
        self.command("credits", "grant", str(credits), "--account", name)
        key = self.command("keys", "create", "--account", name, "--rate-limit-per-min", "0")["key"]
        headers = {"authorization": f"Bearer {key}"}
        return httpx2.Client(base_url=self.url, headers=headers, trust_env=False, timeout=120)

    @staticmethod
    def made(client: httpx2.Client, items: Sequence[Mapping[str, Any]], name: str, **more: str) -> str:
        """Make a batch of that request id; returns its id."""
        made = client.post("/v1/batches", json={"items": list(items), "request_id": name, **more})
        made.raise_for_status()
        batch_id: str = made.json()["batch_id"]
        return batch_id

    def finished(
        self, client: httpx2.Client, items: Sequence[Mapping[str, Any]], name: str, **more: str
    ) -> str:
        """The same, and wait for the batch's end."""
        batch_id = self.made(client, items, name, **more)
        until = time.monotonic() + WAIT_SECONDS_MAX
        while client.get(f"/v1/batches/{batch_id}").json()["completed_at"] is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{name} was not finished after {WAIT_SECONDS_MAX:g} seconds")
            time.sleep(0.5)
        return batch_id


@contextmanager
def serving(
    folder: Path, provider: str, *, python: str = sys.executable, port: int = 0, **more: str
) -> Iterator[Service]:
    """A service in the folder, over the simulator at `provider`; it ends with the `with`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, **QUICK, "GRSAI_HOST": provider, **more}
    with subprocess.Popen(
        [python, "-m", "rushes", "serve", "--port", str(port), "--json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            if not said["ok"]:
                raise RuntimeError(said["message"])
            yield Service(said["url"], folder, python, environment)
        finally:
            process.terminate()


@contextmanager
def browsing() -> Iterator[Browser]:
    """Debian's chromium; raises `RuntimeError` where there is none."""
    if CHROMIUM is None:
        raise RuntimeError("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield browser
        browser.close()


def signed_in(browser: Browser, service: Service, **options: Any) -> BrowserContext:
    """A context of the browser in which somebody has signed in."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"{service.dashboard}/sign-in")
    page.fill("input[type=password]", SECRET)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda address: "sign-in" not in address)
    page.close()
    return context


def set_back(database: Path, days: int) -> None:
    """Set every time in a service's database back by so many days; the service must not run.

    The triggers that keep its ledger from being changed are put back in the end.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for column in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if column[1].endswith("_at_ms"):
                    set_it = f"UPDATE {table} SET {column[1]} = {column[1]} - ?"
                    connection.execute(set_it, (days * 86_400_000,))
        for _, sql in triggers:
            connection.execute(sql)


def load_average() -> float:
    """How many processes wanted a core in the last minute."""
    return round(os.getloadavg()[0], 1)
