"""Grants, reservations, refunds and expiries, as the ledger, the lots and the account tell them."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rushes.domain.credits import CREDITS_MAX, GENESIS_HASH, EntryType, Lot, LotKind, Part, reserve
from rushes.domain.errors import InputError, InsufficientCredits, NotFound
from rushes.money.audit.audit import audit
from rushes.store import ledger
from rushes.store.database import Database
from rushes.store.migrations import migrate
from tests.books import REFUSED, Books, video


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


def balance(books: Books, account: int = 1) -> tuple[int, int]:
    row = books.row("SELECT available, held FROM accounts WHERE id = :id", id=account)
    return row["available"], row["held"]


def remaining(books: Books) -> dict[int, int]:
    return {row["id"]: row["remaining"] for row in books.rows("SELECT id, remaining FROM credit_lots")}


def told(books: Books) -> list[tuple[str, int, int, str]]:
    """Every entry's type, delta, balance after it, and parts."""
    rows = books.rows("SELECT type, delta, balance_after, parts FROM ledger_entries ORDER BY account_id, seq")
    return [(row["type"], row["delta"], row["balance_after"], row["parts"]) for row in rows]


# --- accounts and grants --------------------------------------------------------------------------------


def test_an_account_is_made_once_with_no_credits(books: Books) -> None:
    first = books.account("studio")
    assert books.account("studio") == first
    assert books.account("another") != first
    assert balance(books, first) == (0, 0)
    row = books.row("SELECT ledger_seq, ledger_hash FROM accounts WHERE id = :id", id=first)
    assert (row["ledger_seq"], row["ledger_hash"]) == (0, GENESIS_HASH)


@pytest.mark.parametrize("name", ["", "a" * 101, "two\nlines", "nul\0"])
def test_an_account_without_a_printable_name_is_refused(books: Books, name: str) -> None:
    with pytest.raises(InputError):
        books.account(name)
    assert books.rows("SELECT id FROM accounts") == []


def test_an_unknown_account_is_not_found(books: Books) -> None:
    with pytest.raises(NotFound):
        books.database.run(ledger.account_id, "nobody")
    with pytest.raises(NotFound):
        books.grant(77, 5)


def test_a_grant_is_a_lot_an_entry_and_a_balance(books: Books) -> None:
    account = books.account()
    permanent = books.grant(account, 100)
    bonus = books.grant(account, 30, expires_at_ms=5_000)
    assert told(books) == [("purchase", 100, 100, "[[1,100]]"), ("bonus", 30, 130, "[[2,30]]")]
    assert remaining(books) == {permanent: 100, bonus: 30}
    assert balance(books) == (130, 0)


@pytest.mark.parametrize(
    ("amount", "kind", "expires_at_ms"),
    [
        (0, LotKind.PERMANENT, None),
        (-5, LotKind.PERMANENT, None),
        (CREDITS_MAX + 1, LotKind.PERMANENT, None),
        (5, LotKind.PERMANENT, 9_000),
        (5, LotKind.BONUS, None),
        (5, LotKind.BONUS, 1_000),  # now
        (5, LotKind.BONUS, 999),
    ],
)
def test_a_grant_that_makes_no_sense_writes_nothing(
    books: Books, amount: int, kind: LotKind, expires_at_ms: int | None
) -> None:
    account = books.account()
    before = books.everything()
    with pytest.raises(InputError):
        books.database.run(
            ledger.grant, account, amount, now_ms=1_000, kind=kind, expires_at_ms=expires_at_ms
        )
    assert books.everything() == before


def test_an_account_cannot_hold_more_than_the_largest_balance(books: Books) -> None:
    account = books.account()
    books.grant(account, CREDITS_MAX)
    before = books.everything()
    with pytest.raises(InputError):
        books.grant(account, 1)
    assert books.everything() == before


# --- reserving and giving back --------------------------------------------------------------------------


