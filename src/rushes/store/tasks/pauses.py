"""Providers that an operator has paused: no worker claims tasks for one until it is resumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from rushes.domain.errors import InputError
from rushes.store import action_log
from rushes.store.action_log import Actor
from rushes.store.database import statement

REASON_CHARACTERS_MAX: Final = 200
PROVIDER_CHARACTERS_MAX: Final = 100

COUNTED_MAX: Final = 100_000

NOT_PAUSED: Final = "NOT EXISTS (SELECT 1 FROM provider_pauses p WHERE p.provider = :provider)"
"""For statements that look for what may be claimed."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a provider, from where, when and why."""

    provider: str
    reason: str
    operator: str
    place: str
    since_ms: int

    @property
    def words(self) -> str:
        """Why its tasks wait."""
        return f"{self.provider} was paused by {self.operator}: {self.reason}"


def pause(connection: Connection, provider: str, *, reason: str, actor: Actor, now_ms: int) -> bool:
    """Pause a provider, and note it in the log of actions; False when it was paused already.

    What was sent goes on being polled, and settles. Raises `InputError`.
    """
    if not (reason and len(reason) <= REASON_CHARACTERS_MAX and reason.isprintable()):
        raise InputError(f"must be 1 to {REASON_CHARACTERS_MAX} printable characters", field="reason")
    if not (provider and len(provider) <= PROVIDER_CHARACTERS_MAX and provider.isprintable()):
        raise InputError(f"must be 1 to {PROVIDER_CHARACTERS_MAX} printable characters", field="provider")
    made = connection.scalar(
        statement(
            "INSERT INTO provider_pauses (provider, reason, operator, place, since_ms)"
            " VALUES (:provider, :reason, :operator, :place, :now) ON CONFLICT (provider) DO NOTHING"
            " RETURNING 1"
        ),
        {
            "provider": provider,
            "reason": reason,
            "operator": actor.operator,
            "place": actor.place,
            "now": now_ms,
        },
    )
    if made is None:
        return False
    action_log.record(connection, actor, "provider.pause", provider, after={"reason": reason}, now_ms=now_ms)
    return True


def resume(connection: Connection, provider: str, *, actor: Actor, now_ms: int) -> bool:
    """Let its tasks be claimed again, and note it; False when it was not paused."""
    reason = connection.scalar(
        statement("DELETE FROM provider_pauses WHERE provider = :provider RETURNING reason"),
        {"provider": provider},
    )
    if reason is None:
        return False
    action_log.record(
        connection, actor, "provider.resume", provider, before={"reason": reason}, now_ms=now_ms
    )
    return True


def all_pauses(connection: Connection) -> Mapping[str, Pause]:
    """What is paused now, by provider."""
    rows = connection.execute(
        statement("SELECT provider, reason, operator, place, since_ms FROM provider_pauses ORDER BY provider")
    )
    return {row[0]: Pause(*row) for row in rows}


def counts_at(connection: Connection, provider: str) -> tuple[int, int]:
    """How many tasks wait for the provider, and how many it has; counted up to `COUNTED_MAX` each."""
    counts = [
        int(
            connection.scalar(
                statement(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM video_tasks WHERE status = :status"
                    " AND provider = :provider LIMIT :limit) AS counted"
                ),
                {"status": status, "provider": provider, "limit": COUNTED_MAX},
            )
            or 0
        )
        for status in ("pending", "processing")
    ]
    return counts[0], counts[1]
