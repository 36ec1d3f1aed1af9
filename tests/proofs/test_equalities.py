"""The equalities can fail: every kind of wrong book or wrong provider is named."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from proofs.books import Books, OurBatch, OurTask
from proofs.equalities import Circumstances, Comparison

from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN
from rushes.simulator import SimulatorReport, TaskReport
from rushes.simulator.report import PromptReport

URL = "http://127.0.0.1:1"
CIRCUMSTANCES = Circumstances(
    granted=30, service_url=URL, lossless=True, callback_base_url="http://127.0.0.1:9", callback_key=b"key"
)


def our_task(task_id: int, **changes: Any) -> OurTask:
    """A task that succeeded under the remote id `r<task_id>`."""
    task = OurTask(
        task_id=task_id,
        batch_id=1,
        item_index=task_id - 1,
        provider="grsai",
        api_model="sora-2",
        prompt=f"prompt {task_id}",
        credits=10,
        status="succeeded",
        attempt=1,
        remote_task_id=f"r{task_id}",
        video_url=f"{URL}/files/r{task_id}.mp4",
        error=None,
        failure_type=None,
    )
    return dataclasses.replace(task, **changes)


UNKNOWN = our_task(
    3,
    status="failed",
    remote_task_id=None,
    video_url=None,
    error=SUBMIT_OUTCOME_UNKNOWN,
    failure_type="unknown",
)
FAILED = our_task(
    2, status="failed", video_url=None, error="output_moderation", failure_type="output_moderation"
)


def remote_task(task: OurTask, **changes: Any) -> TaskReport:
    """The provider's side of a task."""
    report = TaskReport(
        id=f"r{task.task_id}",
        wire=task.provider,
        model=task.api_model,
        prompt=task.prompt,
        marker=CIRCUMSTANCES.marker(task, task.attempt),
        ordinal=1,
        submitted_at=0.0,
        fate="succeeded",
        finished_at=1.0,
        acceptance_answered=True,
        times_polled=1,
        poll_gap_min_seconds=None,
        final_answer="succeeded",
        final_answer_at=1.0,
        downloads=0,
    )
    return dataclasses.replace(report, **changes)


BOOKS = Books(
    tasks=(our_task(1), FAILED, UNKNOWN),
    batches=(OurBatch("bat_1", "r-1", "partial", 3, 0, 30, 10, 20),),
    resolutions=((1, "settle", 10), (2, "refund", 10), (3, "refund", 10)),
    ended_attempts=(),
    granted=30,
    available=20,
    held=0,
)
"""One success, one moderated, and one whose acceptance could not be read."""

REMOTE = (
    remote_task(BOOKS.tasks[0]),
    remote_task(FAILED, fate="output_moderation", final_answer="output_moderation"),
    remote_task(UNKNOWN, acceptance_answered=False, final_answer=None, final_answer_at=None),
)

REPORT = SimulatorReport(
    seed=1,
    uptime_seconds=2.0,
    requests=5,
    submits=3,
    accepted=3,
    accepted_unanswered=1,
    submits_unclear=1,
    submits_refused={},
    polls=2,
    polls_of_unknown_tasks=0,
    polls_after_final_answer=0,
    deliveries=1,
    failures={"output_moderation": 1},
    outcomes={},
    faults={"submit_accepted_then_error": 1},
    callbacks={},
    downloads=0,
    tasks_running=0,
    tasks_unseen=1,
    tasks_held=3,
    tasks_dropped=0,
    lateness=None,
    prompts=tuple(PromptReport("sora-2", f"prompt {n}", 1, 1) for n in (1, 2, 3)),
    tasks=REMOTE,
)


def differences(books: Books = BOOKS, report: SimulatorReport = REPORT) -> list[str]:
    """Of these books and this report."""
    return Comparison(books, report, CIRCUMSTANCES).differences


def books_with(index: int, task: OurTask) -> Books:
    """The books with another task in that place."""
    tasks = list(BOOKS.tasks)
    tasks[index] = task
    return dataclasses.replace(BOOKS, tasks=tuple(tasks))


def report_with(index: int, **changes: Any) -> SimulatorReport:
    """The report with another line in that place."""
    tasks = list(REMOTE)
    tasks[index] = dataclasses.replace(tasks[index], **changes)
    return dataclasses.replace(REPORT, tasks=tuple(tasks))


def test_equal_books_and_reports_have_no_difference() -> None:
    assert differences() == []


