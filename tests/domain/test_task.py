"""The task's state machine is closed, and a poll's answer has one public form."""

from typing import get_args

import pytest

from rushes.domain.task import (
    FINAL_STATUSES,
    TRANSITIONS,
    Accepted,
    Failed,
    FailureType,
    NoAnswer,
    NotSent,
    PollResult,
    Processing,
    Rejected,
    SubmitOutcome,
    Succeeded,
    TaskStatus,
    Throttled,
    Unknown,
    Verdict,
    poll_result_as_dict,
)


def test_every_status_has_its_transitions_and_leads_only_to_statuses() -> None:
    assert set(TRANSITIONS) == set(TaskStatus)
    assert all(followers <= set(TaskStatus) for followers in TRANSITIONS.values())


def test_nothing_leaves_a_final_status_and_every_other_can_end() -> None:
    assert {TaskStatus.SUCCEEDED, TaskStatus.FAILED} == FINAL_STATUSES
    for status, followers in TRANSITIONS.items():
        if status in FINAL_STATUSES:
            assert followers == frozenset()
        else:
            assert TaskStatus.FAILED in followers  # a cancel, a deadline


def test_every_status_is_reached_from_pending_and_none_leads_to_itself() -> None:
    reached = {TaskStatus.PENDING}
    while True:
        further = reached | {follower for status in reached for follower in TRANSITIONS[status]}
        if further == reached:
            break
        reached = further
    assert reached == set(TaskStatus)
    assert all(status not in followers for status, followers in TRANSITIONS.items())


def test_a_success_comes_from_an_attempt_at_the_provider_or_takes_an_equal_items_file() -> None:
    assert [status for status, followers in TRANSITIONS.items() if TaskStatus.SUCCEEDED in followers] == [
        TaskStatus.PENDING,
        TaskStatus.PROCESSING,
    ]


def test_the_table_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[TaskStatus.FAILED] = frozenset({TaskStatus.PENDING})  # type: ignore[index]


def test_the_statuses_are_exactly_the_specified_words() -> None:
    assert [status.value for status in TaskStatus] == ["pending", "processing", "succeeded", "failed"]


@pytest.mark.parametrize(
    ("result", "printed"),
    [
        (
            NoAnswer("timed out", http_status=504, retry_after_seconds=3.0),
            {"ok": False, "error": "timed out", "http_status": 504},
        ),
        (NoAnswer("no route"), {"ok": False, "error": "no route", "http_status": None}),
        (Processing(41), {"ok": True, "status": "processing", "progress": 41}),
        (Processing(None), {"ok": True, "status": "processing", "progress": None}),
        (
            Succeeded("https://files.example/v.mp4"),
            {
                "ok": True,
                "status": "succeeded",
                "progress": 100,
                "video_url": "https://files.example/v.mp4",
            },
        ),
        (
            Failed("input_moderation", FailureType.INPUT_MODERATION),
            {
                "ok": True,
                "status": "failed",
                "error_message": "input_moderation",
                "failure_type": "input_moderation",
            },
        ),
        (
            Failed("no", FailureType.MODEL_ERROR, provider_cost=12.0),
            {
                "ok": True,
                "status": "failed",
                "error_message": "no",
                "failure_type": "model_error",
                "provider_cost": 12.0,
            },
        ),
    ],
)
def test_a_poll_result_is_printed_with_exactly_these_fields(
    result: PollResult, printed: dict[str, object]
) -> None:
    assert poll_result_as_dict(result) == printed


def test_the_answers_of_a_poll_and_of_a_submit_are_closed_sets() -> None:
    assert set(get_args(PollResult)) == {NoAnswer, Processing, Succeeded, Failed}
    assert set(get_args(Verdict)) == {Succeeded, Failed}
    assert set(get_args(SubmitOutcome)) == {Accepted, Rejected, Throttled, NotSent, Unknown}


def test_an_answer_that_is_ok_is_processing_or_final_and_one_that_is_not_has_no_status() -> None:
    for kind in get_args(PollResult):
        if kind.ok:
            assert kind.status in {TaskStatus.PROCESSING, *FINAL_STATUSES}
        else:
            assert not hasattr(kind, "status")
