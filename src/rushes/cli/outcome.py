"""How a batch ended, for `run`, `batch watch` and `demo`: summary, proof line, exit code."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rushes.cli import ExitCode
from rushes.cli.show import duration, print_facts, print_json, print_line, proof_line

if TYPE_CHECKING:
    from rushes.library import Rushes


async def failure_counts(rushes: "Rushes", batch_id: str) -> dict[str, int]:
    """Failed items by `failure_type`, the most frequent first."""
    failed = await rushes.items(batch_id, status="failed")
    return dict(Counter(item["failure_type"] for item in failed).most_common())


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
        "duration_seconds": round(duration_seconds, 3),
    }


async def print_outcome(
    rushes: "Rushes", batch: Mapping[str, Any], duration_seconds: float, *, as_json: bool
) -> None:
    """The summary on stdout, for people or as JSON."""
    document = await summary(rushes, batch, duration_seconds)
    if as_json:
        print_json(document)
        return
    failures = ", ".join(f"{count} {kind}" for kind, count in document["failures"].items())
    print_facts(
        {
            "batch": batch["batch_id"],
            "status": batch["status"],
            "tasks": f"{batch['total_count']} in all, {open_count(batch)} open",
            "succeeded": batch["succeeded_count"],
            "failed": f"{batch['failed_count']}" + (f" ({failures})" if failures else ""),
            "time": duration(duration_seconds),
        }
    )
    print_line(proof_line(batch))


def open_count(batch: Mapping[str, Any]) -> int:
    """Tasks without a final status."""
    pending: int = batch["pending_count"]
    processing: int = batch["processing_count"]
    return pending + processing


def exit_code_of(batch: Mapping[str, Any]) -> ExitCode:
    """Of a finished batch."""
    return ExitCode.SOME_FAILED if batch["failed_count"] else ExitCode.DONE


def resume_hint(batch: Mapping[str, Any]) -> str:
    """What to do about a batch that was left with open tasks."""
    batch_id = batch["batch_id"]
    return (
        f"nothing is lost: {open_count(batch)} of {batch['total_count']} tasks are open."
        f" `rushes worker` works on, `rushes batch watch {batch_id}` shows it"
    )
