"""The installation: its workers, its archive, its operators and what they did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from rushes.read.installation.workers import live_workers
from rushes.store import action_log, archive, operators
from rushes.store.installation import Proof, last_proof

ACTIONS_MAX: Final = 50
REASONS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class SystemBoard:
    """All of the system's page that the database knows."""

    workers: Sequence[Mapping[str, Any]]
    archive: Sequence[Any]
    operators: Sequence[Mapping[str, Any]]
    actions: Sequence[Mapping[str, Any]]
    proof: Proof | None


def system_board(connection: Connection, *, now_ms: int) -> SystemBoard:
    """Everything at once."""
    return SystemBoard(
        live_workers(connection, now_ms=now_ms),
        archive.troubles(connection, limit=REASONS_MAX),
        operators.list_all(connection),
        action_log.newest(connection, limit=ACTIONS_MAX),
        last_proof(connection),
    )
