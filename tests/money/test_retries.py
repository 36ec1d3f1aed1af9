"""Retries that a batch asked for: in the failing transaction, each one paid, never more than asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rushes.api.accepting import accept_and_answer
from rushes.domain.retries import LastModel, RetryPolicy, StopLoss
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, Failed, FailureType, Verdict
from rushes.money import accept
from rushes.money.audit.audit import audit
from rushes.money.retry import retry_failed, retry_item
from rushes.money.settle import Group, apply_group
from rushes.store.database import Database
from rushes.store.tasks import ClaimedTask
from tests.books import WORKER, Books, request, video

BROKEN = Failed("error", FailureType.MODEL_ERROR)


@pytest.fixture
def books(database: Database) -> Books:
    """A database and a clock."""
    return Books(database)


def batch(
    books: Books, prices: list[int], *, retries_max: int = 0, granted: int, policy: RetryPolicy | None = None
) -> int:
    """A batch that asks for retries; returns its row id."""
    account_id = books.account()
    books.grant(account_id, granted)
    wanted = replace(
        request(account_id, prices, request_id="bat_1"), retry_policy=policy or RetryPolicy(retries_max)
    )
    made = books.database.run(accept.accept_batch, wanted, public_id="bat_1", now_ms=books.now_ms)
    return int(made.row["id"])


def end(books: Books, task: ClaimedTask, verdict: Verdict) -> None:
    """The task ends as a worker would end it."""
    books.name([task])
    books.database.run(
        apply_group,
        Group(verdicts=[(task.task_id, task.attempt, verdict)]),
        worker_id=WORKER,
        now_ms=books.now_ms,
        before_closing=retry_failed,
    )


def assert_sound(books: Books) -> None:
    """The audit finds nothing."""
    report = books.database.run_reading(audit)
    assert report.ok, report.violations


def test_a_failed_item_is_tried_again_until_it_succeeds_and_each_try_is_paid(books: Books) -> None:
    batch(books, [7], retries_max=3, granted=100)
    for _ in range(2):
        (task,) = books.claim()
        end(books, task, BROKEN)
        row = books.row("SELECT * FROM batches")
        assert (row["status"], row["pending_count"], row["failed_count"]) == ("processing", 1, 0)
        assert row["finalized_at_ms"] is None
        assert_sound(books)
    (task,) = books.claim()
    end(books, task, video(task))
    row = books.row("SELECT * FROM batches")
    assert (row["status"], row["succeeded_count"], row["total_count"]) == ("succeeded", 1, 1)
    assert (row["credits_reserved"], row["credits_settled"], row["credits_refunded"]) == (21, 7, 14)
    assert books.row("SELECT available, held FROM accounts") == {"available": 93, "held": 0}
    kinds = [event["type"] for event in books.rows("SELECT type FROM batch_events ORDER BY seq")]
    assert kinds == ["batch.processing", "video.failed", "video.failed", "video.succeeded", "batch.succeeded"]
    assert_sound(books)


@pytest.mark.parametrize("retries_max", [1, 5])
def test_after_the_last_retry_the_failure_stands(books: Books, retries_max: int) -> None:
    batch(books, [1], retries_max=retries_max, granted=100)
    tries = 0
    while claimed := books.claim():
        end(books, claimed[0], BROKEN)
        tries += 1
    assert tries == 1 + retries_max
    row = books.row("SELECT * FROM batches")
    assert (row["status"], row["failed_count"]) == ("failed", 1)
    assert books.row("SELECT available, held FROM accounts") == {"available": 100, "held": 0}
    assert_sound(books)


@pytest.mark.parametrize(
    "verdict",
    [
        Failed("input_moderation", FailureType.INPUT_MODERATION),
        Failed("bad parameter", FailureType.PARAM_ERROR),
        Failed(SUBMIT_OUTCOME_UNKNOWN, FailureType.UNKNOWN),
    ],
)
def test_what_would_fail_again_or_may_have_been_bought_is_not_retried(books: Books, verdict: Failed) -> None:
    batch(books, [1], retries_max=5, granted=100)
    (task,) = books.claim()
    end(books, task, verdict)
    assert books.row("SELECT status FROM batches") == {"status": "failed"}
    assert books.claim() == []
    assert_sound(books)


def test_a_repeated_request_is_told_what_it_cost_at_first_whatever_re_rolls_have_cost(books: Books) -> None:
    account_id = books.account()
    books.grant(account_id, 100)

    def ask() -> tuple[int, bool]:
        wanted = replace(request(account_id, [7, 5], request_id="bat_1"), retry_policy=RetryPolicy(1))
        answer = books.database.run(accept_and_answer, wanted, public_id="bat_1", now_ms=books.now_ms)
        return answer["required_credits"], answer["idempotent_replay"]

    assert ask() == (12, False)
    end(books, books.claim()[0], BROKEN)
    assert books.row("SELECT credits_reserved FROM batches")["credits_reserved"] == 19
    assert ask() == (12, True)


def test_a_batch_that_did_not_ask_and_a_cancelled_one_are_left_alone(books: Books) -> None:
    cancelled = batch(books, [1, 1], retries_max=5, granted=100)
    books.accept(books.account(), [1], name="bat_2")
    claimed = books.claim()
    books.database.run(accept.cancel_batch, cancelled, now_ms=books.now_ms)
    for task in claimed:
        end(books, task, BROKEN)
    statuses = {
        row["public_id"]: row["status"] for row in books.rows("SELECT public_id, status FROM batches")
    }
    assert statuses == {"bat_1": "cancelled", "bat_2": "failed"}
    assert books.claim() == []
    assert_sound(books)


def test_without_credits_for_a_retry_the_failure_stands_and_no_credit_moves(books: Books) -> None:
    batch(books, [7], retries_max=5, granted=7)
    account_id = books.account()
    (task,) = books.claim()
    books.name([task])
    other = books.grant(account_id, 1)  # something to be held elsewhere, so that the refund is not enough
    assert other
    books.accept(account_id, [1], name="bat_2")

    def fail_and_take_the_refund(connection: object) -> None:
        def spend(inner: object, finished: object, now_ms: int) -> None:
            accept.accept_batch(  # somebody is quicker, in the same instant
                inner,  # type: ignore[arg-type]
                request(account_id, [7], request_id="bat_3"),
                public_id="bat_3",
                now_ms=now_ms,
            )
            retry_failed(inner, finished, now_ms)  # type: ignore[arg-type]

        apply_group(
            connection,  # type: ignore[arg-type]
            Group(verdicts=[(task.task_id, task.attempt, BROKEN)]),
            worker_id=WORKER,
            now_ms=books.now_ms,
            before_closing=spend,
        )

    books.database.run(fail_and_take_the_refund)
    row = books.row("SELECT * FROM batches WHERE public_id = 'bat_1'")
    assert (row["status"], row["credits_reserved"], row["credits_refunded"]) == ("failed", 7, 7)
    assert books.row("SELECT available, held FROM accounts") == {"available": 0, "held": 8}
    assert_sound(books)


def test_a_refund_into_a_lot_that_has_expired_is_not_spent_before_it_is_swept(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's commit may bring it between the sweep and the account's lock."""
    books.grant(books.account(), 20, expires_at_ms=2_000)
    batch(books, [10, 10], retries_max=2, granted=4)
    task, _other = books.claim()
    books.now_ms = 3_000
    with monkeypatch.context() as patched:
        patched.setattr("rushes.store.ledger.expire_lots", lambda _connection, _now_ms, **_more: 0)
        end(books, task, BROKEN)  # its ten credits are back, and four others are not enough
    assert len(books.rows("SELECT id FROM video_tasks")) == 2
    assert_sound(books)


