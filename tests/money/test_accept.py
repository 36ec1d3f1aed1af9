"""Accepting, cancelling and retrying: each a transaction that happens once or not at all."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from rushes import telemetry
from rushes.domain.errors import (
    BatchNotCancellable,
    IdempotencyKeyReused,
    InputError,
    InsufficientCredits,
    ItemNotRetryable,
    NotFound,
)
from rushes.domain.input.prompts import TaskDraft
from rushes.domain.task import CANCELLED
from rushes.money.accept import (
    BATCH_ITEMS_MAX,
    AcceptedBatch,
    accept_batch,
    cancel_batch,
    request_hash,
    sweep_cancelled,
)
from rushes.money.retry import retry_all, retry_item
from rushes.money.settle import Group
from rushes.store.database import Database
from tests.books import REFUSED, Books, assert_sound, batch, events, request, video

THREADS = 20


@pytest.fixture
def books(database: Database) -> Books:
    """An account with 1,000 credits."""
    made = Books(database)
    made.grant(made.account(), 1_000)
    return made


# --- accepting ------------------------------------------------------------------------------------------


def test_an_accepted_batch_has_reserved_its_price_and_stored_its_items(books: Books) -> None:
    books.accept(1, [10, 0, 5])
    row = batch(books)
    assert (row["status"], row["total"], row["pending"], row["credits_reserved"]) == ("pending", 3, 3, 15)
    assert row["cost_per_video"] is None
    assert [r["credits"] for r in books.rows("SELECT credits FROM video_tasks ORDER BY item_index")] == [
        10,
        0,
        5,
    ]
    assert books.row("SELECT available, held FROM accounts") == {"available": 985, "held": 15}
    assert_sound(books)


def test_the_same_request_again_returns_the_first_batch_and_reserves_nothing(books: Books) -> None:
    books.accept(1, [10, 10])
    before = books.everything()
    again = books.database.run(
        accept_batch, request(1, [10, 10], request_id="bat_1"), public_id="bat_other", now_ms=5_000
    )
    assert again.idempotent_replay
    assert again.row["public_id"] == "bat_1"
    assert books.everything() == before


def test_the_same_request_id_with_another_body_is_refused(books: Books) -> None:
    books.accept(1, [10, 10])
    before = books.everything()
    with pytest.raises(IdempotencyKeyReused):
        books.accept(1, [10, 10, 10])
    assert books.everything() == before


def test_a_body_is_told_from_another_by_each_of_its_facts() -> None:
    task = TaskDraft("take 0", "sora-2", {"duration": 10}, "item-0")
    others = [
        replace(task, prompt="other"),
        replace(task, model="veo-flash"),
        replace(task, options={"duration": 15}),
        replace(task, custom_id="other"),
        replace(task, metadata={"a": 1}),
    ]
    hashes = [request_hash([task]), request_hash([task, task]), request_hash([task], "https://hook.example")]
    hashes += [request_hash([other]) for other in others]
    assert len(set(hashes)) == len(hashes)
    assert request_hash([replace(task, options={"a": 1, "b": 2})]) == request_hash(
        [replace(task, options={"b": 2, "a": 1})]
    )


def test_an_empty_and_an_oversized_batch_are_refused(books: Books) -> None:
    before = books.everything()
    for prices in ([], [1] * (BATCH_ITEMS_MAX + 1)):
        with pytest.raises(InputError):
            books.accept(1, prices)
    assert books.everything() == before


def test_a_batch_that_cannot_be_paid_writes_nothing_and_its_request_id_stays_free(books: Books) -> None:
    before = books.everything()
    with pytest.raises(InsufficientCredits):
        books.accept(1, [600, 600])
    assert books.everything() == before
    books.accept(1, [600])  # under the same request id
    assert_sound(books)


def concurrently(calls: Sequence[Callable[[], AcceptedBatch]]) -> tuple[list[AcceptedBatch], list[Exception]]:
    """Run the calls in a thread each, all at once."""
    results: list[AcceptedBatch] = []
    errors: list[Exception] = []
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], AcceptedBatch]) -> None:
        gate.wait()
        try:
            results.append(call())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, errors


def accepting(books: Books, prices: list[int], name: str, request_id: str) -> Callable[[], AcceptedBatch]:
    def call() -> AcceptedBatch:
        wanted = request(1, prices, request_id=request_id)
        return books.database.run(accept_batch, wanted, public_id=name, now_ms=1_000)

    return call


def test_twenty_threads_with_one_request_id_make_one_batch(books: Books) -> None:
    results, errors = concurrently(
        [accepting(books, [100, 100], f"bat_{n}", "the-same") for n in range(THREADS)]
    )
    assert errors == []
    assert len({result.row["id"] for result in results}) == 1
    assert sorted(result.idempotent_replay for result in results) == [False] + [True] * (THREADS - 1)
    assert books.row("SELECT available, held FROM accounts") == {"available": 800, "held": 200}
    assert_sound(books)


def test_twenty_threads_on_one_account_spend_each_credit_once(books: Books) -> None:
    """1,000 credits pay for ten batches of 100, whoever comes first."""
    results, errors = concurrently([accepting(books, [50, 50], f"bat_{n}", f"r-{n}") for n in range(THREADS)])
    assert len(results) == 10
    assert {type(error) for error in errors} == {InsufficientCredits}
    assert len(errors) == 10
    assert books.row("SELECT available, held FROM accounts") == {"available": 0, "held": 1_000}
    assert_sound(books)


# --- cancelling -----------------------------------------------------------------------------------------


def test_a_cancel_refunds_what_is_pending_and_lets_the_rest_run_on(books: Books) -> None:
    books.accept(1, [10] * 5)
    flying = books.claim(2)
    assert books.database.run(cancel_batch, 1, now_ms=2_000) == 30
    row = batch(books)
    assert (row["status"], row["pending"], row["processing"], row["failed"]) == ("cancelled", 0, 2, 3)
    assert row["finalized_at_ms"] is None
    errors = books.rows("SELECT error, failure_type FROM video_tasks WHERE status = 'failed'")
    assert errors == [{"error": CANCELLED, "failure_type": "cancelled"}] * 3
    books.finish([(task, video(task)) for task in flying])
    row = batch(books)
    assert (row["status"], row["succeeded"], row["credits_settled"]) == ("cancelled", 2, 20)
    assert row["finalized_at_ms"] is not None
    assert events(books)[-1] == telemetry.BATCH_CANCELLED
    assert_sound(books)


def test_cancelling_an_open_batch_again_is_harmless(books: Books) -> None:
    books.accept(1, [10, 10])
    books.claim(1)
    books.database.run(cancel_batch, 1, now_ms=2_000)
    before = books.everything()
    assert books.database.run(cancel_batch, 1, now_ms=3_000) == 0
    assert books.everything() == before


def test_a_batch_cancelled_before_anything_was_sent_is_finished_at_once(books: Books) -> None:
    books.accept(1, [10, 10])
    assert books.database.run(cancel_batch, 1, now_ms=2_000) == 20
    assert (batch(books)["status"], batch(books)["finalized_at_ms"]) == ("cancelled", 2_000)
    assert books.row("SELECT available, held FROM accounts") == {"available": 1_000, "held": 0}
    assert_sound(books)


def test_a_finished_batch_cannot_be_cancelled(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.finish([(task, video(task))])
    before = books.everything()
    with pytest.raises(BatchNotCancellable):
        books.database.run(cancel_batch, 1, now_ms=2_000)
    assert books.everything() == before


def test_a_task_that_comes_back_to_a_cancelled_batch_is_swept_and_never_sent_again(books: Books) -> None:
    books.accept(1, [10, 10])
    (task,) = books.claim(1)
    books.database.run(cancel_batch, 1, now_ms=2_000)
    books.apply(Group(returned=[(task.task_id, task.attempt)]))
    assert books.claim() == []
    assert books.database.run(sweep_cancelled, now_ms=3_000) == 1
    assert books.database.run(sweep_cancelled, now_ms=3_000) == 0
    row = batch(books)
    assert (row["status"], row["credits_refunded"], row["finalized_at_ms"]) == ("cancelled", 20, 3_000)
    assert_sound(books)


def test_a_sweep_leaves_batches_alone_that_nobody_cancelled(books: Books) -> None:
    books.accept(1, [10, 10])
    before = books.everything()
    assert books.database.run(sweep_cancelled, now_ms=3_000) == 0
    assert books.everything() == before


# --- trying again ---------------------------------------------------------------------------------------


def failed_item(books: Books) -> None:
    """bat_1: item 0 delivered, item 1 refused, finalized."""
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.finish([(first, video(first)), (second, REFUSED)])


def test_a_retried_item_opens_the_batch_again_with_a_new_reservation(books: Books) -> None:
    failed_item(books)
    old = books.row("SELECT * FROM video_tasks WHERE item_index = 1")
    new_id = books.database.run(retry_item, 1, 1, now_ms=2_000)
    row = batch(books)
    assert (row["status"], row["pending"], row["failed"], row["total"]) == ("processing", 1, 0, 2)
    assert (row["finalized_at_ms"], row["completed_at_ms"]) == (None, None)
    assert (row["credits_reserved"], row["credits_refunded"]) == (30, 10)
    assert books.row("SELECT * FROM video_tasks WHERE id = :id", id=old["id"]) == {**old, "is_current": 0}
    new = books.row("SELECT * FROM video_tasks WHERE id = :id", id=new_id)
    kept = ("custom_id", "prompt", "model", "options", "metadata", "credits", "provider", "api_model")
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert (new["status"], new["retry_number"], new["attempt"]) == ("pending", 1, 0)
    assert_sound(books)


def test_a_retried_item_that_succeeds_makes_the_batch_a_success(books: Books) -> None:
    failed_item(books)
    books.database.run(retry_item, 1, 1, now_ms=2_000)
    (again,) = books.claim()
    books.finish([(again, video(again))])
    row = batch(books)
    assert (row["status"], row["succeeded"], row["failed"]) == ("succeeded", 2, 0)
    assert (row["credits_reserved"], row["credits_settled"], row["credits_refunded"]) == (30, 20, 10)
    assert_sound(books)


def test_an_item_may_fail_and_be_tried_again_many_times(books: Books) -> None:
    failed_item(books)
    for _ in range(5):
        books.database.run(retry_item, 1, 1, now_ms=2_000)
        (again,) = books.claim()
        books.finish([(again, REFUSED)])
    assert batch(books)["credits_reserved"] == 70
    assert books.row("SELECT COUNT(*) AS tries FROM video_tasks WHERE item_index = 1") == {"tries": 6}
    assert books.row("SELECT available, held FROM accounts") == {"available": 990, "held": 0}
    assert_sound(books)


def test_only_a_failed_item_of_a_batch_that_was_not_cancelled_is_tried_again(books: Books) -> None:
    failed_item(books)
    books.accept(1, [10, 10], name="bat_2")
    books.claim(1)
    books.database.run(cancel_batch, 2, now_ms=2_000)
    before = books.everything()
    for batch_id, item_index, refusal in (
        (1, 0, ItemNotRetryable),  # delivered
        (2, 0, ItemNotRetryable),  # at the provider
        (2, 1, ItemNotRetryable),  # cancelled
        (1, 2, NotFound),
        (9, 0, NotFound),
    ):
        with pytest.raises(refusal):
            books.database.run(retry_item, batch_id, item_index, now_ms=3_000)
    assert books.everything() == before


def test_a_retry_that_cannot_be_paid_writes_nothing(books: Books) -> None:
    failed_item(books)
    books.accept(1, [990], name="bat_2")
    before = books.everything()
    with pytest.raises(InsufficientCredits):
        books.database.run(retry_item, 1, 1, now_ms=3_000)
    assert books.everything() == before


def test_two_retries_of_one_item_at_once_make_one_new_task(books: Books) -> None:
    failed_item(books)
    outcomes: list[object] = []
    gate = threading.Barrier(2)

    def run() -> None:
        gate.wait()
        try:
            outcomes.append(books.database.run(retry_item, 1, 1, now_ms=2_000))
        except ItemNotRetryable as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(isinstance(outcome, int) for outcome in outcomes) == [False, True]
    assert_sound(books)


def test_items_named_twice_are_tried_again_once_and_all_of_them_or_none(books: Books) -> None:
    books.accept(1, [10, 10, 10])
    books.finish([(task, REFUSED) for task in books.claim()])
    before = books.everything()
    for wrong, refusal in (([0, 9], NotFound), ([0, 1, 2], InsufficientCredits)):
        if refusal is InsufficientCredits:
            books.accept(1, [975], name="bat_2")
            before = books.everything()
        with pytest.raises(refusal):
            books.database.run(retry_all, 1, wrong, now_ms=2_000)
        assert books.everything() == before
    new_ids = books.database.run(retry_all, 1, [2, 0, 2], now_ms=2_000)
    found = books.rows("SELECT id, item_index FROM video_tasks WHERE batch_id = 1 AND is_current = 1")
    assert {row["id"]: row["item_index"] for row in found if row["id"] in new_ids} == dict(
        zip(new_ids, (2, 0), strict=True)
    )
    assert_sound(books)
