"""Whose rows a question is about, and the transactions in which questions are asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, Connection, true

from rushes.store import batches
from rushes.store.connections.snapshot import begin_snapshot
from rushes.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scope:
    """One account, or with None all of them, for the operator.

    What is another account's is `NotFound`, like what does not exist. Operators are answered with more: the
    account of each row, what was charged, and the words of answers that were not understood.
    """

    account_id: int | None

    @property
    def is_operator(self) -> bool:
        """Whether everything may be seen."""
        return self.account_id is None

    def includes(self, account_id: ColumnElement[int]) -> ColumnElement[bool]:
        """The condition that a row with this account is one of the scope's."""
        return true() if self.account_id is None else account_id == self.account_id

    def batch_id(self, connection: Connection, public_id: str) -> int:
        """The row id of a batch. Raises `NotFound`."""
        return batches.batch_row_id(connection, public_id, account_id=self.account_id)


OPERATOR: Final = Scope(None)


@dataclass(frozen=True, slots=True)
class Span:
    """A page of a list."""

    limit: int
    offset: int = 0


class ReadOnly:
    """Runs functions in transactions that cannot write and see one moment's state throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`function(connection, …)`."""

        def run(connection: Connection) -> T:
            begin_snapshot(connection)
            return function(connection, *args, **kwargs)

        return await self._database.read(run)
