"""Who prunes beside a worker."""

import asyncio

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rushes.run.retention import DAY_MS, Keeper
from rushes.store.database import Database
from tests.money.audited import audited, audited_books

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def test_a_keeper_folds_what_is_past_its_days_and_ends_with_its_worker(database: Database) -> None:
    books = audited_books(database)
    books.accept(1, [1], name="bat_z")
    now_ms = 2_000 + 30 * DAY_MS

    async def folded_after(keep_days: float, wanted: int) -> None:
        keeper = Keeper(database, signing_key=lambda: KEY, keep_days=keep_days, now_ms=lambda: now_ms)
        stop = asyncio.Event()
        running = asyncio.create_task(keeper.run(stop))
        async with asyncio.timeout(30):
            while books.row("SELECT COUNT(*) AS n FROM folded_batches")["n"] < wanted:
                await asyncio.sleep(0.01)
        stop.set()
        async with asyncio.timeout(5):
            await running

    asyncio.run(folded_after(31, 0))
    assert books.row("SELECT COUNT(*) AS n FROM batches")["n"] == 4
    asyncio.run(folded_after(29, 2))
    assert books.row("SELECT COUNT(*) AS n FROM batches")["n"] == 2
    assert audited(books).ok