def test_a_reservation_spends_the_bonus_that_expires_first(books: Books) -> None:
    account = books.account()
    books.grant(account, 100)
    books.grant(account, 20, expires_at_ms=9_000)
    books.grant(account, 20, expires_at_ms=5_000)
    books.accept(account, [25, 25])
    assert told(books)[-1] == ("reserve", -50, 90, "[[3,20],[2,20],[1,10]]")
    assert remaining(books) == {1: 90, 2: 0, 3: 0}
    assert balance(books) == (90, 50)


def test_a_reservation_of_more_than_is_there_writes_nothing(books: Books) -> None:
    account = books.account()
    books.grant(account, 10)
    before = books.everything()
    with pytest.raises(InsufficientCredits) as refused:
        books.accept(account, [6, 6])
    assert (refused.value.required, refused.value.available) == (12, 10)
    assert books.everything() == before


def test_expired_credits_are_not_spent_and_the_refusal_leaves_even_the_sweep_undone(books: Books) -> None:
    account = books.account()
    books.grant(account, 10, expires_at_ms=5_000)
    books.grant(account, 3)
    books.now_ms = 5_000
    before = books.everything()
    with pytest.raises(InsufficientCredits) as refused:
        books.accept(account, [5])
    assert refused.value.available == 3
    assert books.everything() == before


def test_failures_give_back_what_was_taken_last(books: Books) -> None:
    account = books.account()
    books.grant(account, 15, expires_at_ms=9_000)
    books.grant(account, 100)
    books.accept(account, [10, 10, 10])
    first, second, third = books.claim()
    books.finish([(first, REFUSED)])
    books.finish([(second, video(second))])
    books.finish([(third, REFUSED)])
    assert told(books)[2:] == [
        ("reserve", -30, 85, "[[1,15],[2,15]]"),
        ("refund", 10, 95, "[[2,10]]"),
        ("settle", 0, 95, "[[1,10]]"),
        ("refund", 10, 105, "[[2,5],[1,5]]"),
    ]
    assert remaining(books) == {1: 5, 2: 100}
    assert balance(books) == (105, 0)


def test_a_refund_never_turns_bonus_into_permanent_credits(books: Books) -> None:
    """The bonus expires while it is reserved: refunded, it comes back expired and is swept."""
    account = books.account()
    books.grant(account, 20, expires_at_ms=5_000)
    books.grant(account, 100)
    books.accept(account, [10, 10])
    tasks = books.claim()
    books.now_ms = 6_000
    assert books.database.run(ledger.expire_lots, books.now_ms) == 0  # nothing of it is available
    books.finish([(task, REFUSED) for task in tasks])
    assert remaining(books) == {1: 20, 2: 100}
    assert books.database.run(ledger.expire_lots, books.now_ms) == 1
    assert told(books)[-1] == ("expire", -20, 100, "[[1,20]]")
    assert remaining(books) == {1: 0, 2: 100}
    with pytest.raises(InsufficientCredits):
        books.accept(account, [101], name="bat_2")
    books.accept(account, [100], name="bat_3")


def test_expired_lots_are_emptied_once_each_with_an_entry_of_its_own(books: Books) -> None:
    account, other = books.account(), books.account("other")
    books.grant(account, 5, expires_at_ms=2_000)
    books.grant(account, 6, expires_at_ms=3_000)
    books.grant(account, 7, expires_at_ms=4_000)
    books.grant(other, 8, expires_at_ms=2_500)
    books.grant(other, 9)
    assert books.database.run(ledger.expire_lots, 1_999) == 0
    assert books.database.run(ledger.expire_lots, 3_000) == 3
    assert books.database.run(ledger.expire_lots, 3_000) == 0
    assert remaining(books) == {1: 0, 2: 0, 3: 7, 4: 0, 5: 9}
    assert [entry for entry in told(books) if entry[0] == "expire"] == [
        ("expire", -5, 13, "[[1,5]]"),
        ("expire", -6, 7, "[[2,6]]"),
        ("expire", -8, 9, "[[4,8]]"),
    ]


def test_one_accounts_expiry_leaves_the_others_alone(books: Books) -> None:
    account, other = books.account(), books.account("other")
    books.grant(account, 5, expires_at_ms=2_000)
    books.grant(other, 8, expires_at_ms=2_000)
    assert books.database.run(ledger.expire_lots, 2_000, account=account) == 1
    assert remaining(books) == {1: 0, 2: 8}