def test_a_commit_that_is_run_again_retries_once(books: Books) -> None:
    batch(books, [1], retries_max=5, granted=100)
    (task,) = books.claim()
    for _ in range(3):
        end(books, task, BROKEN)
    assert len(books.rows("SELECT * FROM video_tasks")) == 2
    assert_sound(books)


def rerolls(books: Books) -> tuple[int, int]:
    """`(re-rolls, credits of those that have not failed)` as stored."""
    row = books.row("SELECT rerolls_count, credits_used FROM batch_retries")
    return row["rerolls_count"], row["credits_used"]


def end_all(books: Books, ends: list[tuple[ClaimedTask, Verdict]], *, worker_id: str = WORKER) -> None:
    """All of them in one group."""
    books.name([task for task, _ in ends])
    books.database.run(
        apply_group,
        Group(verdicts=[(task.task_id, task.attempt, verdict) for task, verdict in ends]),
        worker_id=worker_id,
        now_ms=books.now_ms,
        before_closing=retry_failed,
    )


def test_only_the_named_reasons_are_tried_again(books: Books) -> None:
    reasons = frozenset({FailureType.OUTPUT_MODERATION, FailureType.INPUT_MODERATION})
    batch(books, [1, 1, 1], granted=100, policy=RetryPolicy(2, reasons))
    first, second, third = books.claim()
    end(books, first, BROKEN)
    end(books, second, Failed("refused", FailureType.OUTPUT_MODERATION))
    end(books, third, Failed("refused", FailureType.INPUT_MODERATION))
    again = books.claim()
    assert [task.prompt for task in again] == [second.prompt, third.prompt]
    assert_sound(books)


