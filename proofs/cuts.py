"""`proxy-cuts`: connections to PostgreSQL are cut, above all before, within and after a COMMIT."""

import argparse
import itertools
import random
import time

from sqlalchemy import make_url

from proofs.postgresql import running_postgresql
from proofs.processes import wait_until
from proofs.proxy import STRIKES, CuttingProxy
from proofs.result import ProofResult
from proofs.stage import FINISH_SECONDS_MAX, Pace, read_prompts, stage

LOOK_SECONDS = 0.5


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much work, and how often it is cut."""
    parser.add_argument("--tasks", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument(
        "--share", type=float, default=0.08, help="of commits that are struck (default: %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=0.5,
        help="seconds between random cuts, on average (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> ProofResult:
    """Accept and work through the proxy until every task is final, compare."""
    prompts = list(itertools.islice(itertools.cycle(read_prompts(options.prompts)), options.tasks))
    with running_postgresql() as server:
        database_url = server.new_database()
        proxy = CuttingProxy(
            server.socket_path,
            random.Random(options.seed),
            commit_share=options.share,
            cut_seconds=options.every,
        )
        with (
            proxy,
            stage(
                "proxy-cuts",
                options,
                database_url=database_url,
                pace=Pace(lease=2.0, in_flight_max=20),
                prompts=prompts,
            ) as on,
        ):
            url = make_url(database_url)
            # without encryption, so that the proxy can read what is sent
            through = f"postgresql://postgres@127.0.0.1:{proxy.port}/{url.database}?sslmode=disable&gssencmode=disable"
            direct = on.site.environment["RUSHES_DATABASE_URL"]
            on.site.environment["RUSHES_DATABASE_URL"] = through
            on.work.accept(on.site.environment)
            workers = on.start_workers(options.workers)
            deadline = time.monotonic() + FINISH_SECONDS_MAX + 0.2 * options.tasks
            wait_until(
                lambda: on.peek.open_tasks() == 0 or not all(worker.running for worker in workers),
                "open tasks",
                seconds_max=deadline - time.monotonic(),
                every=LOOK_SECONDS,
            )
            proxy.calm()
            on.finish(workers)
            on.site.environment["RUSHES_DATABASE_URL"] = direct
            on.result.fact("commits seen by the proxy", proxy.counts["commits seen"])
            for strike in STRIKES:
                on.result.fact(f"cut {strike} a COMMIT", proxy.counts[strike])
            on.result.fact("cut at a random moment", proxy.counts["at a random moment"])
            on.compare(lossless=False)
            cuts = sum(proxy.counts[name] for name in (*STRIKES, "at a random moment"))
            on.result.headline = f"{cuts} cut connections under {options.tasks} tasks"
            return on.result