WRONG: dict[str, Callable[[], list[str]]] = {
    "is processing": lambda: differences(books_with(0, our_task(1, status="processing"))),
    "has no settle": lambda: differences(dataclasses.replace(BOOKS, resolutions=BOOKS.resolutions[1:])),
    "stands beside its own": lambda: differences(
        dataclasses.replace(BOOKS, resolutions=(*BOOKS.resolutions, (1, "refund", 10)))
    ),
    "with 1 open tasks": lambda: differences(
        dataclasses.replace(BOOKS, batches=(dataclasses.replace(BOOKS.batches[0], open=1),))
    ),
    "settled, 10 refunded": lambda: differences(
        dataclasses.replace(BOOKS, batches=(dataclasses.replace(BOOKS.batches[0], refunded=10),))
    ),
    "60 are in the books": lambda: differences(dataclasses.replace(BOOKS, granted=60, available=50)),
    "30 are left": lambda: differences(dataclasses.replace(BOOKS, available=30)),
    "2 tasks carry the remote id": lambda: differences(
        books_with(1, dataclasses.replace(FAILED, remote_task_id="r1"))
    ),
    "the provider has no task": lambda: differences(books_with(0, our_task(1, remote_task_id="r9"))),
    "of another prompt": lambda: differences(report=report_with(0, prompt="prompt 2")),
    "is of another attempt": lambda: differences(report=report_with(0, marker=REMOTE[1].marker)),
    "its remote id is not in the books": lambda: differences(books_with(0, our_task(1, remote_task_id=None))),
    "the provider said output_moderation": lambda: differences(
        report=report_with(0, final_answer="output_moderation")
    ),
    "the provider delivered 2": lambda: differences(report=dataclasses.replace(REPORT, deliveries=2)),
    "the provider says 0": lambda: differences(report=dataclasses.replace(REPORT, failures={})),
    "accepted 2 tasks for the one attempt": lambda: differences(
        report=dataclasses.replace(REPORT, tasks=(*REMOTE, dataclasses.replace(REMOTE[0], id="r7")))
    ),
    "which is none of ours": lambda: differences(report=report_with(0, marker="http://127.0.0.1:9/other")),
    "attempt 1 was accepted and attempt 2 made": lambda: differences(books_with(0, our_task(1, attempt=2))),
    "2 submits came of": lambda: differences(
        report=dataclasses.replace(
            REPORT, prompts=(PromptReport("sora-2", "prompt 1", 2, 1), *(REPORT.prompts or ())[1:])
        )
    ),
    "no task of unknown outcome answers for it": lambda: differences(
        books_with(2, dataclasses.replace(UNKNOWN, error="other"))
    ),
    "although its remote id was known": lambda: differences(
        books_with(2, dataclasses.replace(UNKNOWN, remote_task_id="r3"))
    ),
    "whose acceptance was never answered": lambda: differences(
        report=report_with(0, acceptance_answered=False)
    ),
    "answered acceptances were not recorded": lambda: differences(
        report=report_with(2, acceptance_answered=True)
    ),
    "without any fault of the provider": lambda: differences(
        report=dataclasses.replace(
            REPORT, accepted=2, tasks=REMOTE[:2], submits_unclear=0, accepted_unanswered=0
        )
    ),
    "missing among the unknown tasks": lambda: differences(
        report=dataclasses.replace(REPORT, submits_unclear=3)
    ),
    "the provider refused 0": lambda: differences(
        books_with(2, dataclasses.replace(UNKNOWN, error="rejected"))
    ),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_differs_is_named(words: str) -> None:
    found = WRONG[words]()
    assert any(words in difference for difference in found), found


def at_fal(task: OurTask) -> OurTask:
    """The task as it would be at fal, whose remote task ids say where to ask."""
    remote_task_id = task.remote_task_id and f"fal-ai/veo3.1/requests/{task.remote_task_id}"
    return dataclasses.replace(task, provider="fal", remote_task_id=remote_task_id)


def at_fal_with(**changes: Any) -> list[str]:
    """Of one success at fal and a moderated one with these changes, against fal's own report."""
    ours = at_fal(our_task(1)), dataclasses.replace(at_fal(FAILED), **changes)
    remote = remote_task(our_task(1)), REMOTE[1]
    told = [
        dataclasses.replace(each, wire="fal", marker=CIRCUMSTANCES.marker(task, 1))
        for each, task in zip(remote, ours, strict=True)
    ]
    batch = OurBatch("bat_1", "r-1", "partial", 2, 0, 20, 10, 10)
    books = dataclasses.replace(
        BOOKS, tasks=ours, batches=(batch,), resolutions=BOOKS.resolutions[:2], available=20
    )
    report = dataclasses.replace(
        REPORT,
        tasks=tuple(told),
        prompts=(REPORT.prompts or ())[:2],
        submits_unclear=0,
        accepted_unanswered=0,
        accepted=2,
    )
    return differences(books, report)


def test_an_id_that_says_where_to_ask_is_the_providers_and_its_moderation_is_told_by_its_kind() -> None:
    assert at_fal_with(error="flagged by a content checker") == []
    for wrong in (
        {"failure_type": "model_error"},
        {"remote_task_id": "fal-ai/veo3.1/requests/r9"},
        {"status": "succeeded", "video_url": f"{URL}/files/r2.mp4"},
    ):
        assert at_fal_with(error="flagged by a content checker", **wrong)
