"""The command line: `python -m simulation --seeds 100 --tasks 1000 [--seed 1]`.

Ends with one line, `seeds … tasks … crashes … violations … log sha256 …`, and exits with 1 when a promise
was broken. `--bugs` plants each bug of simulation/bugs instead and prints in how many seeds it is found.
"""

import argparse
import sys

from simulation import campaign
from simulation.run import TASKS_DEFAULT


def main() -> int:
    """Run what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds to run")
    parser.add_argument("--tasks", type=int, default=TASKS_DEFAULT, help="tasks of each seed")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--processes", type=int, default=2, help="operating-system processes to use")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server of its own")
    parser.add_argument("--bugs", action="store_true", help="plant bugs, one by one, until each is found")
    parser.add_argument("--no-shrink", action="store_true", help="report failing seeds as they are")
    chosen = parser.parse_args()
    if chosen.bugs:
        return campaign.hunt(seeds_max=chosen.seeds, tasks=chosen.tasks, processes=chosen.processes)
    return campaign.simulate(
        seeds=range(chosen.seed, chosen.seed + chosen.seeds),
        tasks=chosen.tasks,
        processes=chosen.processes,
        on_postgresql=chosen.postgresql,
        shrinks=not chosen.no_shrink,
    )


if __name__ == "__main__":
    sys.exit(main())
