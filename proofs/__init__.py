"""Proofs with real processes: workers that are killed, databases that go away, disks that are full.

`python -m proofs NAME` runs one of them, prints a table and ends with one line that says whether our books
and the simulated provider's own count are equal. Not part of the package that is installed.
"""
