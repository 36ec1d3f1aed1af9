"""`rushes serve`: the HTTP API, and beside it a worker and the sender of webhooks."""

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.options import Json, LogLevel, Whole

if TYPE_CHECKING:
    from rushes.cli.commands.simulated.first_look import FirstLook
    from rushes.service import Service


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        Whole, Parameter(validator=Number(gte=0, lte=65535), help="0 takes any free one.")
    ] = 8000,
    no_worker: Annotated[
        bool, Parameter(name="--no-worker", negative=(), help="Serve only, beside `rushes worker` processes.")
    ] = False,
    demo: Annotated[
        bool,
        Parameter(
            negative=(),
            help="For a first look: sample batches over a simulated provider; nothing is kept.",
        ),
    ] = False,
    log_level: Annotated[LogLevel, Parameter(help="Log lines from this level on.")] = "info",
    json: Json = False,
) -> None:
    """Serve the HTTP API, with a worker and operators' pages beside it.

    It runs until SIGTERM, SIGHUP or Ctrl-C; then submits under way end, within RUSHES_STOP_SECONDS. The
    pages are at /dashboard when RUSHES_DASHBOARD_SECRET is set; / leads to them, or else to /docs.

    One process does it all on SQLite; with --no-worker any number of them share a PostgreSQL database
    with any number of workers. Make a key with `rushes keys create`. With --json the address is printed
    on stdout once it listens. With --demo it needs no key and no settings, and ends as if it had never been.
    """
    from rushes.cli.memory import long_lived
    from rushes.cli.session import run_async

    options = ServeOptions(host, port, with_worker=not no_worker, log_level=log_level, as_json=json)
    if not demo:
        run_async(long_lived(_serve(options, None)))
        return
    from rushes.cli.commands.simulated.first_look import first_look

    with first_look(host, port) as look:
        run_async(long_lived(_serve(options, look)))


class ServeOptions(NamedTuple):
    """Where and how to serve."""

    host: str
    port: int
    with_worker: bool
    log_level: LogLevel
    as_json: bool


async def _serve(options: ServeOptions, look: "FirstLook | None") -> None:
    from rushes.cli.session import configure_logs, opened, stop_on_signals
    from rushes.service import Service

    settings = None if look is None else look.settings
    async with opened(creates=True, settings=settings) as rushes:
        configure_logs(options.log_level, as_json=options.as_json or not sys.stderr.isatty())
        service = Service(rushes, with_worker=options.with_worker)
        key = None
        if look is not None:
            from rushes.cli.commands.simulated.first_look import add_sample_data

            key = await add_sample_data(rushes)
        with stop_on_signals() as stop:
            await service.run(
                host=options.host,
                port=options.port,
                stop=stop.event,
                ready=lambda url: _ready(url, options, service, look, key),
            )


def _ready(
    url: str, options: ServeOptions, service: "Service", look: "FirstLook | None", key: str | None
) -> None:
    """Say where it serves and what is missing; in the demonstration how to sign in, too."""
    from rushes.cli.show import print_json, say

    has_dashboard = service.dashboard is not None
    if options.as_json:
        document = {"ok": True, "url": url, "worker": options.with_worker, "dashboard": has_dashboard}
        if look is not None:
            document |= {"dashboard_secret": look.dashboard_secret, "api_key": key}
        print_json(document)
        return
    say(f"rushes: serving on {url} (API under /v1, its documentation at /docs); Ctrl-C stops")
    say(f"rushes: {service.dashboard_note}")
    if service.notice is not None:
        say(f"rushes: {service.notice}")
    if look is not None:
        if has_dashboard:
            say(f"rushes: sign in at {url}/dashboard with this secret: {look.dashboard_secret}")
        say(f"rushes: try the API: curl -H 'x-api-key: {key}' {url}/v1/batches")
        say("rushes: a simulated provider renders; nothing is bought, and nothing is kept when this ends")
