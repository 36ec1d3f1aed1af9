"""How a batch ended, for `run`, `batch watch` and `demo`: summary, proof line, exit code."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rushes.cli import ExitCode
from rushes.cli.progress import files_line
from rushes.cli.show import duration, print_facts, print_json, print_line, proof_line

if TYPE_CHECKING:
    from rushes.library import Rushes


async def failure_counts(rushes: "Rushes", batch_id: str) -> dict[str, int]:
    """Failed items by `failure_type`, the most frequent first."""
    failed = await rushes.items(batch_id, status="failed")
    return dict(Counter(item["failure_type"] for item in failed).most_common())


async def held_counts(rushes: "Rushes", batch_id: str) -> list[tuple[int, str]]:
    """How many pending items are held, by reason."""
    pending = await rushes.items(batch_id, status="pending")
    reasons = Counter(item["held_reason"] for item in pending if item["held_reason"])
    return [(count, reason) for reason, count in reasons.most_common()]


async def summary(rushes: "Rushes", batch: Mapping[str, Any], duration_seconds: float) -> dict[str, Any]:
    """What `run --json` prints."""
    return {
        "batch_id": batch["batch_id"],
        "status": batch["status"],
        "total": batch["total_count"],
        "succeeded": batch["succeeded_count"],
        "failed": batch["failed_count"],
        "credits": {word: batch[f"credits_{word}"] for word in ("reserved", "settled", "refunded")},
        "failures": await failure_counts(rushes, batch["batch_id"]),
        "files": await rushes.batch_files(batch["batch_id"]),
        "duration_seconds": round(duration_seconds, 3),
    }


async def print_outcome(
    rushes: "Rushes", batch: Mapping[str, Any], duration_seconds: float, *, as_json: bool
) -> dict[str, int]:
    """The summary on stdout, for people or as JSON; returns the files by state."""
    document = await summary(rushes, batch, duration_seconds)
    files: dict[str, int] = document["files"]
    if as_json:
        print_json(document)
        return files
    failures = ", ".join(f"{count} {kind}" for kind, count in document["failures"].items())
    print_facts(
        {
            "batch": batch["batch_id"],
            "status": batch["status"],
            "tasks": f"{batch['total_count']} in all, {open_count(batch)} open",
            "succeeded": batch["succeeded_count"],
            "failed": f"{batch['failed_count']}" + (f" ({failures})" if failures else ""),
            "files": files_line(files).removeprefix("files: ") or "none",
            "time": duration(duration_seconds),
        }
    )
    print_line(proof_line(batch))
    return files


def open_count(batch: Mapping[str, Any]) -> int:
    """Tasks without a final status."""
    pending: int = batch["pending_count"]
    processing: int = batch["processing_count"]
    return pending + processing


def exit_code_of(batch: Mapping[str, Any], files: Mapping[str, int]) -> ExitCode:
    """Of a finished batch, whose files are stored or lost."""
    is_short = batch["failed_count"] or files["expired"] or files["refused"]
    return ExitCode.SOME_FAILED if is_short else ExitCode.DONE


def resume_hint(batch: Mapping[str, Any], due_count: int = 0) -> str:
    """What to do about a batch that was left with open tasks, or with files to be stored."""
    batch_id, left = batch["batch_id"], []
    if open_count(batch):
        left.append(f"{open_count(batch)} of {batch['total_count']} tasks are open")
    if due_count:
        left.append(f"{due_count} files are still to be stored")
    return (
        f"nothing is lost: {' and '.join(left)}."
        f" `rushes worker` works on, `rushes batch watch {batch_id}` shows it"
    )
