"""Operators, and the log of what they did."""

from collections import Counter
from typing import Any, Final

from sqlalchemy import Connection

from rushes.database_wiring import wall_clock_ms
from rushes.domain.notation import iso_time
from rushes.domain.operators import Role
from rushes.library.opened import Opened
from rushes.store import action_log, operators
from rushes.store.action_log import Actor
from rushes.store.tasks import pauses

_LIBRARY: Final = Actor("library", "library")
"""Who acts where nobody was named."""


class WithOperators(Opened):
    """Who runs the installation."""

    async def create_operator(self, name: str, role: Role, *, secret: str) -> None:
        """Let someone sign in under this name and secret. Raises `InputError` for a name that is in use."""
        now_ms = wall_clock_ms()

        def run(connection: Connection) -> None:
            operators.create(connection, name, role, secret=secret, now_ms=now_ms)
            self.acted(connection, "operator.create", f"operator {name}", after={"role": role.value})

        await self.database.transact(run)

    async def operators(self) -> list[dict[str, Any]]:
        """`name, role, created_at, revoked_at, sessions, seen_at` of each operator, revoked ones too."""
        rows = await self.database.read(operators.list_all)
        return [
            {
                "name": row["name"],
                "role": row["role"],
                "created_at": iso_time(row["created_at_ms"]),
                "revoked_at": iso_time(row["revoked_at_ms"]),
                "sessions": row["sessions"],
                "seen_at": iso_time(row["seen_at_ms"]),
            }
            for row in rows
        ]

    async def revoke_operator(self, name: str) -> None:
        """End someone's access and sessions at once. Raises `NotFound`."""
        now_ms = wall_clock_ms()

        def run(connection: Connection) -> None:
            role = operators.revoke(connection, name, now_ms=now_ms)
            self.acted(connection, "operator.revoke", f"operator {name}", before={"role": role.value})

        await self.database.transact(run)

    async def pause_provider(self, name: str, *, reason: str) -> bool:
        """Let no worker claim tasks for a provider; False when it was paused already.

        Raises `NotFound` and `InputError`.
        """
        self.catalogue.require_provider(name)
        return await self.database.transact(
            pauses.pause, name, reason=reason, actor=self.actor or _LIBRARY, now_ms=wall_clock_ms()
        )

    async def resume_provider(self, name: str) -> bool:
        """Let a provider's tasks be claimed again; False when it was not paused. Raises `NotFound`."""
        resumed = await self.database.transact(
            pauses.resume, name, actor=self.actor or _LIBRARY, now_ms=wall_clock_ms()
        )
        if not resumed:
            self.catalogue.require_provider(name)
        return resumed

    async def providers(self) -> list[dict[str, Any]]:
        """`provider, models, paused, by, since, reason` of each provider of the catalogue."""
        paused = await self.database.read(pauses.all_pauses)
        names = Counter(model.provider for model in self.catalogue)
        names.update(dict.fromkeys(paused, 0))
        found = []
        for name in sorted(names):
            pause = paused.get(name)
            found.append(
                {
                    "provider": name,
                    "models": names[name],
                    "paused": pause is not None,
                    "by": None if pause is None else pause.operator,
                    "since": None if pause is None else iso_time(pause.since_ms),
                    "reason": None if pause is None else pause.reason,
                }
            )
        return found

    async def actions(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """What operators did, the newest first: who, what, when, from where, before and after."""
        rows = await self.database.read(action_log.newest, limit=limit)
        return [{"at": iso_time(row.pop("at_ms")), **row} for row in rows]
