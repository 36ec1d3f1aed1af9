"""What the pages work with, put together by `rushes.service`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rushes.engine.operator_reads import at_one_moment
from rushes.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardParts:
    """Time, randomness and what the rest of the process does are functions.

    `on_work()` tells the worker of this process, if any, that tasks wait. `soft_deadline_seconds` is by
    model. `base_url` is the service's public URL: its host is one that pages may be asked from.
    `signing_key()` is the key of signed statements.
    """

    secret: str
    database: Database
    now_ms: Callable[[], int]
    new_nonce: Callable[[], str]
    on_work: Callable[[], None]
    soft_deadline_seconds: Mapping[str, float]
    base_url: str | None
    signing_key: Callable[[], Ed25519PrivateKey]

    async def read(
        self, function: "Callable[Concatenate[Connection, P], T]", /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function(connection, …)` in a transaction that only reads."""
        return await self.database.read(at_one_moment, function, *args, **kwargs)
