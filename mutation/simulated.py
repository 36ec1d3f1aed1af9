"""The simulation as a judge: seed after seed until one breaks a promise.

    python -m mutation.simulated --seeds 20 --tasks 300

Prints one JSON object: `seed` and `violation` of the first seed that broke a promise (null without one), and
`log`, the hash over the logs of all seeds that were run.
"""

import argparse
import hashlib
import json
import sys

from simulation.run import run


def main() -> int:
    """1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m mutation.simulated", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=300)
    chosen = parser.parse_args()
    digest = hashlib.sha256()
    for seed in range(1, chosen.seeds + 1):
        result = run(seed, tasks=chosen.tasks)
        digest.update(result.fingerprint.encode())
        if result.violation is not None:
            _say(seed=seed, violation=result.violation, log=digest.hexdigest())
            return 1
    _say(seed=None, violation=None, log=digest.hexdigest())
    return 0


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
