"""What the proofs of the HTTP service share: `rushes serve` processes, their keys, and rows to compare."""

import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from proofs.processes import Process, Site, wait_until
from rushes.store.database import Database

START_SECONDS_MAX = 60.0


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(
    site: Site, port: int, *arguments: str, more: Mapping[str, str] | None = None
) -> tuple[Process, str]:
    """A `rushes serve` that answers, and its address."""
    process = site.start("serve", "--port", str(port), "--json", *arguments, more=more)
    url = f"http://127.0.0.1:{port}"
    wait_until(
        lambda: _is_alive(url) or not process.running, f"an answer from {url}", seconds_max=START_SECONDS_MAX
    )
    if not process.running:
        raise RuntimeError(f"rushes serve ended: {process.said()[-500:]}")
    return process, url


def _is_alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def new_key(site: Site, *, credits: int, account: str = "default") -> str:
    """A key without a limit, of an account that is given these credits."""
    key = site.document("keys", "create", "--account", account, "--rate-limit-per-min", "0")["key"]
    site.document("credits", "grant", str(credits), "--account", account)
    return str(key)


def rows(database_url: str, statement: str) -> list[dict[str, Any]]:
    """The rows of a query, read from outside of the service."""
    database = Database(database_url, inline=True)
    try:
        return database.run_reading(
            lambda connection: [dict(row._mapping) for row in connection.execute(text(statement))]
        )
    finally:
        database.close()
