"""What the operators' pages ask: batches found by anything one may know of them, in any order."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from rushes.dashboard.pages.month import month_span
from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
from rushes.domain.credits import LotKind
from rushes.domain.errors import NotFound
from rushes.domain.input.priced import validate_drafts
from rushes.domain.input.prompts import Defaults, drafts_from_objects
from rushes.money import accept, acts
from rushes.read.board.accounts import account_board, month_statement
from rushes.read.board.attention import alerts, items_of_alert
from rushes.read.board.batch_list import BatchList, ListFilter, batch_list
from rushes.read.board.orders import order_of
from rushes.read.board.outcomes import By, outcomes_by
from rushes.read.installation.gauges import read_gauges
from rushes.read.ledger import LOTS_SHOWN_MAX, balance
from rushes.read.scope import Span
from rushes.store import ledger
from rushes.store.database import Database
from tests.books import Books
from tests.forecasts import forecaster

NOW_MS = 900_000_000_000


def filled(database: Database) -> None:
    """Three batches of two accounts."""
    books = Books(database, now_ms=NOW_MS)
    ids = {name: books.account(name) for name in ("Acme Studio", "other")}
    for account_id in ids.values():
        books.grant(account_id, 1000)
    batches: list[tuple[str, str, str | None, list[dict[str, Any]]]] = [
        ("bat_aaa", "Acme Studio", "Spring", [{"prompt": "A Paper boat", "custom_id": "boat"}]),
        ("bat_bbb", "other", None, [{"prompt": "a 100%_kite", "model": "veo-flash"}] * 3),
        ("bat_ccc", "other", "autumn", [{"prompt": "雨夜的胡同"}, {"prompt": "a car"}]),
    ]
    for number, (public_id, account, name, items) in enumerate(batches):
        drafts = drafts_from_objects(items, Defaults("sora-2", {}))
        tasks = accept.priced_tasks(validate_drafts(drafts, DEFAULT_CATALOGUE, NOW_MS / 1000))
        request = accept.BatchRequest(ids[account], "scope", f"order-{number}", "hash", tasks, name=name)
        database.run(accept.accept_batch, request, public_id=public_id, now_ms=NOW_MS + number * 86_400_000)
    database.run(
        lambda connection: connection.execute(
            text("UPDATE video_tasks SET remote_task_id = 'remote-7' WHERE prompt = 'a car'")
        )
    )


def listed(database: Database, wanted: ListFilter, *, limit: int = 10, offset: int = 0) -> BatchList:
    return database.run_reading(
        batch_list, wanted, limit=limit, offset=offset, forecaster=forecaster(), now_ms=NOW_MS
    )


def ids_of(found: BatchList) -> list[str]:
    return [batch["batch_id"] for batch in found.batches]


def test_a_search_finds_batches_by_anything_one_may_know(database: Database) -> None:
    filled(database)
    for search, wanted in {
        "bat_b": ["bat_bbb"],
        "ccc": ["bat_ccc"],
        "order-1": ["bat_bbb"],
        "SPRING": ["bat_aaa"],
        "acme": ["bat_aaa"],
        "paper": ["bat_aaa"],
        "boat": ["bat_aaa"],
        "胡同": ["bat_ccc"],
        "remote-7": ["bat_ccc"],
        "bat_ccc-1": ["bat_ccc"],
        "100%_k": ["bat_bbb"],
        "100_": [],
        "nothing like it": [],
    }.items():
        assert ids_of(listed(database, ListFilter(search=search))) == wanted, search
    found = listed(database, ListFilter(search="remote-7")).items
    assert [(item.item_id, item.found_by) for item in found] == [("bat_ccc-1", "remote_task_id")]
    assert listed(database, ListFilter(search="boat")).items[0].found_by == "custom_id"


def test_filters_narrow_and_heads_sort(database: Database) -> None:
    filled(database)
    assert ids_of(listed(database, ListFilter())) == ["bat_ccc", "bat_bbb", "bat_aaa"]
    assert ids_of(listed(database, ListFilter(account="other"))) == ["bat_ccc", "bat_bbb"]
    assert ids_of(listed(database, ListFilter(model="veo-flash"))) == ["bat_bbb"]
    assert ids_of(listed(database, ListFilter(status="failed"))) == []
    day = 86_400_000
    assert ids_of(listed(database, ListFilter(created_from_ms=NOW_MS + day))) == ["bat_ccc", "bat_bbb"]
    assert ids_of(listed(database, ListFilter(created_to_ms=NOW_MS + day))) == ["bat_aaa"]
    assert ids_of(listed(database, ListFilter(sort="reserved"))) == ["bat_bbb", "bat_ccc", "bat_aaa"]
    by_name = ListFilter(sort="name", ascending=True)
    assert ids_of(listed(database, by_name)) == ["bat_ccc", "bat_bbb", "bat_aaa"], "autumn, order-1, Spring"
    first = listed(database, by_name, limit=2)
    assert (ids_of(first), first.has_more) == (["bat_ccc", "bat_bbb"], True)
    rest = listed(database, by_name, limit=2, offset=2)
    assert (ids_of(rest), rest.has_more) == (["bat_aaa"], False)


def test_an_order_can_be_written_again(database: Database) -> None:
    filled(database)
    account, items = database.run_reading(order_of, "bat_aaa", only_failed=False)
    assert account == "Acme Studio"
    assert items == [{"prompt": "A Paper boat", "model": "sora-2", "custom_id": "boat"}]
    assert database.run_reading(order_of, "bat_aaa", only_failed=True) == ("", [])


def test_the_inbox_counts_what_is_at_stake_and_lists_its_items(database: Database) -> None:
    filled(database)

    def troubled(connection: Connection) -> None:
        running = "status = 'processing', worker_id = 'w'"
        failed = "status = 'failed', error = 'SUBMIT_OUTCOME_UNKNOWN', failure_type = 'unknown'"
        changes = (
            (f"{running}, unconfirmed_at_ms = :now - 5000, dispatched_at_ms = :now - 6000", "bat_aaa"),
            (f"{running}, dispatched_at_ms = :now - 86400000", "bat_ccc"),
            (f"{failed}, completed_at_ms = :now - 9000", "bat_bbb"),
        )
        for change, batch in changes:
            connection.execute(
                text(
                    f"UPDATE video_tasks SET {change}"
                    " WHERE batch_id = (SELECT id FROM batches WHERE public_id = :batch)"
                ),
                {"now": NOW_MS, "batch": batch} if ":now" in change else {"batch": batch},
            )

    database.run(troubled)
    gauges = database.run_reading(read_gauges, NOW_MS)
    found = {
        alert.kind: alert for alert in database.run_reading(alerts, gauges, [], DEFAULT_CATALOGUE, NOW_MS)
    }
    assert set(found) == {"no_worker", "unconfirmed", "overdue", "possibly_bought"}
    counts = {kind: (alert.count, alert.credits) for kind, alert in found.items()}
    assert counts["unconfirmed"] == (1, 10)
    assert counts["overdue"] == (2, 20)
    assert counts["possibly_bought"] == (3, 45)
    assert found["unconfirmed"].since_ms == NOW_MS - 5000
    listed_items = database.run_reading(items_of_alert, "possibly_bought", DEFAULT_CATALOGUE, NOW_MS)
    assert [item.item_id for item in listed_items] == ["bat_bbb-0", "bat_bbb-1", "bat_bbb-2"]
    assert database.run_reading(items_of_alert, "trouble", DEFAULT_CATALOGUE, NOW_MS) == []


def test_outcomes_are_counted_by_model_provider_and_account(database: Database) -> None:
    filled(database)
    hour = 3_600_000

    def ended(connection: Connection) -> None:
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'succeeded', video_url = 'http://x',"
                " dispatched_at_ms = :now - 30000, completed_at_ms = :now WHERE model = 'veo-flash'"
            ),
            {"now": NOW_MS},
        )
        connection.execute(
            text(
                "UPDATE video_tasks SET status = 'failed', failure_type = 'model_error',"
                " error = 'no', completed_at_ms = :at WHERE custom_id = 'boat'"
            ),
            {"at": NOW_MS - hour},
        )

    database.run(ended)

    def by(what: By) -> list[tuple[object, ...]]:
        found = database.run_reading(outcomes_by, what, since_ms=NOW_MS - 2 * hour, bucket_ms=hour)
        return [
            (one.bucket, one.name, one.succeeded, one.failed, one.render_ms, one.credits) for one in found
        ]

    assert by("model") == [(1, "sora-2", 0, 1, 0, 0), (2, "veo-flash", 3, 0, 90_000, 45)]
    assert by("account") == [(1, "Acme Studio", 0, 1, 0, 0), (2, "other", 3, 0, 90_000, 45)]
    assert [row[1] for row in by("provider")] == ["grsai", "grsai"]


def test_a_month_says_what_was_had_got_and_paid(database: Database) -> None:
    filled(database)
    day = 86_400_000
    database.run(acts.cancel, "bat_bbb", now_ms=NOW_MS + 2 * day + 1)
    found = database.run_reading(month_statement, "other", from_ms=NOW_MS, to_ms=NOW_MS + day + 1)
    assert (found.opening, found.closing) == (0, 955)
    moves = {kind: (count, delta) for kind, count, delta in found.moves}
    assert moves == {"purchase": (1, 1000), "reserve": (1, -45)}
    assert (found.models, found.paid) == ([], 0)
    later = database.run_reading(month_statement, "other", from_ms=NOW_MS + day + 1, to_ms=NOW_MS + 9 * day)
    assert (later.opening, later.closing) == (955, 980)
    assert {kind: delta for kind, _, delta in later.moves} == {"reserve": -20, "refund": 45}
    board = database.run_reading(account_board, "other", entries=Span(2), now_ms=NOW_MS + 3 * day)
    assert [balance for _, balance in board.days][-1] == 980
    assert (len(board.entries), board.entry_count) == (2, 6)


def test_a_balance_names_the_lots_that_are_spent_next_and_counts_the_others(database: Database) -> None:
    account_id = database.run(ledger.ensure_account, "acme", NOW_MS)
    for number in range(LOTS_SHOWN_MAX):
        database.run(ledger.grant, account_id, 10, now_ms=NOW_MS)
        if number < 3:
            end_ms = NOW_MS + 1000 * (3 - number)
            bonus: dict[str, Any] = {"kind": LotKind.BONUS, "expires_at_ms": end_ms}
            database.run(ledger.grant, account_id, 5 + number, now_ms=NOW_MS, **bonus)
    other = database.run(ledger.ensure_account, "other", NOW_MS)
    database.run(ledger.grant, other, 9, now_ms=NOW_MS, kind=LotKind.BONUS, expires_at_ms=NOW_MS + 1)

    def seen(at_ms: int) -> tuple[int, list[int], int, int]:
        found = database.run_reading(balance, "acme", now_ms=at_ms)
        amounts = [lot["remaining"] for lot in found["lots"]]
        assert found["available"] == sum(amounts) + found["further_credits"]
        assert found["available"] == database.run_reading(ledger.available_credits, account_id, at_ms)
        return found["available"], amounts, found["further_lots"], found["further_credits"]

    assert seen(NOW_MS) == (518, [10, 5, 10, 6, 10, 7] + [10] * 44, 3, 30)
    # the first two have expired, and nobody has swept them yet
    assert seen(NOW_MS + 2000) == (505, [10, 5] + [10] * 48, 1, 10)
    assert seen(NOW_MS + 3000) == (500, [10] * 50, 0, 0)
    assert database.run(ledger.expire_lots, NOW_MS + 3000, account=account_id) == 3
    assert seen(NOW_MS + 3000) == (500, [10] * 50, 0, 0)


def test_a_day_ends_with_its_last_entry_by_number_although_clocks_of_machines_differ(
    database: Database,
) -> None:
    day = 86_400_000
    today = NOW_MS // day * day
    account_id = database.run(ledger.ensure_account, "acme", today)
    last_ms = today - 2 * day + 5 * 3_600_000
    for amount, at_ms in ((5, today - 3 * day), (7, last_ms), (1, last_ms - 900), (2, today), (9, today + 1)):
        database.run(ledger.grant, account_id, amount, now_ms=at_ms)
    found = database.run_reading(account_board, "acme", entries=Span(2), now_ms=NOW_MS).days
    assert found == [(today - 3 * day, 5), (today - 2 * day, 13), (today, 24)]


def test_a_month_adds_up_although_clocks_of_machines_differ(database: Database) -> None:
    account_id = database.run(ledger.ensure_account, "acme", NOW_MS)
    for amount, at_ms in ((5, NOW_MS + 10), (7, NOW_MS + 5), (1, NOW_MS + 20)):
        database.run(ledger.grant, account_id, amount, now_ms=at_ms)
    found = database.run_reading(month_statement, "acme", from_ms=NOW_MS, to_ms=NOW_MS + 11)
    assert (found.opening, found.closing, found.moves) == (0, 12, [("purchase", 2, 12)])
    later = database.run_reading(month_statement, "acme", from_ms=NOW_MS + 11, to_ms=NOW_MS + 86_400_000 * 9)
    assert (later.opening, later.closing, later.moves) == (12, 13, [("purchase", 1, 1)])
    assert database.run_reading(month_statement, "acme", from_ms=0, to_ms=NOW_MS).closing == 0


@pytest.mark.parametrize(
    ("month", "next_month"), [("2026-10", "2026-11"), ("2026-12", "2027-01"), ("2024-02", "2024-03")]
)
def test_a_month_ends_where_the_next_one_starts(month: str, next_month: str) -> None:
    assert month_span(month)[1] == month_span(next_month)[0]


@pytest.mark.parametrize("text_", ["", "2026", "2026-13", "2026-1-1", "0000-01", "9999-12", "x" * 300])
def test_what_is_no_month_is_not_found(text_: str) -> None:
    with pytest.raises(NotFound):
        month_span(text_)
