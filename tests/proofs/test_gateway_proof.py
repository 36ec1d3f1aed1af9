"""The proof of gateways' dialects can fail: a lost reason, another kind, a lost or a wrong file are named."""

import dataclasses
from pathlib import Path

import pytest
from proofs.books import OurTask
from proofs.gateway import differences_of_files, differences_of_refusals, differences_of_task

from rushes.simulator import TaskReport

TASK = OurTask(1, 1, 0, "openai-video", "sora-2", "a fox", 10, "failed", 1, "v1", None, "gone", "timeout")
REMOTE = TaskReport(
    id="v1",
    wire="openai-video",
    model="sora-2",
    prompt="a fox",
    marker="",
    ordinal=1,
    submitted_at=0.0,
    fate="error",
    finished_at=1.0,
    acceptance_answered=True,
    times_polled=1,
    poll_gap_min_seconds=None,
    final_answer="error",
    final_answer_at=1.0,
    downloads=0,
    dialect=("last_word=expired", "failure=text"),
    reason_told="gone",
)


def test_what_agrees_has_no_difference() -> None:
    assert list(differences_of_task(TASK, REMOTE)) == []
    rejected = dataclasses.replace(TASK, remote_task_id=None, error="no", failure_type="input_moderation")
    assert list(differences_of_refusals([rejected], {"a fox": ("no",)})) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"error": "REMOTE_TASK_FAILED"}, "the gateway said 'gone'"),
        ({"failure_type": "model_error"}, "is of the kind model_error"),
    ],
)
def test_a_lost_reason_or_another_kind_is_named(changes: dict[str, str], words: str) -> None:
    (found,) = differences_of_task(dataclasses.replace(TASK, **changes), REMOTE)  # type: ignore[arg-type]
    assert words in found


def test_a_refusal_that_lost_its_reason_or_its_task_is_named() -> None:
    rejected = dataclasses.replace(TASK, remote_task_id=None, error="HTTP 400", failure_type="param_error")
    (found,) = differences_of_refusals([rejected], {"a fox": ("no",)})
    assert "not ('no',)" in found
    (found,) = differences_of_refusals([], {"a fox": ("no",)})
    assert "no task failed for it" in found


def test_a_file_that_is_lost_or_another_task_s_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"task v2")
    stored = {"state": "stored", "reason": None, "video_key": "v.mp4", "remote_task_id": "v1"}
    lost = {**stored, "state": "expired", "reason": "HTTP 404"}
    assert "another task's" in next(differences_of_files([stored], {"v1": REMOTE}, tmp_path))
    assert "is expired: HTTP 404" in next(differences_of_files([lost], {"v1": REMOTE}, tmp_path))
    (tmp_path / "v.mp4").write_bytes(b"task v1")
    assert list(differences_of_files([stored], {"v1": REMOTE}, tmp_path)) == []
