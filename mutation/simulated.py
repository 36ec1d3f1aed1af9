"""The simulation as a judge: seed after seed until one breaks a promise.

    python -m mutation.simulated --seeds 20 --tasks 300

Prints one JSON object: `seed` and `violation` of the first seed that broke a promise (null without one),
`log`, the hash over the logs of all seeds that were run, and the `seconds` of processor time that they took.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from types import FrameType

from simulation.run import run


def main() -> int:
    """1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m mutation.simulated", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--seconds-max", type=float, default=0.0, help="of processor time; 0 for no bound")
    chosen = parser.parse_args()
    signal.signal(signal.SIGPROF, _end)
    signal.setitimer(signal.ITIMER_PROF, chosen.seconds_max)
    digest = hashlib.sha256()
    for seed in range(1, chosen.seeds + 1):
        result = run(seed, tasks=chosen.tasks)
        digest.update(result.fingerprint.encode())
        if result.violation is not None:
            _say(seed=seed, violation=result.violation, log=digest.hexdigest())
            return 1
    _say(seed=None, violation=None, log=digest.hexdigest())
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    _say(seed=None, violation="took too long", log="")
    os._exit(1)


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps({**facts, "seconds": time.process_time()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
