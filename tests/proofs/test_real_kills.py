"""The proofs with real processes, small: a few kills, one zombie, a restart, some cuts, a full disk."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import pytest
from proofs.__main__ import PROOFS, parser
from proofs.postgresql import PostgresqlServer, running_postgresql
from proofs.result import ProofResult

from proofs import (
    cuts,
    disk,
    hangup,
    kill_postgresql,
    kill_sqlite,
    restarts,
    sigterm_slow,
    silence,
    zombies,
)

OnServer: TypeAlias = Callable[[PostgresqlServer, argparse.Namespace], ProofResult]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """One PostgreSQL for all of them; the last one restarts it."""
    with running_postgresql() as running:
        yield running


def options(name: str, *arguments: str) -> argparse.Namespace:
    """As on the command line."""
    return parser().parse_args([name, *arguments])


@pytest.mark.parametrize(
    ("prove", "arguments"),
    [
        (kill_sqlite.run, ("kill-sqlite", "--kills", "5", "--tasks", "60")),
        (disk.run, ("disk-full", "--fills", "1", "--tasks", "80")),
        (
            sigterm_slow.run,
            ("sigterm-slow", "--stops", "1", "--tasks", "30", "--submit-seconds", "1.5"),
        ),
        (hangup.run, ("hangup", "--hangups", "1", "--tasks", "20", "--submit-seconds", "1.5")),
    ],
    ids=["five-kills", "a-full-disk", "slow-submits-and-a-stop", "a-closed-terminal"],
)
def test_on_sqlite_nothing_differs_after(
    prove: Callable[[argparse.Namespace], ProofResult], arguments: Sequence[str]
) -> None:
    result = prove(options(*arguments))
    assert result.ok, "\n".join(result.lines())


@pytest.mark.parametrize(
    ("prove", "arguments"),
    [
        (kill_postgresql.run_on, ("kill-postgresql", "--kills", "5", "--workers", "2", "--tasks", "60")),
        (zombies.run_on, ("zombies", "--expiries", "1", "--workers", "2", "--tasks", "24")),
        (cuts.run_on, ("proxy-cuts", "--workers", "1", "--tasks", "60", "--share", "0.2")),
        (silence.run_on, ("silence", "--workers", "2", "--tasks", "40", "--silent-seconds", "20")),
        (restarts.run_on, ("postgresql-restarts", "--workers", "1", "--tasks", "60")),
    ],
    ids=["five-kills", "a-zombie", "cut-connections", "silence", "a-restart"],
)
def test_on_postgresql_nothing_differs_after(
    prove: OnServer, arguments: Sequence[str], server: PostgresqlServer
) -> None:
    result = prove(server, options(*arguments))
    assert result.ok, "\n".join(result.lines())


def test_every_proof_has_default_options() -> None:
    for name in PROOFS:
        assert options(name).name == name
