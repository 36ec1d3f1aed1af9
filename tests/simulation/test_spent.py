"""What a campaign's processor time goes into."""

import signal
import time
from collections import Counter

import pytest
from simulation.spent import SAMPLE_SECONDS, part_of, sampled, shares_line

from simulation import run


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/home/x/src/rushes/run/worker.py", "engine"),
        ("/home/x/src/rushes/store/workers.py", "database"),
        ("/home/x/src/rushes/money/audit/audit.py", "checks"),
        ("/home/x/src/rushes/simulator/core.py", "world"),
        ("/home/x/simulation/truth/lean.py", "database"),
        ("/home/x/simulation/truth/life.py", "checks"),
        ("/home/x/simulation/world/loop.py", "world"),
        ("/usr/lib/python3.11/site-packages/sqlalchemy/engine/base.py", "database"),
        ("/usr/lib/python3.11/asyncio/tasks.py", None),
    ],
)
def test_each_file_is_somebodys(path: str, part: str | None) -> None:
    assert part_of(path) == part


def test_samples_are_taken_while_it_runs_and_not_after() -> None:
    before = signal.getsignal(signal.SIGPROF)
    with sampled() as samples:
        run(1, tasks=15)
        until = time.process_time() + 5 * SAMPLE_SECONDS
        while time.process_time() < until:
            pass
    assert samples.keys() >= {"world"}
    assert signal.getsignal(signal.SIGPROF) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_shares_are_of_all_samples() -> None:
    line = shares_line(Counter(engine=1, database=3))
    assert line == "processor time by 4 samples: database 75 %, engine 25 %"
    assert shares_line(Counter()).endswith("samples: ")