def test_a_correction_takes_credits_of_a_named_lot(books: Books) -> None:
    account = books.account()
    lot = books.grant(account, 100)

    def correct(connection: Any) -> None:
        book = ledger.Book(connection, [account])
        book.append(account, EntryType.ADJUST, [Part(lot, 40)], now_ms=books.now_ms, description="wrong")
        book.write()

    books.database.run(correct)
    assert told(books)[-1] == ("adjust", -40, 60, "[[1,40]]")
    assert books.database.run_reading(audit).ok


def test_entries_of_a_transaction_that_fails_are_not_there(books: Books) -> None:
    account = books.account()
    lot = books.grant(account, 100)
    before = books.everything()

    def fail_after_writing(connection: Any) -> None:
        book = ledger.Book(connection, [account])
        book.append(account, EntryType.ADJUST, [Part(lot, 40)], now_ms=1_000)
        book.write()
        raise InputError("a change of mind")

    with pytest.raises(InputError):
        books.database.run(fail_after_writing)
    assert books.everything() == before


# --- random sequences against a small model -------------------------------------------------------------

GRANT = st.tuples(st.just("grant"), st.integers(1, 30), st.none() | st.integers(1, 8))
ACCEPT = st.tuples(st.just("accept"), st.lists(st.integers(0, 12), min_size=1, max_size=4), st.none())
FINISH = st.tuples(st.just("finish"), st.lists(st.booleans(), min_size=1, max_size=4), st.none())
WAIT = st.tuples(st.just("wait"), st.integers(1, 3), st.none())
SWEEP = st.tuples(st.just("sweep"), st.none(), st.none())
STEPS = st.lists(st.one_of(GRANT, ACCEPT, FINISH, WAIT, SWEEP), max_size=25)

STEP_MS = 1_000


class Model:
    """The same rules, written as plainly as possible: every credit is an object that knows its expiry.

    A credit is `None` (permanent) or the millisecond of its expiry.
    """

    def __init__(self) -> None:
        self.available: list[int | None] = []
        # per batch: the credits still held, in the order in which they were taken
        self.held: dict[int, list[int | None]] = {}
        self.spent = 0

    def live(self, now_ms: int) -> list[int | None]:
        """The credits that may be spent, those first that expire first."""
        live = [expiry for expiry in self.available if expiry is None or expiry > now_ms]
        return sorted(live, key=lambda expiry: (expiry is None, expiry or 0))

    def sweep(self, now_ms: int) -> None:
        self.available = self.live(now_ms)

    def reserve(self, batch: int, amount: int, now_ms: int) -> None:
        if amount:
            self.sweep(now_ms)
        order = self.live(now_ms)
        self.held.setdefault(batch, []).extend(order[:amount])
        for expiry in order[:amount]:
            self.available.remove(expiry)

    def resolve(self, batch: int, amount: int, *, success: bool) -> None:
        held = self.held[batch]
        if success:
            self.spent += amount
            self.held[batch] = held[amount:]
        else:
            cut = len(held) - amount
            self.available += held[cut:]
            self.held[batch] = held[:cut]


def play(books: Books, steps: list[tuple[str, Any, Any]]) -> None:
    """Run the steps on the database and on the model, comparing after each one."""
    model, account, flying, accepted = Model(), books.account(), list[Any](), 0
    for action, value, extra in steps:
        match action:
            case "grant":
                expires_at_ms = None if extra is None else books.now_ms + extra * STEP_MS
                books.grant(account, value, expires_at_ms=expires_at_ms)
                model.available += [expires_at_ms] * value
            case "accept":
                accepted += 1
                if sum(value) > len(model.live(books.now_ms)):
                    with pytest.raises(InsufficientCredits):
                        books.accept(account, value, name=f"bat_{accepted}")
                    continue
                batch = books.accept(account, value, name=f"bat_{accepted}")
                model.reserve(batch, sum(value), books.now_ms)
                flying += books.claim()
            case "finish":
                verdicts = list(zip(flying, value, strict=False))
                del flying[: len(verdicts)]
                prices = {
                    row["id"]: row["credits"] for row in books.rows("SELECT id, credits FROM video_tasks")
                }
                books.finish([(task, video(task) if success else REFUSED) for task, success in verdicts])
                for task, success in sorted(verdicts, key=lambda pair: pair[0].task_id):
                    model.resolve(task.batch_id, prices[task.task_id], success=success)
            case "wait":
                books.now_ms += value * STEP_MS
            case _:
                assert action == "sweep"
                books.database.run(ledger.expire_lots, books.now_ms)
                model.sweep(books.now_ms)
        compare(books, model)
    report = books.database.run_reading(audit)
    assert report.violations == ()


