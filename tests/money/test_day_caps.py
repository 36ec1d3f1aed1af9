"""Day caps: enforced where credits are reserved, by account, key, model and for everything."""

import threading

import pytest
from alembic import command
from sqlalchemy import Connection, text

from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.errors import DayCapReached
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.domain.task import Failed, FailureType
from rushes.money import accept
from rushes.money.day_caps import DAY_MS, cap_views
from rushes.money.retry import retry_item
from rushes.store import caps
from rushes.store.caps import CREDITS, CapScope, DayCap
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.books import Books, assert_sound, video

MIDNIGHT_MS = 900_028_800_000  # 1998-07-10
NO = Failed("no", FailureType.MODEL_ERROR)


@pytest.fixture
def books(database: Database) -> Books:
    """A database, noon, and two accounts with credits."""
    books = Books(database, now_ms=MIDNIGHT_MS + DAY_MS // 2)
    for name in ("acme", "zeta"):
        books.grant(books.account(name), 10_000)
    return books


def order(books: Books, model: str = "sora-2", *, account: str = "acme", key: str | None = None) -> int:
    """One video: `sora-2` costs 10 credits and 0.08 CNY, `runway-gen4.5` 75 credits and 0.60 USD."""
    account_id = books.account(account)
    drafts = drafts_from_objects([{"prompt": "x"}], Defaults.of(DEFAULT_CATALOGUE, model))
    tasks = accept.priced_tasks(validate_drafts(drafts, DEFAULT_CATALOGUE, books.now_ms / 1000))
    name = f"bat_{len(books.rows('SELECT id FROM batches'))}-{threading.get_ident()}"
    scope = f"account:{account_id}" if key is None else f"key:{key}"
    request = accept.BatchRequest(account_id, scope, name, accept.request_hash(drafts), tasks)
    accepted = books.database.run(accept.accept_batch, request, public_id=name, now_ms=books.now_ms)
    return int(accepted.row["id"])


def cap(books: Books, scope: CapScope, subject: str, unit: str, amount: int) -> None:
    books.database.run(caps.set_cap, DayCap(scope, subject, unit, amount))


def test_what_is_over_a_cap_is_refused_and_nothing_is_written(books: Books) -> None:
    cap(books, "account", "acme", CREDITS, 25)
    order(books)
    order(books)
    before = books.everything()
    with pytest.raises(DayCapReached) as caught:
        order(books)
    assert books.everything() == before
    assert caught.value.message == (
        "the day's cap of account acme is 25 credits: 5 are left, and it renews at 1998-07-11T00:00:00.000Z"
    )
    assert caught.value.facts == {
        "cap": "25",
        "left": "5",
        "unit": "credits",
        "scope": "account",
        "renews_at": "1998-07-11T00:00:00.000Z",
    }
    order(books, account="zeta")
    books.now_ms = MIDNIGHT_MS + DAY_MS
    order(books)
    assert_sound(books)


@pytest.mark.parametrize(
    ("scope", "subject", "others"),
    [("all", "", []), ("key", "7", [("acme", "8")]), ("account", "acme", [("zeta", "9")])],
)
def test_each_scope_counts_its_own(
    books: Books, scope: CapScope, subject: str, others: list[tuple[str, str]]
) -> None:
    cap(books, scope, subject, CREDITS, 10)
    order(books, key="7")
    with pytest.raises(DayCapReached):
        order(books, key="7")
    for account, key in others:
        order(books, account=account, key=key)


def test_a_models_cap_leaves_other_models_alone(books: Books) -> None:
    cap(books, "model", "sora-2", CREDITS, 0)
    order(books, "runway-gen4.5")
    with pytest.raises(DayCapReached, match="the day's cap of model sora-2 is 0 credits: 0 are left"):
        order(books)


def test_a_cap_in_money_counts_what_providers_charge(books: Books) -> None:
    cap(books, "all", "", "USD", 1_000_000)
    order(books, "runway-gen4.5")
    order(books)  # in yuan
    with pytest.raises(DayCapReached, match=r"the day's cap of everything is 1 USD: 0\.4 are left"):
        order(books, "runway-gen4.5")


def test_what_is_refunded_is_not_spent_and_a_retry_is(books: Books) -> None:
    cap(books, "account", "acme", CREDITS, 10)
    batch_id = order(books)
    (task,) = books.claim()
    books.name([task])
    books.finish([(task, NO)])
    books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms)
    with pytest.raises(DayCapReached):
        order(books)
    (task,) = books.claim()
    books.name([task])
    books.finish([(task, NO)])
    order(books)
    with pytest.raises(DayCapReached):
        books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms)
    (task,) = books.claim()
    books.name([task])
    books.finish([(task, video(task))])
    views = books.database.run_reading(cap_views, now_ms=books.now_ms)
    assert views == [
        {
            "scope": "account",
            "subject": "acme",
            "unit": "credits",
            "cap": "10",
            "spent": "10",
            "left": "0",
            "renews_at": "1998-07-11T00:00:00.000Z",
        }
    ]
    assert_sound(books)


def test_buyers_at_the_same_time_do_not_pass_a_cap_together(books: Books) -> None:
    cap(books, "all", "", CREDITS, 30)
    start = threading.Barrier(8)
    refused: list[DayCapReached] = []

    def buy(number: int) -> None:
        start.wait()
        try:
            order(books, account=("acme", "zeta")[number % 2])
        except DayCapReached as error:
            refused.append(error)

    threads = [threading.Thread(target=buy, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    assert books.row("SELECT SUM(credits) AS spent FROM video_tasks") == {"spent": 30}


def test_caps_are_changed_and_removed(books: Books) -> None:
    cap(books, "account", "acme", CREDITS, 0)
    cap(books, "account", "acme", CREDITS, 10)
    order(books)
    with pytest.raises(DayCapReached):
        order(books)
    assert books.database.run(caps.remove_caps, "account", "acme") == 1
    order(books)


def test_a_database_with_tasks_is_migrated_and_then_capped(books: Books) -> None:
    order(books)

    def back_and_forth(connection: Connection) -> None:
        connection.execute(text("DROP TABLE day_caps"))
        connection.execute(text("DROP INDEX ix_video_tasks_made"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0014'"))
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0015")
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": migrate.head()})

    books.database.run(back_and_forth)
    cap(books, "all", "", CREDITS, 15)
    with pytest.raises(DayCapReached, match="5 are left"):
        order(books)
