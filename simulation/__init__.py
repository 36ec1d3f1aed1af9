"""A deterministic simulation of whole installations of rushes under faults, in virtual time.

    python -m simulation --seeds 100 --tasks 1000

The engine, the store, the Grsai providers and the simulated service are the real ones; the clock, the
network and the scheduling are the simulation's. See docs/reliability.md.
"""

from simulation.run import RunResult, run

__all__ = ["RunResult", "run"]