def compare(books: Books, model: Model) -> None:
    lots = books.rows(
        "SELECT expires_at_ms, SUM(remaining) AS credits FROM credit_lots GROUP BY expires_at_ms"
    )
    found = {row["expires_at_ms"]: int(row["credits"]) for row in lots if row["credits"]}
    assert found == {expiry: model.available.count(expiry) for expiry in set(model.available)}
    held = sum(map(len, model.held.values()))
    assert balance(books) == (len(model.available), held)
    settled = books.row("SELECT COALESCE(SUM(credits_settled), 0) AS settled FROM batches")["settled"]
    assert settled == model.spent


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_random_sequences_agree_with_a_model_of_single_credits_on_sqlite(
    steps: list[tuple[str, Any, Any]],
) -> None:
    database = Database("sqlite://", inline=True)
    migrate.upgrade(database)
    play(Books(database), steps)
    database.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_random_sequences_agree_with_a_model_of_single_credits_on_postgresql(
    emptied_postgresql: Callable[[], Database], steps: list[tuple[str, Any, Any]]
) -> None:
    play(Books(emptied_postgresql()), steps)


@pytest.fixture
def emptied_postgresql(new_database_url: Callable[[str], str]) -> Any:
    """Gives the same database, emptied, again and again: making one for each example takes too long."""
    database = Database(new_database_url("postgresql"))

    def empty() -> Database:
        def run(connection: Any) -> None:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql("TRUNCATE accounts, workers RESTART IDENTITY CASCADE")

        database.run(run)
        return database

    yield empty
    database.close()


# --- many lots --------------------------------------------------------------------------------------------


def test_a_purchase_looks_at_no_more_lots_than_it_needs(books: Books) -> None:
    """An account may have thousands: of small grants, or of months of bonuses."""
    account = books.account()
    for number in range(100):
        books.grant(account, 10, expires_at_ms=None if number % 2 else 5_000 + number)
    seen = [
        len(books.database.run_reading(ledger.lots_for, account, amount, now_ms=books.now_ms))
        for amount in (1, 160, 161, 10_000)
    ]
    assert seen == [ledger.LOTS_READ, ledger.LOTS_READ, 100, 100]
    books.accept(account, [10] * 60)  # of more lots than it reads first
    parts = [line["lot_id"] for line in books.rows("SELECT lot_id FROM batch_reservations ORDER BY line")]
    assert parts == [*range(1, 100, 2), *range(2, 21, 2)]
    books.now_ms = 5_050  # some of the bonuses are lost; all of them were spent
    with pytest.raises(InsufficientCredits, match="401 credits are required, 400"):
        books.accept(account, [401], name="bat_2")
    books.accept(account, [400], name="bat_2")
    assert books.database.run_reading(audit).violations == ()


def test_an_audit_of_many_purchases_looks_at_no_lot_that_is_spent(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs rushes alone is granted a lot for each batch."""
    account, looked_at = books.account(), 0
    for number in range(100):
        books.grant(account, 10)
        books.accept(account, [10], name=f"bat_{number}")
    for _ in range(100):
        books.grant(account, 10)

    def counted(lots: Iterable[Lot], amount: int, now_ms: int) -> list[Part]:
        nonlocal looked_at
        given = list(lots)
        looked_at += len(given)
        return reserve(given, amount, now_ms)

    monkeypatch.setattr("rushes.domain.credits.reserve", counted)
    assert books.database.run_reading(audit).violations == ()
    assert looked_at == 100
