"""Mutants of the engine: small changes to its source, each of which the tests or the simulation must notice.

    python -m mutation --mutants 300 --seed 1 --record build/mutants.jsonl

See docs/reliability.md.
"""
