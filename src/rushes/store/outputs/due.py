"""Rows that are due, each claimed by one process for a while: files to fetch, clips to judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from rushes.store.database import skip_locked, statement


@dataclass(frozen=True, slots=True)
class DueRows:
    """The rows of `table` whose state is `waiting`. `at` is the column with the time from which one is due,
    `tries` counts how often it was claimed, which guards what a claim records; `key` are its key's columns.
    """

    table: str
    waiting: str
    at: str
    tries: str
    key: str = "task_id"

    def any(self, connection: Connection, now_ms: int) -> bool:
        """Whether a row is due now."""
        sql = f"SELECT 1 FROM {self.table} WHERE state = '{self.waiting}' AND {self.at} <= :now LIMIT 1"
        return connection.scalar(statement(sql), {"now": now_ms}) is not None

    def claim(
        self, connection: Connection, *, limit: int, now_ms: int, claimed_until_ms: int
    ) -> Sequence[Row[Any]]:
        """The keys of rows that nobody else gets before `claimed_until_ms`, those due for longest first."""
        return connection.execute(
            statement(
                f"WITH picked AS MATERIALIZED (SELECT {self.key} FROM {self.table}"
                f" WHERE state = '{self.waiting}' AND {self.at} <= :now ORDER BY {self.at} LIMIT :limit"
                f"{skip_locked(connection)}) UPDATE {self.table} SET {self.at} = :until,"
                f" {self.tries} = {self.tries} + 1 WHERE ({self.key}) IN (SELECT {self.key} FROM picked)"
                f" RETURNING {self.key}"
            ),
            {"now": now_ms, "limit": limit, "until": claimed_until_ms},
        ).all()
