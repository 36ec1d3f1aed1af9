"""Which version of its webhook secret an account has; the secrets are derived and stored nowhere."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from rushes.domain.errors import InputError

OVERLAP_SECONDS_MAX: Final = 30 * 86_400
VERSION_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class KeyVersions:
    """The version that signs, and the one before while both do, until `previous_until_ms`."""

    current: int = 1
    previous: int | None = None
    previous_until_ms: int | None = None

    @property
    def all(self) -> tuple[int, ...]:
        """The versions that sign, the current one first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


def versions_of(connection: Connection, account_id: int, *, now_ms: int) -> KeyVersions:
    """The versions of this account now. One that never rotated its secret has the first."""
    row = connection.execute(
        text("SELECT version, previous_until_ms FROM webhook_keys WHERE account_id = :account_id"),
        {"account_id": account_id},
    ).first()
    if row is None:
        return KeyVersions()
    if now_ms >= row.previous_until_ms:
        return KeyVersions(row.version)
    return KeyVersions(row.version, row.version - 1, row.previous_until_ms)


def rotate(connection: Connection, account_id: int, *, overlap_seconds: int, now_ms: int) -> KeyVersions:
    """A new version from now on; the one before still signs for `overlap_seconds`. Raises `InputError`."""
    if not 0 <= overlap_seconds <= OVERLAP_SECONDS_MAX:
        raise InputError(f"must be 0 to {OVERLAP_SECONDS_MAX}", field="overlap_seconds")
    connection.execute(
        text(
            "INSERT INTO webhook_keys (account_id, version, rotated_at_ms, previous_until_ms)"
            " VALUES (:account_id, 2, :now, :until) ON CONFLICT (account_id) DO UPDATE SET"
            " version = webhook_keys.version + 1, rotated_at_ms = excluded.rotated_at_ms,"
            " previous_until_ms = excluded.previous_until_ms"
        ),
        {"account_id": account_id, "now": now_ms, "until": now_ms + overlap_seconds * 1000},
    )
    return versions_of(connection, account_id, now_ms=now_ms)
