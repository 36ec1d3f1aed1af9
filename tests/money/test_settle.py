"""A task is settled once, by its owner, with everything that belongs to it, or not at all."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from rushes import telemetry
from rushes.domain.errors import StatementRefused
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, Failed, FailureType, TaskStatus
from rushes.money.retry import retry_all, retry_item
from rushes.money.settle import Group, finalize_batch_credits, resolve
from rushes.store import batches, tasks, workers
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask, FinishedTask
from tests.books import REFUSED, Books, assert_sound, batch, events, video


@pytest.fixture
def books(database: Database) -> Books:
    """An account with 1,000 credits."""
    made = Books(database)
    made.grant(made.account(), 1_000)
    return made


# --- settling -------------------------------------------------------------------------------------------


def test_a_verdict_carries_status_resolution_ledger_counters_and_event_together(books: Books) -> None:
    books.accept(1, [10, 10])
    first, _second = books.claim()
    applied = books.finish([(first, video(first))])
    assert applied.settled == frozenset({first.task_id})
    assert applied.closed_batches == 0
    task = books.row("SELECT status, progress, video_url FROM video_tasks WHERE id = :id", id=first.task_id)
    assert task == {"status": "succeeded", "progress": 100, "video_url": video(first).video_url}
    assert books.row("SELECT task_id, kind, credits FROM task_resolutions") == {
        "task_id": first.task_id,
        "kind": "settle",
        "credits": 10,
    }
    row = batch(books)
    assert (row["processing"], row["succeeded"], row["credits_settled"]) == (1, 1, 10)
    assert events(books) == [telemetry.BATCH_PROCESSING, telemetry.VIDEO_SUCCEEDED]
    assert_sound(books)


def test_lines_of_a_reservation_that_are_used_up_are_not_looked_at_again(books: Books) -> None:
    """Every retry adds one; a batch that is retried for days would slow each of its commits."""
    batch_id = books.accept(1, [10])
    for _ in range(5):
        (task,) = books.claim()
        books.finish([(task, REFUSED)])
        books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms)
    assert len(books.rows("SELECT line FROM batch_reservations")) == 6
    left = books.database.run_reading(batches.reservations, [batch_id])[batch_id]
    assert [line.held for line in left.lines] == [10]
    (task,) = books.claim()
    books.finish([(task, video(task))])
    assert books.database.run_reading(batches.reservations, [batch_id])[batch_id].lines == []
    assert_sound(books)


def test_a_retry_of_many_items_is_one_entry_of_the_ledger_with_a_line_for_each_lot(books: Books) -> None:
    batch_id = books.accept(1, [10] * 40)
    books.finish([(task, REFUSED) for task in books.claim(40)])
    books.accept(1, [10] * 90, name="bat_2")  # 100 credits are left of the lot
    books.grant(1, 500)
    books.database.run(retry_all, batch_id, range(40), now_ms=books.now_ms)
    entries = books.rows("SELECT delta, parts FROM ledger_entries WHERE type = 'reserve' ORDER BY seq")
    assert [entry["delta"] for entry in entries] == [-400, -900, -400]
    assert entries[-1]["parts"] == "[[1,100],[2,300]]"
    lines = books.rows("SELECT line, reserved FROM batch_reservations WHERE batch_id = 1 ORDER BY line")
    assert [(line["line"], line["reserved"]) for line in lines] == [(0, 400), (1, 100), (2, 300)]
    assert_sound(books)


def test_a_commit_writes_only_those_lines_of_a_reservation_that_it_changes(books: Books) -> None:
    """A batch may have as many lines as retries: to write them all would take each commit that long."""
    batch_id = books.accept(1, [10] * 6)
    books.finish([(task, REFUSED) for task in books.claim(6)])
    for index in range(6):
        books.database.run(retry_item, batch_id, index, now_ms=books.now_ms)
    written: list[list[list[int]]] = []

    def look(_connection: Any, clause: Any, _many: Any, parameters: Any, _options: Any) -> None:
        if str(clause).startswith("UPDATE batch_reservations"):
            written.append(json.loads(parameters["rows"]))

    event.listen(books.database.engine, "before_execute", look)
    first, last, *_others = books.claim(6)
    books.finish([(first, video(first))])
    books.finish([(last, REFUSED)])
    assert written == [[[batch_id, 1, 10, 0]], [[batch_id, 6, 0, 10]]]
    assert_sound(books)


def test_second_settle_changes_nothing(books: Books) -> None:
    books.accept(1, [10, 10])
    first, _second = books.claim()
    books.finish([(first, video(first))])
    before = books.everything()
    for verdict in (video(first), REFUSED):
        assert books.finish([(first, verdict)]).settled == frozenset()
    assert books.everything() == before


def test_the_same_verdict_twice_in_one_group_settles_once(books: Books) -> None:
    books.accept(1, [10, 10])
    first, _second = books.claim()
    books.finish([(first, video(first)), (first, video(first))])
    assert batch(books)["credits_settled"] == 10
    assert_sound(books)


def test_a_stale_owner_attempt_or_status_changes_nothing(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    books.name([first])
    books.worker("worker-2")
    before = books.everything()
    assert books.finish([(first, video(first))], worker_id="worker-2").settled == frozenset()
    assert books.finish([(replace(first, attempt=2), REFUSED)]).settled == frozenset()
    assert books.finish([(replace(first, attempt=0), REFUSED)]).settled == frozenset()
    assert books.finish([(replace(first, task_id=999), REFUSED)]).settled == frozenset()
    stale = [(second.task_id, 7)]
    books.apply(
        Group(
            unconfirmed=stale,
            returned=stale,
            resubmitted=stale,
            refused=[(second.task_id, 7, REFUSED)],
            progress=[(second.task_id, 7, 50)],
        )
    )
    others = [(second.task_id, second.attempt)]
    books.apply(Group(unconfirmed=others, given_up=others, resubmitted=others), worker_id="worker-2")
    assert books.everything() == before


def test_a_worker_that_was_declared_dead_settles_nothing(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.name([task])
    books.sql("UPDATE workers SET lease_expires_at_ms = 0")
    books.worker("worker-2")
    adopted = books.database.run(
        workers.adopt, "worker-2", providers=["grsai"], now_ms=books.now_ms, limit=10
    )
    assert [owned.task_id for owned in adopted] == [task.task_id]
    assert books.finish([(task, REFUSED)]).settled == frozenset()
    assert books.finish([(task, video(task))], worker_id="worker-2").settled == {task.task_id}
    assert_sound(books)


def adopted_by_another(books: Books) -> ClaimedTask:
    """A claimed attempt without a remote id, whose worker was declared dead; another has its task."""
    books.accept(1, [10])
    (task,) = books.claim()
    books.sql("UPDATE workers SET lease_expires_at_ms = 0")
    books.worker("worker-2")
    adopted = books.database.run(
        workers.adopt, "worker-2", providers=["grsai"], now_ms=books.now_ms, limit=10
    )
    assert [owned.task_id for owned in adopted] == [task.task_id]
    return task


def test_a_worker_that_lost_its_task_may_still_say_that_it_never_sent_it(books: Books) -> None:
    task = adopted_by_another(books)
    books.apply(Group(returned=[(task.task_id, task.attempt)]))
    row = books.row("SELECT status, worker_id, unconfirmed_at_ms FROM video_tasks")
    assert row == {"status": "pending", "worker_id": None, "unconfirmed_at_ms": None}
    assert batch(books)["pending"] == 1
    looked = books.database.run_reading(
        tasks.remote_ids_if_owned, [(task.task_id, task.attempt)], worker_id="worker-2"
    )
    assert looked == {}, "its new owner forgets it"
    (again,) = books.claim(worker_id="worker-2")
    books.apply(Group(returned=[(task.task_id, task.attempt)]))
    assert (again.attempt, batch(books)["processing"]) == (2, 1), "and it says nothing of the next attempt"
    assert_sound(books)


def test_a_worker_that_lost_its_task_may_still_say_that_the_provider_refused_it(books: Books) -> None:
    task = adopted_by_another(books)
    applied = books.apply(Group(refused=[(task.task_id, task.attempt, REFUSED)]))
    assert applied.settled == {task.task_id}
    assert books.row("SELECT status, error FROM video_tasks") == {
        "status": "failed",
        "error": "output_moderation",
    }
    assert batch(books)["credits_refunded"] == 10
    assert_sound(books)


def test_an_attempt_that_has_its_remote_id_was_neither_refused_nor_never_sent(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.name([task])
    before = books.everything()
    key = (task.task_id, task.attempt)
    assert books.apply(Group(refused=[(*key, REFUSED)], returned=[key])).settled == frozenset()
    assert books.everything() == before


def test_a_remote_id_is_stored_once_and_only_for_its_attempt(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.apply(Group(accepted=[(task.task_id, 2, "of-another-attempt")]))
    books.apply(Group(accepted=[(task.task_id, 1, "first")]))
    books.apply(Group(accepted=[(task.task_id, 1, "second")]))
    assert books.row("SELECT remote_task_id FROM video_tasks") == {"remote_task_id": "first"}


def test_a_named_attempt_does_not_go_back_to_pending_as_if_it_had_not_been_sent(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.name([task])
    before = books.everything()
    books.apply(Group(returned=[(task.task_id, task.attempt)], unconfirmed=[(task.task_id, task.attempt)]))
    assert books.everything() == before


def test_a_returned_task_is_claimed_again_as_a_new_attempt(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.apply(Group(returned=[(task.task_id, task.attempt)]))
    row = batch(books)
    assert (row["pending"], row["processing"], row["credits_reserved"]) == (1, 0, 10)
    (again,) = books.claim()
    assert again.attempt == task.attempt + 1
    assert_sound(books)


def test_an_attempt_given_up_is_kept_and_its_credits_stay_held(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.apply(Group(unconfirmed=[(task.task_id, task.attempt)]))
    books.apply(Group(resubmitted=[(task.task_id, task.attempt)]))
    kept = books.row("SELECT task_id, attempt, error FROM task_attempts")
    assert kept == {"task_id": task.task_id, "attempt": 1, "error": SUBMIT_OUTCOME_UNKNOWN}
    assert books.row("SELECT held FROM accounts") == {"held": 10}
    assert books.rows("SELECT * FROM task_resolutions") == []
    (again,) = books.claim()
    books.finish([(again, video(again))])
    assert_sound(books)


def test_a_group_with_one_refused_row_is_not_applied_at_all(books: Books) -> None:
    books.accept(1, [10, 10])
    first, second = books.claim()
    before = books.everything()
    nameless = replace(video(second), video_url=None)  # type: ignore[arg-type]
    with pytest.raises((StatementRefused, TypeError)):
        books.finish([(first, video(first)), (second, nameless)])
    assert books.everything() == before


def test_a_task_that_code_tries_to_resolve_twice_is_refused_by_the_primary_key(books: Books) -> None:
    """The guard in the WHERE is not the only one: without it the database still says once."""
    books.accept(1, [10, 10])
    first, _second = books.claim()
    books.finish([(first, video(first))])
    before = books.everything()
    unguarded = FinishedTask(
        first.task_id, 1, 1, first.attempt, 10, TaskStatus.FAILED, TaskStatus.PROCESSING, "grsai"
    )
    with pytest.raises(StatementRefused):
        books.database.run(resolve, [unguarded], 5_000)
    assert books.everything() == before


def test_settling_many_batches_of_many_accounts_at_once_keeps_them_apart(books: Books) -> None:
    other = books.account("other")
    books.grant(other, 1_000)
    for number, account in enumerate((1, other, 1, other), 1):
        books.accept(account, [10 * number] * 3, name=f"bat_{number}")
    tasks = books.claim()
    assert len(tasks) == 12
    applied = books.finish([(task, video(task) if task.task_id % 2 else REFUSED) for task in tasks])
    assert applied.closed_batches == 4
    assert_sound(books)


# --- finalizing -----------------------------------------------------------------------------------------


def test_a_batch_is_finalized_by_its_last_task_and_not_before(books: Books) -> None:
    books.accept(1, [10, 10, 10])
    tasks = books.claim()
    for place, task in enumerate(tasks):
        assert batch(books)["finalized_at_ms"] is None
        books.now_ms += 1_000
        applied = books.finish([(task, video(task))])
        assert applied.closed_batches == (place == 2)
    row = batch(books)
    assert (row["status"], row["finalized_at_ms"], row["completed_at_ms"]) == ("succeeded", 4_000, 4_000)
    assert events(books)[-1] == telemetry.BATCH_SUCCEEDED


@pytest.mark.parametrize(
    ("successes", "status"),
    [((True, True), "succeeded"), ((True, False), "partial"), ((False, False), "failed")],
)
def test_a_batchs_final_status_follows_from_its_tasks(
    books: Books, successes: tuple[bool, ...], status: str
) -> None:
    books.accept(1, [10] * len(successes))
    tasks = books.claim()
    books.finish([(task, video(task) if ok else REFUSED) for task, ok in zip(tasks, successes, strict=True)])
    row = batch(books)
    assert row["status"] == status
    assert row["credits_settled"] == 10 * sum(successes)
    assert row["credits_reserved"] == 20
    assert row["credits_refunded"] == 20 - 10 * sum(successes)
    assert events(books)[-1] == f"batch.{status}"


def test_finalizing_again_changes_nothing(books: Books) -> None:
    books.accept(1, [10])
    (task,) = books.claim()
    books.finish([(task, video(task))])
    before = books.everything()
    assert books.database.run(finalize_batch_credits, 1, 9_000) is False
    assert books.everything() == before


def test_finalizing_a_batch_with_open_tasks_changes_nothing(books: Books) -> None:
    books.accept(1, [10, 10])
    books.claim(1)
    before = books.everything()
    assert books.database.run(finalize_batch_credits, 1, 9_000) is False
    assert books.everything() == before


def test_a_batch_of_free_items_is_finalized_too(books: Books) -> None:
    books.accept(1, [0, 0])
    tasks = books.claim()
    books.finish([(tasks[0], video(tasks[0])), (tasks[1], REFUSED)])
    assert batch(books)["status"] == "partial"
    assert_sound(books)


def test_the_halves_of_a_group_are_its_rows_in_the_order_in_which_they_are_applied() -> None:
    group = Group(
        accepted=[(1, 1, "r-1"), (2, 1, "r-2"), (3, 1, "r-3")],
        returned=[(4, 1), (5, 1)],
        progress=[(6, 1, 50)],
        verdicts=[(7, 1, Failed("no", FailureType.MODEL_ERROR))],
    )
    seen: list[list[int]] = []

    def look(part: Group) -> None:
        seen.append([row[0] for rows in part.lists() for row in rows])

    for half in group.halves():
        look(half)
        for quarter in half.halves():
            look(quarter)
    assert seen == [[1, 2, 3], [1], [2, 3], [4, 5, 6, 7], [4, 5], [6, 7]]
