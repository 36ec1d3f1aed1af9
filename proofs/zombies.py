"""`zombies`: workers are stopped past their lease, others take over, and the stopped ones wake up."""

import argparse
import time

from proofs import witness
from proofs.postgresql import PostgresqlServer, running_postgresql
from proofs.processes import Process, wait_until
from proofs.result import ProofResult
from proofs.stage import START_SECONDS_MAX, Pace, Stage, stage

TASKS = 946
LEASE_SECONDS = 1.0
TAKEN_OVER_SECONDS_MAX = 8.0
"""How long past its lease a stopped worker's tasks may stay its own: one more lease, and a busy machine."""

AWAKE_SECONDS_MAX = 0.8


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many expiries, among how many workers."""
    parser.add_argument("--expiries", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=8, help="default: %(default)s")


def run(options: argparse.Namespace) -> ProofResult:
    """On a server of its own."""
    with running_postgresql() as server:
        return run_on(server, options)


def run_on(server: PostgresqlServer, options: argparse.Namespace) -> ProofResult:
    """Stop and wake workers until that many leases have run out, let them finish, compare."""
    database_url = server.new_database()
    witness.install(database_url)
    pace = Pace(lease=LEASE_SECONDS, render=2.0, in_flight_max=4 * options.workers)
    with stage("zombies", options, database_url=database_url, pace=pace) as on:
        on.work.accept(on.site.environment)
        names = [f"proof-{number}" for number in range(options.workers)]
        workers = [
            on.site.start("worker", more={"RUSHES_DATABASE_URL": witness.named(database_url, name)})
            for name in names
        ]
        on.wait_for_leases(workers)
        expiries = _stop_and_wake(on, workers, options.expiries)
        on.finish(workers)
        on.compare(lossless=False)
        pids = {name: worker.pid for name, worker in zip(names, workers, strict=True)}
        counts, faults = witness.testimony(on.peek, pids)
        for what, count in counts.items():
            on.result.fact(f"seen by the database: tasks {what}", count)
        on.result.differ(faults)
        on.result.headline = f"{expiries} leases ran out under their workers, {on.peek.finished()} tasks"
        return on.result


def _stop_and_wake(on: Stage, workers: list[Process], wanted: int) -> int:
    """Rounds of stopping and waking; returns how many workers woke up to find their lease lost."""
    rounds = stopped_total = taken_over = 0
    while on.site.events(["worker.lease_lost"])["worker.lease_lost"] < wanted:
        busy = _busy(on, workers)
        stopped = on.random.sample(busy, on.random.randint(1, min(len(busy), len(workers) - 1)))
        for worker in stopped:
            worker.pause()
        try:
            time.sleep(LEASE_SECONDS)
            deadline = time.monotonic() + TAKEN_OVER_SECONDS_MAX
            while any(on.peek.owned(worker.pid) for worker in stopped) and time.monotonic() < deadline:
                time.sleep(0.05)
            left = sum(on.peek.owned(worker.pid) > 0 for worker in stopped)
            time.sleep(on.random.uniform(0.0, LEASE_SECONDS / 2))
        finally:
            for worker in stopped:
                worker.resume()
        rounds += 1
        stopped_total += len(stopped)
        taken_over += len(stopped) - left
        if left:
            on.result.differ([f"round {rounds}: tasks of {left} stopped workers were not taken over in time"])
        time.sleep(on.random.uniform(0.0, AWAKE_SECONDS_MAX))
        if not all(worker.running for worker in workers):
            break  # the comparison names it
    expiries = on.site.events(["worker.lease_lost"])["worker.lease_lost"]
    on.result.fact("rounds", rounds)
    on.result.fact("workers stopped past their lease", stopped_total)
    on.result.fact("· whose tasks had been taken over when they woke", taken_over)
    on.result.fact("leases lost, as the woken workers saw it", expiries)
    on.result.fact("takeovers that the others logged", on.site.adopted())
    return expiries


def _busy(on: Stage, workers: list[Process]) -> list[Process]:
    """Workers with tasks in flight; waits until there is one."""
    busy: list[Process] = []

    def any_busy() -> bool:
        on.feed()
        busy[:] = [worker for worker in workers if on.peek.owned(worker.pid)]
        return bool(busy)

    wait_until(any_busy, "a worker with tasks in flight", seconds_max=START_SECONDS_MAX)
    return busy
