"""Operators: who they are, what their role allows, and how long they stay signed in."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rushes.domain.errors import InputError

NAME_CHARACTERS_MAX: Final = 64

SESSION_SECONDS_MAX: Final = 12 * 3600
"""The longest that one stays signed in, however busy."""

SESSION_IDLE_SECONDS: Final = 2 * 3600
"""After so long without a request a session is over."""

UNNAMED_OPERATOR: Final = "operator"
"""What whoever signs in with the installation's secret is called in the log of actions."""

TOUCH_SECONDS: Final = 60
"""How exactly it is stored when a session was last used: not each request writes."""


class Role(StrEnum):
    """What an operator may do: each may do what those before it may."""

    VIEWER = "viewer"
    """Sees everything, changes nothing."""
    OPERATOR = "operator"
    """Makes, cancels, retries, adopts, pauses."""
    OWNER = "owner"
    """Grants credits, makes and revokes keys and operators, erases."""

    def allows(self, needed: "Role") -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who acts in a session. `name` is None for whoever knows the installation's own secret."""

    name: str | None
    role: Role
    expires_at_ms: int


def checked_name(name: str) -> str:
    """The name, if it can be one. Raises `InputError`."""
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable() or name != name.strip():
        raise InputError(
            f"must be 1 to {NAME_CHARACTERS_MAX} printable characters without spaces around them",
            field="name",
        )
    return name


def session_ends_at_ms(*, created_at_ms: int, seen_at_ms: int) -> int:
    """When a session is over that was last used at `seen_at_ms`."""
    return min(created_at_ms + SESSION_SECONDS_MAX * 1000, seen_at_ms + SESSION_IDLE_SECONDS * 1000)