def test_re_rolls_never_cost_and_hold_more_than_the_cap_and_failed_ones_give_back(books: Books) -> None:
    batch(books, [7, 7, 7], granted=1000, policy=RetryPolicy(5, credits_max=20))
    end_all(books, [(task, BROKEN) for task in books.claim()])
    assert rerolls(books) == (2, 14), "a third one would have made 21"
    one, other = books.claim()
    end(books, one, BROKEN)
    assert rerolls(books) == (3, 14), "the failed one gave 7 back, and was tried again with them"
    end(books, other, video(other))
    (one,) = books.claim()
    end(books, one, video(one))
    assert rerolls(books) == (3, 14)
    row = books.row("SELECT * FROM batches")
    assert (row["status"], row["succeeded_count"], row["failed_count"]) == ("partial", 2, 1)
    assert (row["credits_reserved"], row["credits_settled"], row["credits_refunded"]) == (42, 14, 28)
    assert_sound(books)


def test_a_retry_by_hand_is_not_refused_by_the_cap_but_counts(books: Books) -> None:
    batch_id = batch(books, [7], granted=1000, policy=RetryPolicy(5, credits_max=6))
    (task,) = books.claim()
    end(books, task, BROKEN)
    assert rerolls(books) == (0, 0)
    books.database.run(retry_item, batch_id, 0, now_ms=books.now_ms)
    assert rerolls(books) == (1, 7)
    assert_sound(books)


def test_the_stop_loss_ends_re_rolls_for_good_once_the_pass_rate_is_below(books: Books) -> None:
    policy = RetryPolicy(5, stop_loss=StopLoss(pass_rate_min_ppm=400_000, after=5))
    batch(books, [1] * 5, granted=1000, policy=policy)
    first = books.claim()
    end_all(books, [(first[0], video(first[0])), (first[1], video(first[1]))])
    end_all(books, [(task, BROKEN) for task in first[2:]])  # 2 of 5 pass: not below two fifths
    assert rerolls(books) == (3, 3)
    assert books.row("SELECT stopped_at_ms FROM batch_retries") == {"stopped_at_ms": None}
    again = books.claim()
    books.now_ms += 5
    end(books, again[0], BROKEN)  # 2 of 6
    assert books.row("SELECT stopped_at_ms FROM batch_retries") == {"stopped_at_ms": books.now_ms}
    end(books, again[1], video(again[1]))  # 3 of 7 pass, but it has stopped
    end(books, again[2], BROKEN)
    assert rerolls(books) == (3, 1)
    assert books.row("SELECT status FROM batches") == {"status": "partial"}
    assert_sound(books)


def test_the_last_try_is_made_with_another_model_at_its_own_price(books: Books) -> None:
    last = LastModel("veo-pro", "grsai", "veo3.1-pro", 60)
    batch(books, [10], granted=1000, policy=RetryPolicy(2, last_model=last))
    tried = []
    for _ in range(3):
        (task,) = books.claim()
        tried.append((task.model, task.api_model))
        if len(tried) < 3:
            end(books, task, BROKEN)
    assert tried == [("sora-2", "sora-2"), ("sora-2", "sora-2"), ("veo-pro", "veo3.1-pro")]
    end(books, task, video(task))
    row = books.row("SELECT * FROM batches")
    assert (row["credits_reserved"], row["credits_settled"], row["credits_refunded"]) == (80, 60, 20)
    assert_sound(books)


def test_workers_that_settle_at_once_do_not_pass_the_cap_together(books: Books) -> None:
    batch(books, [1] * 40, granted=1000, policy=RetryPolicy(5, credits_max=10))
    tasks = books.claim()
    books.name(tasks)
    start = threading.Barrier(4)

    def settle(part: int) -> None:
        start.wait(timeout=30)
        for task in tasks[part::4]:
            books.database.run(
                apply_group,
                Group(verdicts=[(task.task_id, task.attempt, BROKEN)]),
                worker_id=WORKER,
                now_ms=books.now_ms,
                before_closing=retry_failed,
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(settle, range(4)))
    assert rerolls(books) == (10, 10)
    assert_sound(books)
