"""The command line: `python -m simulation --seeds 100 --tasks 1000 [--seed 1]`.

Ends with one line, `seeds … tasks … crashes … violations … log sha256 …`, and exits with 1 when a promise
was broken. A long campaign is run in parts with `--record FILE`: what it has run is not run again, and the
report sums up all of it. `--crash-points 10000` goes on, seed after seed, until processes were killed that
often. `--reach` counts how often each branch of the engine is met. `--bugs` plants each bug of simulation/bugs instead and prints in how many seeds it is found.
"""

import argparse
import itertools
import sys
from pathlib import Path

from simulation import campaign
from simulation.report import Record, RecordRefused
from simulation.run import TASKS_DEFAULT


def main() -> int:
    """Run what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds to run")
    parser.add_argument("--tasks", type=int, default=TASKS_DEFAULT, help="tasks of each seed")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--processes", type=int, default=2, help="operating-system processes to use")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server of its own")
    parser.add_argument("--record", type=Path, metavar="FILE", help="go on with the campaign in this file")
    parser.add_argument(
        "--crash-points", type=int, metavar="N", help="seeds without end, until so many kills"
    )
    parser.add_argument("--bugs", action="store_true", help="plant bugs, one by one, until each is found")
    parser.add_argument(
        "--reach", action="store_true", help="count how often each branch of the engine is met"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table of --reach into this page")
    parser.add_argument("--no-shrink", action="store_true", help="report failing seeds as they are")
    chosen = parser.parse_args()
    if chosen.bugs:
        return campaign.hunt(seeds_max=chosen.seeds, tasks=chosen.tasks, processes=chosen.processes)
    if chosen.reach:
        seeds = range(chosen.seed, chosen.seed + chosen.seeds)
        return campaign.reach_in(
            seeds=seeds, tasks=chosen.tasks, processes=chosen.processes, page=chosen.write
        )
    try:
        record = None if chosen.record is None else Record(chosen.record, tasks=chosen.tasks)
    except RecordRefused as error:
        parser.error(str(error))
    is_endless = chosen.crash_points is not None
    return campaign.simulate(
        seeds=itertools.count(chosen.seed) if is_endless else range(chosen.seed, chosen.seed + chosen.seeds),
        tasks=chosen.tasks,
        processes=chosen.processes,
        on_postgresql=chosen.postgresql,
        shrinks=not chosen.no_shrink,
        record=record,
        crash_points_min=chosen.crash_points,
    )


if __name__ == "__main__":
    sys.exit(main())
