"""`gateway`: every dialect of an OpenAI-compatible gateway, task by task as the simulator says that it told it."""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proofs.api_site import rows
from proofs.books import OurTask
from proofs.processes import wait_until
from proofs.result import ProofResult
from proofs.stage import FINISH_SECONDS_MAX, Pace, Stage, own_prompts, stage
from rushes.domain.task import REMOTE_TASK_FAILED, SUBMIT_OUTCOME_UNKNOWN, FailureType
from rushes.simulator import TaskReport
from rushes.simulator.gateways import SHAPES_COUNT

TASKS = 400
MODELS = ("openai-sora-2", "openai-sora-2-pro")
PROVIDER = "openai-video"

TOLD_BY_WORD = {
    "expired": FailureType.TIMEOUT,
    "timeout": FailureType.TIMEOUT,
    "cancelled": FailureType.UNKNOWN,
    "canceled": FailureType.UNKNOWN,
}
"""The kind of a failure whose reason says nothing of its kind."""

FILES = (
    "SELECT f.state, f.reason, f.video_key, t.remote_task_id FROM archived_files f"
    " JOIN video_tasks t ON t.id = f.task_id WHERE t.status = 'succeeded'"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many workers share the work."""
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: %(default)s)")


def run(options: argparse.Namespace) -> ProofResult:
    """One batch through the preset `gateway`, its files into an archive; compare every task and file."""
    with stage(
        "gateway",
        options,
        database_url=None,
        pace=Pace(lease=5.0, in_flight_max=200),
        preset="gateway",
        weather=(),
        models=MODELS,
        environment={"RUSHES_ARCHIVE_URL": "archive"},
    ) as on:
        folder = on.site.folder / "archive"
        folder.mkdir()
        if options.prompts is None:  # each once, so that a refusal has one task
            on.work.prompts = [f"{n}: {prompt}" for n, prompt in enumerate(own_prompts(options.tasks))]
        on.work.accept(on.site.environment)
        workers = on.start_workers(options.workers)
        _finish(on)
        on.finish(workers)
        counted = on.compare(lossless=True)
        _compare(on, folder)
        on.result.headline = f"{counted.tasks} tasks in every dialect"
        return on.result


def _finish(on: Stage) -> None:
    """Until no task is open and no file is due."""
    url = on.site.environment["RUSHES_DATABASE_URL"]
    due = "SELECT count(*) AS n FROM archived_files WHERE state = 'due'"
    try:
        wait_until(
            lambda: on.peek.open_tasks() == 0 and rows(url, due)[0]["n"] == 0,
            "the end of all tasks and files",
            seconds_max=FINISH_SECONDS_MAX,
            every=0.5,
        )
    except TimeoutError as error:
        on.result.differ([str(error)])


def _compare(on: Stage, folder: Path) -> None:
    report = on.service.report()
    told = {task.id: task for task in report.tasks or ()}
    ours = on.peek.books().tasks
    shapes: Counter[str] = Counter()
    for task in ours:
        remote = told.get(task.remote_task_id or "")
        if remote is not None:
            shapes.update(remote.dialect)
            on.result.differ(differences_of_task(task, remote))
    refused = {prompt.prompt: prompt.refusals for prompt in report.prompts or () if prompt.refusals}
    rejected = [task for task in ours if task.remote_task_id is None and task.error != SUBMIT_OUTCOME_UNKNOWN]
    on.result.differ(differences_of_refusals(rejected, refused))
    for shape, count in sorted(shapes.items()):
        on.result.fact(f"· {shape}", count)
    on.result.fact("different shapes met / known", f"{len(shapes)} / {SHAPES_COUNT}")
    files = rows(on.site.environment["RUSHES_DATABASE_URL"], FILES)
    on.result.fact("files stored", sum(row["state"] == "stored" for row in files))
    on.result.differ(differences_of_files(files, told, folder))
    succeeded = sum(task.status == "succeeded" for task in ours)
    if len(files) != succeeded:
        on.result.differ([f"{succeeded} successes have {len(files)} files"])


def differences_of_task(task: OurTask, remote: TaskReport) -> Iterator[str]:
    """Whether a failure told in a dialect was kept with its reason and its kind."""
    if not remote.dialect or task.status != "failed" or remote.final_answer == "forgotten":
        return
    reason = remote.reason_told or REMOTE_TASK_FAILED
    if task.error != reason:
        yield f"task {task.task_id} failed as {task.error!r}, the gateway said {reason!r} ({remote.dialect})"
    expected = _kinds_of(remote)
    if task.failure_type not in expected:
        yield f"task {task.task_id} is of the kind {task.failure_type}, not {expected} ({remote.dialect})"


def _kinds_of(remote: TaskReport) -> tuple[str, ...]:
    moderations = (FailureType.INPUT_MODERATION.value, FailureType.OUTPUT_MODERATION.value)
    if remote.final_answer in moderations:
        return moderations
    word = next(name.partition("=")[2] for name in remote.dialect if name.startswith("last_word="))
    if "third-party" in remote.reason_told:
        return moderations
    return (TOLD_BY_WORD.get(word, FailureType.MODEL_ERROR).value,)


def differences_of_refusals(rejected: list[OurTask], refused: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Whether a refused prompt failed its task at once, with the reason that was told."""
    left = dict(refused)
    for task in rejected:
        reasons = left.pop(task.prompt, ())
        if reasons and (task.error, task.failure_type) != (reasons[-1], FailureType.INPUT_MODERATION):
            yield f"task {task.task_id} was rejected as {task.error!r} ({task.failure_type}), not {reasons}"
    for prompt, reasons in left.items():
        yield f"{prompt!r} was refused ({reasons}), and no task failed for it"


def differences_of_files(
    files: list[dict[str, Any]], told: Mapping[str, TaskReport], folder: Path
) -> Iterator[str]:
    """Whether each success's own file is stored, wherever the gateway had it."""
    for row in files:
        name = row["remote_task_id"]
        shapes = told[name].dialect
        if row["state"] != "stored":
            yield f"the file of {name} is {row['state']}: {row['reason']} ({shapes})"
        elif not (folder / row["video_key"]).read_bytes().endswith(f"task {name}".encode()):
            yield f"the file of {name} is another task's ({shapes})"
