"""Bugs planted on purpose: each breaks one rule that keeps a promise, and the simulation must find it.

The database's own guards (primary keys, checks, triggers) stay in place: a bug that only they stop shows
as a refused statement in the worker's log, which the simulation also counts as a failure.
"""

from simulation.bugs import answers, dispatching, failover, money, ownership, rerolls, settling, windows
from simulation.bugs.bug import Bug

BUGS: tuple[Bug, ...] = (
    *money.BUGS,
    *rerolls.BUGS,
    *failover.BUGS,
    *settling.BUGS,
    *ownership.BUGS,
    *dispatching.BUGS,
    *answers.BUGS,
    *windows.BUGS,
)

__all__ = ["BUGS", "Bug"]
