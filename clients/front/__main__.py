"""`python -m clients.front`: every call of every client; exit code 1 when one fails.

`--write` writes the table into docs/api.md; without it the table there must be the one that was found.
"""

import argparse
import itertools
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.api.harness import SECRETS, RunningService, Tenant, eventually, running_service
from tests.harness import knobs

from clients.environments import ROOT, CannotBeInstalled, python_of
from clients.front import calls, node
from clients.front.calls import Call, Ground
from rushes.simulator import running_simulator

PAGE = ROOT / "docs" / "api.md"
START, END = "<!-- made by python -m clients.front --write -->", "<!-- end of the table -->"
DELIVERIES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all of them."""
    parser = argparse.ArgumentParser(prog="python -m clients.front")
    parser.add_argument("--write", action="store_true", help="write the table into docs/api.md")
    wants_to_write = parser.parse_args(arguments).write
    try:
        python = python_of("front")
    except CannotBeInstalled as error:
        print(f"skipped all clients: {error}")
        return 0
    try:
        of_node, why = node.installed(), None
    except CannotBeInstalled as error:
        of_node, why = None, str(error)
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as (service, posted):
        found = list(_all(service, posted, Ground(python, of_node, Path(folder), {})))
    for call in found:
        print(
            f"{'failed' if call.why else 'works'}  {call.client}: {call.name}"
            + (f": {call.why}" if call.why else "")
        )
    if why is not None:
        print(f"skipped the clients for Node: {why}")
    failed = sum(call.why is not None for call in found)
    print(f"{len(found) - failed} calls work, {failed} do not")
    if failed:
        return 1
    return _keep(_table(found), wants_to_write) if why is None else 0


@contextmanager
def _running(folder: Path) -> Iterator[tuple[RunningService, list[dict[str, Any]]]]:
    posted: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            posted.append({"headers": headers, "body": body, "port": self.server.server_port})  # type: ignore[attr-defined]
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {"RECEIVER": f"http://127.0.0.1:{server.server_port}/hook"}
    (folder / "receiver").write_text(environment["RECEIVER"])
    try:
        with (
            running_simulator(knobs(render_seconds=0.3)) as simulator,
            running_service(f"sqlite:///{folder / 'a.db'}", simulator.base_url) as service,
        ):
            yield service, posted
    finally:
        server.shutdown()
        server.server_close()


def _all(service: RunningService, posted: list[dict[str, Any]], ground: Ground) -> Iterator[Call]:
    numbers = itertools.count()

    def own() -> Ground:
        """The same for one program, with an account of its own."""
        next(numbers)
        return _with_account(ground, service.tenant(credits=1_000_000))

    (ground.work / "openapi.json").write_text(json.dumps(service.tenant().get("/openapi.json")))
    hooked = _with_webhooks(service, posted, ground)
    yield from calls.of_python(own(), "openai (Python)", "openai_python.py")
    yield from calls.of_python(own(), "litellm", "litellm_python.py")
    yield from calls.of_python(hooked, "webhook libraries (Python)", "webhooks_python.py")
    yield from calls.of_python(own(), "streams (Python)", "streams_python.py")
    yield from calls.of_openapi_python_client(own())
    if ground.node is None:
        return
    yield from calls.of_node(own(), "openai (Node)", "openai_node.mjs")
    yield from calls.of_node(hooked, "webhook libraries (Node)", "webhooks_node.mjs")
    yield from calls.of_node(own(), "streams (Node)", "streams_node.mjs")
    yield from calls.of_node(own(), "the earlier service's flow", "earlier_node.mjs")
    yield from calls.of_redocly(ground)
    yield from calls.of_openapi_typescript(ground)
    yield from calls.of_own_typescript(own())


def _with_account(ground: Ground, tenant: Tenant, **more: str) -> Ground:
    environment = {
        "SERVICE_URL": tenant.base_url,
        "SERVICE_KEY": tenant.key,
        "WORKER_SECRET": SECRETS["RUSHES_WORKER_SECRET"],
        "NO_PROXY": "127.0.0.1",
        **more,
    }
    return Ground(ground.python, ground.node, ground.work, environment)


def _with_webhooks(service: RunningService, posted: list[dict[str, Any]], ground: Ground) -> Ground:
    """An account whose batch has posted its webhooks, with what came."""
    tenant, place = service.tenant(), ground.work / "posted.json"
    tenant.finished(tenant.batch("a", webhook_url=(ground.work / "receiver").read_text())["batch_id"])
    eventually(lambda: len(posted), lambda count: count >= DELIVERIES)
    place.write_text(json.dumps(posted))
    secret = tenant.get("/v1/webhooks/secret")["secret"]
    return _with_account(ground, tenant, POSTED=str(place), WEBHOOK_SECRET=secret)


def _table(found: list[Call]) -> str:
    lines = ["| client | call | works |", "|---|---|---|"]
    lines += [f"| {call.client} | {call.name} | {'no' if call.why else 'yes'} |" for call in found]
    return "\n".join(lines)


def _keep(table: str, wants_to_write: bool) -> int:
    before, _, rest = PAGE.read_text().partition(START)
    kept, _, after = rest.partition(END)
    if wants_to_write:
        PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}")
    elif kept.strip() != table:
        print("docs/api.md has another table: run python -m clients.front --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
