"""An operator gives an item the remote task that was bought for it; whatever is wrong changes nothing."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from rushes.domain.errors import InsufficientCredits, ItemNotAdoptable, NotFound, RushesError
from rushes.domain.task import TIMEOUT, Failed, FailureType, NoAnswer, Processing, Succeeded
from rushes.money import adoption
from rushes.money.audit.audit import audit
from rushes.money.settle import Group
from rushes.simulator import running_simulator
from rushes.store import ledger
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask
from tests.books import REFUSED, Books, assert_sound, batch, video
from tests.harness import FAST, items, rushes_on

VIDEO = Succeeded("https://files.example/found.mp4", provider_cost=0.5)
TIMED_OUT = Failed(TIMEOUT, FailureType.TIMEOUT)


@pytest.fixture
def books(database: Database) -> Books:
    """An account with 30 credits."""
    made = Books(database)
    made.grant(made.account(), 30)
    return made


def adopt(books: Books, index: int, remote: str, answer: Any = VIDEO, account: str | None = None) -> None:
    """As `Rushes.adopt`, with this answer of the provider."""

    def find(connection: Connection) -> adoption.Adoptable:
        owner = None if account is None else ledger.account_id(connection, account)
        return adoption.find_adoptable(connection, "bat_1", index, remote, account_id=owner)

    found = books.database.run_reading(find)
    good = adoption.check_answer(found, answer)
    books.database.run(adoption.adopt_remote_task, found, remote, good, now_ms=books.now_ms)


def refused(books: Books, index: int, remote: str, answer: Any = VIDEO, account: str | None = None) -> str:
    """Why it is refused, in one line; nothing has changed."""
    before = books.everything()
    with pytest.raises(RushesError) as refusal:
        adopt(books, index, remote, answer, account)
    assert books.everything() == before
    assert_sound(books)
    assert "\n" not in refusal.value.message
    return f"{type(refusal.value).__name__}: {refusal.value.message}"


def unconfirmed(books: Books) -> ClaimedTask:
    """A batch of one item whose submit nobody knows the outcome of."""
    books.accept(1, [10])
    (task,) = books.claim()
    books.apply(Group(unconfirmed=[(task.task_id, 1)]))
    return task


def account_of(books: Books) -> tuple[int, int]:
    row = books.row("SELECT available, held FROM accounts WHERE id = 1")
    return row["available"], row["held"]


def test_an_unconfirmed_item_is_settled_with_the_remote_task_that_succeeded(books: Books) -> None:
    unconfirmed(books)
    adopt(books, 0, "found")
    row = books.row("SELECT status, attempt, remote_task_id, video_url, provider_cost FROM video_tasks")
    assert tuple(row.values()) == ("succeeded", 1, "found", VIDEO.video_url, 0.5)
    assert (batch(books)["status"], account_of(books)) == ("succeeded", (20, 0))
    assert books.database.run_reading(audit).unconfirmed_submits == ()
    assert_sound(books)


def test_an_unconfirmed_item_follows_a_remote_task_that_is_still_rendering(books: Books) -> None:
    task = unconfirmed(books)
    adopt(books, 0, "found", Processing(5))
    assert books.row("SELECT status, remote_task_id, unconfirmed_at_ms FROM video_tasks") == {
        "status": "processing",
        "remote_task_id": "found",
        "unconfirmed_at_ms": None,
    }
    assert books.apply(Group(given_up=[(task.task_id, 1)])).settled == frozenset(), (
        "its worker cannot give it up"
    )
    assert books.finish([(task, video(task))]).settled == {task.task_id}
    assert_sound(books)


@pytest.mark.parametrize("own_id", [False, True])
def test_a_failed_item_is_reserved_anew_and_settled_once(books: Books, own_id: bool) -> None:
    """Given up without an id, or timed out with its own, which goes with the remote task."""
    books.accept(1, [10, 10])
    task, other = books.claim()
    if own_id:
        books.name([task])
        books.finish([(task, TIMED_OUT)])
    else:
        books.apply(Group(unconfirmed=[(task.task_id, 1)]))
        books.apply(Group(given_up=[(task.task_id, 1)]))
    books.finish([(other, video(other))])
    assert batch(books)["finalized_at_ms"] is not None
    assert account_of(books) == (20, 0)
    adopt(books, task.task_id - 1, "remote-1-1" if own_id else "found")
    rows = books.rows("SELECT status, retry_number, is_current, remote_task_id FROM video_tasks ORDER BY id")
    assert [tuple(row.values()) for row in (rows[0], rows[2])] == [
        ("failed", 0, 0, None),
        ("succeeded", 1, 1, "remote-1-1" if own_id else "found"),
    ]
    closed = batch(books)
    assert (closed["status"], closed["succeeded"], closed["failed"]) == ("succeeded", 2, 0)
    assert (closed["credits_reserved"], closed["credits_settled"], closed["credits_refunded"]) == (30, 20, 10)
    assert account_of(books) == (10, 0)
    assert_sound(books)
    assert "is succeeded" in refused(books, task.task_id - 1, "another")


def test_what_has_or_needs_no_remote_task_is_refused(books: Books) -> None:
    books.accept(1, [1, 1, 1, 1])
    at_provider, settled, refused_task, submitting = books.claim()
    books.name([at_provider, settled])
    books.finish([(settled, video(settled))])
    books.apply(Group(refused=[(refused_task.task_id, 1, REFUSED)]))
    assert "is at the provider, as 'remote-1-1'" in refused(books, 0, "found")
    assert "is succeeded" in refused(books, 1, "found")
    assert "failed with output_moderation" in refused(books, 2, "found")
    assert "is being submitted" in refused(books, 3, "found")
    assert refused(books, 4, "found") == "NotFound: the batch has no item 4"
    books.apply(Group(unconfirmed=[(submitting.task_id, 1)]))
    assert "belongs to another attempt" in refused(books, 3, "remote-1-1")
    assert "belongs to another attempt" in refused(books, 3, "remote-2-1")


def test_another_accounts_item_is_not_found(books: Books) -> None:
    unconfirmed(books)
    books.account("other")
    assert refused(books, 0, "found", account="other") == 'NotFound: there is no batch "bat_1"'
    assert "no account" in refused(books, 0, "found", account="nobody")
    adopt(books, 0, "found", account="default")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Failed("gone", FailureType.NOT_FOUND), "NotFound: grsai knows no such remote task"),
        (Failed("no good", FailureType.MODEL_ERROR), "ItemNotAdoptable: the remote task failed: no good"),
        (NoAnswer("HTTP 503"), "the provider gave no answer about the remote task: HTTP 503"),
    ],
)
def test_a_remote_task_without_a_video_is_refused_with_the_reason(
    books: Books, answer: Any, reason: str
) -> None:
    unconfirmed(books)
    assert reason in refused(books, 0, "found", answer)


def test_a_failed_item_waits_for_its_remote_task_and_for_its_credits(books: Books) -> None:
    task = unconfirmed(books)
    books.apply(Group(given_up=[(task.task_id, 1)]))
    assert "still rendering" in refused(books, 0, "found", Processing(50))
    books.accept(1, [25], name="bat_2")
    assert refused(books, 0, "found").startswith(InsufficientCredits.__name__)


def test_what_changed_between_the_poll_and_the_adoption_is_refused(books: Books) -> None:
    task = unconfirmed(books)
    found = books.database.run_reading(adoption.find_adoptable, "bat_1", 0, "found")
    books.apply(Group(accepted=[(task.task_id, 1, "by callback")]))
    before = books.everything()
    for stale in (found, replace(found, attempt=7)):
        with pytest.raises(ItemNotAdoptable, match="changed meanwhile"):
            books.database.run(adoption.adopt_remote_task, stale, "found", VIDEO, now_ms=1)
    assert books.everything() == before


def test_the_library_polls_the_remote_task_and_refuses_an_id_that_the_provider_does_not_know(
    database_url: str,
) -> None:
    async def scenario() -> None:
        with running_simulator(FAST) as simulator:
            async with rushes_on(database_url, simulator.base_url) as rushes:
                made = await rushes.create_batch(items(1))
                await rushes.database.transact(_leave_unconfirmed)
                with pytest.raises(NotFound, match="knows no such remote task"):
                    await rushes.adopt(made["batch_id"], 0, "no-such-task")
                with pytest.raises(NotFound, match="no account"):
                    await rushes.adopt(made["batch_id"], 0, "no-such-task", account="nobody")
                assert (await rushes.audit()).ok

    asyncio.run(scenario())


def _leave_unconfirmed(connection: Connection) -> None:
    connection.exec_driver_sql(
        "UPDATE video_tasks SET status = 'processing', attempt = 1, worker_id = 'w', unconfirmed_at_ms = 1,"
        " dispatched_at_ms = 1"
    )
    connection.exec_driver_sql(
        "UPDATE batches SET status = 'processing', pending_count = 0, processing_count = 1"
    )
    connection.exec_driver_sql(
        "INSERT INTO workers (id, host, pid, started_at_ms, lease_expires_at_ms) VALUES ('w', 'h', 1, 1, 1)"
    )
    connection.exec_driver_sql(
        "INSERT INTO batch_events (batch_id, seq, type, created_at_ms)"
        " SELECT id, event_seq + 1, 'batch.processing', 1 FROM batches"
    )
    connection.exec_driver_sql("UPDATE batches SET event_seq = event_seq + 1")
