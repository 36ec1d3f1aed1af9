"""`proxy-cuts`: connections to PostgreSQL are cut, above all before, within and after a COMMIT."""

import argparse
import random

from sqlalchemy import make_url

from proofs.postgresql import PostgresqlServer, running_postgresql
from proofs.processes import wait_until
from proofs.proxy import AT_RANDOM, STRIKES, CuttingProxy
from proofs.result import ProofResult
from proofs.stage import FINISH_SECONDS_MAX, Pace, stage

TASKS = 2000
LOOK_SECONDS = 0.5
SECONDS_PER_TASK_MAX = 0.2


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much work, and how often it is cut."""
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument(
        "--share", type=float, default=0.08, help="of commits that are struck (default: %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=0.5,
        help="seconds between random cuts, about (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> ProofResult:
    """On a server of its own."""
    with running_postgresql() as server:
        return run_on(server, options)


def run_on(server: PostgresqlServer, options: argparse.Namespace) -> ProofResult:
    """Accept and work through the proxy until every task is final, compare."""
    database_url = server.new_database()
    pace = Pace(lease=2.0, in_flight_max=20 * options.workers)
    with (
        CuttingProxy(
            server.socket_path,
            random.Random(options.seed),
            commit_share=options.share,
            cut_seconds=options.every,
        ) as proxy,
        stage("proxy-cuts", options, database_url=database_url, pace=pace) as on,
    ):
        environment = on.site.environment
        environment["RUSHES_DATABASE_URL"] = _through(proxy, database_url)
        on.work.accept(environment)
        proxy.calm()  # a worker that cannot read the database at its start says so and ends
        workers = on.start_workers(options.workers)
        proxy.storm()
        wait_until(
            lambda: on.peek.open_tasks() == 0 or not all(worker.running for worker in workers),
            "the end of all tasks",
            seconds_max=FINISH_SECONDS_MAX + SECONDS_PER_TASK_MAX * options.tasks,
            every=LOOK_SECONDS,
        )
        proxy.calm()
        on.finish(workers)
        environment["RUSHES_DATABASE_URL"] = database_url
        on.result.fact("commits seen by the proxy", proxy.counts["commits seen"])
        for strike in STRIKES:
            on.result.fact(f"COMMITs cut {strike}", proxy.counts[strike])
        on.result.fact("cut at a random moment", proxy.counts[AT_RANDOM])
        on.compare(lossless=False)
        cuts = sum(proxy.counts[name] for name in (*STRIKES, AT_RANDOM))
        on.result.headline = f"{cuts} cut connections under {options.tasks} tasks"
        return on.result


def _through(proxy: CuttingProxy, database_url: str) -> str:
    """The database's URL through the proxy, without encryption, so that it can read what is sent."""
    database = make_url(database_url).database
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}?sslmode=disable&gssencmode=disable"
