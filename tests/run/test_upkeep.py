"""What any worker cleans up for all, and what it says of that."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from rushes import telemetry
from rushes.money.accept import fail_unfollowed, fail_waiting, sweep_cancelled
from rushes.money.rebuy import give_up_verdicts
from rushes.run.lane.claim import IN_FLIGHT_TASKS_MAX
from rushes.run.lane.lane import Lane
from rushes.run.shares import Shares
from rushes.run.upkeep import Upkeep, clean_up
from rushes.store import keys, ledger
from rushes.store.database import Database
from rushes.store.inputs import request_files
from rushes.store.tasks import OwnedTask
from tests.books import PROVIDER, WORKER, Books
from tests.run.lanes import context_of, ended, simulated_provider


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


def test_each_kind_of_leftover_is_looked_for_in_a_transaction_of_its_own(database: Database) -> None:
    done: list[object] = []

    class Watched:
        async def transact(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
            done.append(function)
            return await database.transact(function, *arguments, **named)

        def take_over_checkpoints(self) -> None:
            done.append("checkpoints")

    watched: Any = Watched()
    asyncio.run(clean_up(watched, providers=[PROVIDER], wait_ms_max=20_000, now_ms=4_000))
    assert done == [
        "checkpoints",
        ledger.expire_lots,
        request_files.remove_expired,
        keys.forget_windows,
        sweep_cancelled,
        give_up_verdicts,
        fail_waiting,
        fail_unfollowed,
    ]


def test_no_more_is_adopted_than_a_worker_holds_in_memory(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> list[int]:
        context = context_of(database)
        lanes = {PROVIDER: Lane(simulated_provider(), context)}
        for number in range(3):
            held = OwnedTask(number, 1, PROVIDER, "sora-2", None, 0, 0, 2_000)
            lanes[PROVIDER].attempts.hold_unconfirmed(held)
        shares = Shares(database, worker_id=WORKER, now_ms=context.now_ms, lanes=lanes)
        upkeep = Upkeep(context, lanes, shares=shares)
        asked: list[int] = []

        async def adopt(*, tasks_max: int, shares: Shares) -> None:
            asked.append(tasks_max)

        monkeypatch.setattr(upkeep.adoption, "adopt", adopt)
        running = asyncio.create_task(upkeep.run())
        async with asyncio.timeout(10):
            while not asked:
                await asyncio.sleep(0.01)
        await ended(running)
        return asked

    assert asyncio.run(scenario())[0] == IN_FLIGHT_TASKS_MAX - 3
