"""Who is signed in, and what they may do. All that asks "who acts?" asks here."""

from dataclasses import dataclass
from typing import Final

from rushes.domain.operators import SESSION_SECONDS_MAX, UNNAMED_OPERATOR, Role, SignedIn
from rushes.store import operators
from rushes.store.database import Database

SESSION_SECONDS: Final = SESSION_SECONDS_MAX
"""How long browsers keep the cookie; the database says when the session is over."""

__all__ = ["SESSION_SECONDS", "UNNAMED_OPERATOR", "Role", "Session", "Sessions"]


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    operator: str
    role: Role
    expires_at_ms: int

    def may(self, role: Role) -> bool:
        """Whether they may do what takes this role."""
        return self.role.allows(role)


class Sessions:
    """Opens, finds and ends sessions. They are rows of the database, so that any process can end them all.

    A cookie holds nothing but the session's random token, of which only a hash is stored. Every method
    raises `StoreError` while the database is away.
    """

    def __init__(self, database: Database, secret: str) -> None:
        self._database = database
        self._secret = secret

    async def take_names(self) -> bool:
        """Whether one signs in by name: there are operators."""
        return await self._database.read(operators.are_there)

    async def sign_in(
        self, name: str, secret: str, *, token: str, place: str, logs_refusal: bool = True, now_ms: int
    ) -> Session | None:
        """A new session under the token; None when the secret is wrong."""
        found = await self._database.transact(
            operators.sign_in,
            name=name,
            secret=secret,
            installation_secret=self._secret,
            token=token,
            place=place,
            logs_refusal=logs_refusal,
            now_ms=now_ms,
        )
        return None if found is None else _session(found)

    async def session_of(self, token: str | None, *, is_use: bool = True, now_ms: int) -> Session | None:
        """Whose session it is, which a use keeps open; None when it is over or never was."""
        if not token:
            return None
        found = await self._database.read(
            operators.signed_in, token, installation_secret=self._secret, now_ms=now_ms
        )
        if found is None:
            return None
        who, is_touch_due = found
        if is_touch_due and is_use:
            await self._database.transact(operators.touch, token, now_ms=now_ms)
        return _session(who)

    async def sign_out(self, token: str) -> None:
        """End the session in every tab and process."""
        await self._database.transact(operators.sign_out, token)


def _session(who: SignedIn) -> Session:
    return Session(who.name or UNNAMED_OPERATOR, who.role, who.expires_at_ms)
