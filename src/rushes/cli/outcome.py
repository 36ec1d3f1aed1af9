"""How a batch ended, for `run`, `batch watch` and `demo`: summary, proof line, exit code."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rushes.cli.exits import ExitCode
from rushes.cli.progress import files_line, verdicts_line
from rushes.cli.show import duration, print_facts, print_json, print_line, proof_line
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.library import Rushes
    from rushes.settings import Settings


async def failure_counts(rushes: "Rushes", batch_id: str) -> dict[str, int]:
    """Failed items by `failure_type`, the most frequent first."""
    failed = await rushes.items(batch_id, status="failed")
    return dict(Counter(item["failure_type"] for item in failed).most_common())


async def held_counts(rushes: "Rushes", batch_id: str) -> list[tuple[int, str]]:
    """How many pending items are held, by reason."""
    pending = await rushes.items(batch_id, status="pending")
    reasons = Counter(item["held_reason"] for item in pending if item["held_reason"])
    return [(count, reason) for reason, count in reasons.most_common()]


async def batch_now(rushes: "Rushes", batch_id: str) -> dict[str, Any]:
    """The batch with its `files` by state and its `verdicts`, as progress is shown of it."""
    batch = await rushes.batch(batch_id)
    files, verdicts = await rushes.batch_files(batch_id), await rushes.batch_verdicts(batch_id)
    return batch | {"files": files, "verdicts": verdicts}


async def outcome_now(rushes: "Rushes", batch_id: str) -> dict[str, Any]:
    """The same with its `failures` by type."""
    return await batch_now(rushes, batch_id) | {"failures": await failure_counts(rushes, batch_id)}


async def outcome_at_end(rushes: "Rushes", seen: Mapping[str, Any], stop: asyncio.Event) -> dict[str, Any]:
    """The same at the end of a command; after a stop as last `seen`, when the database says no more."""
    from rushes.concurrency import until_stopped
    from rushes.library.last_look import last_look

    found = await until_stopped(stop, outcome_now(rushes, seen["batch_id"]))
    if found is None:
        found = await last_look(outcome_now(rushes, seen["batch_id"]), dict(seen))
    return found


def summary(batch: Mapping[str, Any], duration_seconds: float) -> dict[str, Any]:
    """What `run --json` prints; `failures` is None where the database did not say which there are."""
    return {
        "batch_id": batch["batch_id"],
        "status": batch["status"],
        "total": batch["total_count"],
        "succeeded": batch["succeeded_count"],
        "failed": batch["failed_count"],
        "credits": {word: batch[f"credits_{word}"] for word in ("reserved", "settled", "refunded")},
        "failures": batch.get("failures"),
        "files": batch["files"],
        "verdicts": batch["verdicts"],
        "duration_seconds": round(duration_seconds, 3),
    }


def print_outcome(
    batch: Mapping[str, Any],
    duration_seconds: float,
    *,
    as_json: bool,
    folder: Mapping[str, Any] | None = None,
) -> None:
    """The summary on stdout, for people or as JSON.

    `folder` says where the videos were copied to: `folder, manifest, files, missing`.
    """
    document = summary(batch, duration_seconds)
    if folder is not None:
        document["out"] = folder
    if as_json:
        print_json(document)
        return
    failures = ", ".join(f"{count} {kind}" for kind, count in (document["failures"] or {}).items())
    copied = {}
    if folder is not None:
        missing = f", {counted(folder['missing'], 'item')} without one" if folder["missing"] else ""
        copied = {
            "videos": f"{counted(folder['files'], 'file')} in {folder['folder']}{missing}",
            "manifest": folder["manifest"],
        }
    print_facts(
        {
            "batch": batch["batch_id"],
            "status": batch["status"],
            "tasks": f"{batch['total_count']} in all, {open_count(batch)} open",
            "succeeded": batch["succeeded_count"],
            "failed": f"{batch['failed_count']}" + (f" ({failures})" if failures else ""),
            "files": files_line(document["files"]).removeprefix("files: ") or "none",
            **copied,
            **verdict_facts(document["verdicts"]),
            "time": duration(duration_seconds),
        }
    )
    print_line(proof_line(batch))


def verdict_facts(verdicts: Mapping[str, int]) -> dict[str, str]:
    """The line of verdicts; nothing for a batch without a gate."""
    return {"verdicts": verdicts_line(verdicts).removeprefix("verdicts: ") or "none"} if verdicts else {}


def open_count(batch: Mapping[str, Any]) -> int:
    """Tasks without a final status."""
    pending: int = batch["pending_count"]
    processing: int = batch["processing_count"]
    return pending + processing


@dataclass(frozen=True, slots=True)
class Left:
    """What of a batch a command still waits for: tasks, files to be stored, and verdicts on clips."""

    task_count: int
    file_count: int
    verdict_count: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.task_count + self.file_count + self.verdict_count


def left_of(settings: "Settings", batch: Mapping[str, Any]) -> Left:
    """What is left of the batch; files that wait where nobody archives, and their verdicts, are not."""
    if not settings.archive_place:
        return Left(open_count(batch), 0, 0)
    return Left(open_count(batch), batch["files"]["due"], batch["verdicts"].get("open", 0))


async def left_now(rushes: "Rushes", batch_id: str) -> Left:
    """The same, as it now is."""
    return left_of(rushes.settings, await batch_now(rushes, batch_id))


def exit_code_of(batch: Mapping[str, Any]) -> ExitCode:
    """Of a finished batch, whose files are stored or lost and whose clips have their verdicts."""
    files = batch["files"]
    is_short = (
        batch["failed_count"] or files["expired"] or files["refused"] or batch["verdicts"].get("rejected")
    )
    return ExitCode.SOME_FAILED if is_short else ExitCode.DONE


def resume_hint(batch: Mapping[str, Any], left: Left) -> str:
    """What to do about a batch of which something is left."""
    batch_id, parts = batch["batch_id"], []
    if left.task_count:
        parts.append(f"{left.task_count} of {counted(batch['total_count'], 'task is', 'tasks are')} open")
    if left.file_count:
        parts.append(f"{counted(left.file_count, 'file is', 'files are')} still to be stored")
    if left.verdict_count:
        parts.append(f"{counted(left.verdict_count, 'verdict is', 'verdicts are')} still to come")
    return (
        f"nothing is lost: {' and '.join(parts)}."
        f" `rushes worker` works on, `rushes batch watch {batch_id}` shows it"
    )
