"""`rushes serve`: the HTTP API, and beside it a worker and the sender of webhooks."""

import sys
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.options import Json, LogLevel, Whole


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        Whole, Parameter(validator=Number(gte=0, lte=65535), help="0 takes any free one.")
    ] = 8000,
    no_worker: Annotated[
        bool, Parameter(name="--no-worker", negative=(), help="Serve only, beside `rushes worker` processes.")
    ] = False,
    log_level: Annotated[LogLevel, Parameter(help="Log lines from this level on.")] = "info",
    json: Json = False,
) -> None:
    """Serve the HTTP API, with a worker and operators' pages beside it.

    It runs until SIGTERM or Ctrl-C, which stop it cleanly within ten seconds. The pages are at /dashboard
    when RUSHES_DASHBOARD_SECRET is set.

    One process does it all on SQLite; with --no-worker any number of them share a PostgreSQL database
    with any number of workers. Make a key with `rushes keys create`. With --json the address is printed
    on stdout once it listens.
    """
    from rushes.cli.session import configure_logs, opened, run_async, stop_on_signals
    from rushes.cli.show import print_json, say
    from rushes.service import Service

    def ready(url: str, *, has_dashboard: bool, note: str) -> None:
        if json:
            print_json({"ok": True, "url": url, "worker": not no_worker, "dashboard": has_dashboard})
        else:
            say(f"rushes: serving on {url} (API under /v1, its documentation at /docs); Ctrl-C stops")
            say(f"rushes: {note}")

    async def run() -> None:
        async with opened(creates=True) as rushes:
            configure_logs(log_level, as_json=json or not sys.stderr.isatty())
            service = Service(rushes, with_worker=not no_worker)
            say_ready = partial(
                ready, has_dashboard=service.dashboard is not None, note=service.dashboard_note
            )
            with stop_on_signals() as stop:
                await service.run(host=host, port=port, stop=stop.event, ready=say_ready)

    run_async(run())
