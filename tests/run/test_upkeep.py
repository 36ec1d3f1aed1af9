"""What any worker cleans up for all, and what it says of that."""

import asyncio

from structlog.testing import capture_logs

from rushes import telemetry
from rushes.run.upkeep import clean_up
from rushes.store.database import Database
from tests.books import PROVIDER, Books


def test_expired_credits_and_tasks_that_waited_too_long_are_said_and_nothing_else(database: Database) -> None:
    books = Books(database)
    account = books.account()
    books.grant(account, 10, expires_at_ms=5_000)
    books.grant(account, 10)
    books.accept(account, [4, 4])

    def said(now_ms: int) -> list[tuple[str, int]]:
        with capture_logs() as lines:
            asyncio.run(clean_up(database, providers=[PROVIDER], wait_ms_max=20_000, now_ms=now_ms))
        return [(line["event"], line.get("lots", line.get("count"))) for line in lines]

    assert said(4_000) == []
    assert said(6_000) == [(telemetry.CREDITS_EXPIRED, 1)]
    assert said(21_001) == [(telemetry.TASKS_WAITED_TOO_LONG, 2)]
    assert said(30_000) == [(telemetry.CREDITS_EXPIRED, 1)], "what was refunded to it"
    assert said(40_000) == []
