"""`rushes batch`: list, show, watch, cancel, retry, download, export."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from rushes.cli import ExitCode
from rushes.cli.download import download
from rushes.cli.export import export
from rushes.cli.options import Json, Limit, Whole

if TYPE_CHECKING:
    from rushes.cli.session import Stop
    from rushes.library import Rushes

WATCH_SECONDS = 0.5
"""How often `watch` looks."""

app = App(name="batch", help="List, show, watch, cancel, retry, download and export batches.")
app.command(download)
app.command(export)

BatchId = Annotated[str, Parameter(help="The batch's id, such as bat_1a2b….")]
Status = Literal["pending", "processing", "succeeded", "failed"]


@app.command(name="list")
def list_batches(
    *,
    limit: Limit = 20,
    after: Annotated[str | None, Parameter(help="Only batches older than this one.")] = None,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    json: Json = False,
) -> None:
    """List batches, the newest first."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table

    async def show_list() -> None:
        async with opened() as rushes:
            found = await rushes.list_batches(limit=limit + 1, after=after, account=account)
        if json:
            print_json({"ok": True, "data": found[:limit], "has_more": len(found) > limit})
            return
        numbers = {
            "total": "total_count",
            "succeeded": "succeeded_count",
            "failed": "failed_count",
            "processing": "processing_count",
            "pending": "pending_count",
            "reserved": "credits_reserved",
            "settled": "credits_settled",
        }
        fields = ("batch_id", "account", "status", *numbers.values(), "created_at")
        rows = [[batch[field] for field in fields] for batch in found[:limit]]
        print_table(("batch", "account", "status", *numbers, "created"), rows, right=" ".join(numbers))

    run_async(show_list())


@app.command
def show(
    batch_id: BatchId,
    /,
    *,
    items: Annotated[bool, Parameter(negative=(), help="Show the items too.")] = False,
    status: Annotated[Status | None, Parameter(help="Only items in this state; implies --items.")] = None,
    json: Json = False,
) -> None:
    """Show a batch: counts, credits, failures by type."""
    from rushes.cli.outcome import failure_counts, held_counts
    from rushes.cli.progress import files_line
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_facts, print_json, print_line, proof_line

    async def show_one() -> None:
        async with opened() as rushes:
            batch = await rushes.batch(batch_id)
            failures = await failure_counts(rushes, batch_id)
            files = await rushes.batch_files(batch_id)
            chosen = await rushes.items(batch_id, status=status) if items or status else None
            held = await held_counts(rushes, batch_id) if batch["pending_count"] else []
        if json:
            extra = {} if chosen is None else {"items": chosen}
            print_json({"ok": True, **batch, "files": files, **extra})
            return
        print_facts(batch)
        if any(files.values()):
            print_line(files_line(files))
        if failures:
            print_line("failures: " + ", ".join(f"{count} {kind}" for kind, count in failures.items()))
        print_line(proof_line(batch))
        for count, reason in held:
            print_line(f"held: {count} of the pending: {reason}")
        if chosen is not None:
            print_items(chosen)

    run_async(show_one())


def print_items(items: Sequence[Mapping[str, Any]]) -> None:
    """The items as a table on stdout."""
    from rushes.cli.show import print_table, shortened

    rows = [
        (
            item["index"],
            item["model"] if item["alias"] is None else f"{item['alias']} → {item['model']}",
            "held" if item["held_reason"] else item["status"],
            item["failure_type"],
            item["attempt"],
            item["credits"],
            shortened(item["prompt"]),
        )
        for item in items
    ]
    columns = ("index", "model", "status", "failure", "attempt", "credits", "prompt")
    print_table(columns, rows, right="index attempt credits")


@app.command
def watch(batch_id: BatchId, /, *, json: Json = False) -> int:
    """Follow a batch to its end without working on it.

    Ends as `run` does: 0 when all succeeded, 5 when some failed or some videos could not be stored.
    """

    from rushes.cli.outcome import exit_code_of, open_count, print_outcome, resume_hint
    from rushes.cli.session import opened, run_async, stop_on_signals
    from rushes.cli.show import say

    async def follow() -> int:
        async with opened() as rushes:
            started_at = time.monotonic()
            with stop_on_signals() as stop:
                batch, due = await _follow(rushes, batch_id, stop)
            files = await print_outcome(rushes, batch, time.monotonic() - started_at, as_json=json)
        if open_count(batch) or due:
            say(f"rushes: {resume_hint(batch, due)}")
            return stop.exit_code
        return exit_code_of(batch, files)

    return run_async(follow())


async def _follow(rushes: "Rushes", batch_id: str, stop: "Stop") -> tuple[dict[str, Any], int]:
    """Show progress until the batch and its files are finished or a signal came; also how many are due."""
    import asyncio
    import contextlib

    from rushes.cli.outcome import open_count
    from rushes.cli.progress import progress_display
    from rushes.domain.errors import StoreError

    batch, files, due = await rushes.batch(batch_id), dict[str, int](), 0
    with progress_display() as progress:
        while True:
            troubles: dict[str, str] = {}
            try:
                batch = await rushes.batch(batch_id)
                files = await rushes.batch_files(batch_id)
                due = files["due"] if rushes.settings.archive_place else 0
                if open_count(batch) or due:
                    troubles = troubles_of(await rushes.live_workers())
            except StoreError as error:
                if not error.retryable:
                    raise
                troubles["database"] = error.message
            progress.update(batch | {"files": files}, troubles)
            if stop.event.is_set() or not (open_count(batch) or due):
                return batch, due
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await stop.event.wait()


def troubles_of(workers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the live workers report of their providers, or that there is no worker."""
    if not workers:
        return {"work": "no worker is running; start one with `rushes worker`"}
    troubles = {}
    for worker in workers:
        for name, state in worker["report"].get("providers", {}).items():
            if state["state"] != "closed":
                troubles[name] = state["reason"] or state["state"]
    return troubles


@app.command
def cancel(batch_id: BatchId, /, *, json: Json = False) -> None:
    """Cancel a batch: pending tasks end and are refunded, tasks at the provider run on."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.engine.views import runs_on

    async def end() -> None:
        async with opened() as rushes:
            answer = await rushes.cancel(batch_id)
            batch = await rushes.batch(batch_id)
        if json:
            print_json({"ok": True, **answer})
            return
        print_line(
            f"batch {batch_id} is cancelled, {answer['credits_refunded']} credits refunded"
            + runs_on(batch["processing_count"])
        )

    run_async(end())


@app.command
def retry(
    batch_id: BatchId,
    /,
    *,
    item: Annotated[
        list[Whole] | None,
        Parameter(negative=(), help="An item's index; may be repeated. By default all failed ones."),
    ] = None,
    json: Json = False,
) -> int:
    """Try failed items again, all or none: each becomes a new task with a new reservation.

    It only accepts them; `rushes worker` does the work.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, say

    async def again() -> int:
        async with opened() as rushes:
            before = await rushes.batch(batch_id)
            batch = await rushes.retry(batch_id, item)
        accepted = before["failed_count"] - batch["failed_count"]
        if json:
            print_json({"ok": True, "retried_count": accepted, **batch})
        elif accepted:
            print_line(f"batch {batch_id}: {accepted} items are tried again")
        else:
            print_line(f"batch {batch_id} has no failed items")
        if accepted:
            say("rushes: `rushes worker` works on them")
        return ExitCode.DONE

    return run_async(again())


@app.command
def attempts(
    batch_id: BatchId,
    item: Annotated[Whole, Parameter(help="The item's index.")],
    /,
    *,
    json: Json = False,
) -> None:
    """List every attempt of an item: model, remote id, times, verdict."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table, shortened

    async def show_attempts() -> None:
        async with opened() as rushes:
            found = await rushes.attempts(batch_id, item)
        if json:
            print_json({"ok": True, "batch_id": batch_id, "index": item, "attempts": found})
            return
        names = ("try", "attempt", "status", "failure_type", "model", "provider", "remote_task_id", "credits")
        rows = [
            (*(attempt[name] for name in names), attempt["completed_at"], shortened(attempt["error"] or ""))
            for attempt in found
        ]
        columns = ("try", "attempt", "status", "failure", "model", "provider", "remote id", "credits")
        print_table((*columns, "ended", "error"), rows, right="try attempt credits")

    run_async(show_attempts())


@app.command
def rerolls(batch_id: BatchId, /, *, json: Json = False) -> None:
    """Show what a batch asked for when its items fail, and what its tries have come to."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_facts, print_json

    async def show_rerolls() -> None:
        async with opened() as rushes:
            found = await rushes.rerolls(batch_id)
        if json:
            print_json({"ok": True, **found})
            return
        policy = found.pop("policy") or {"max": 0}
        reasons = policy.pop("reasons", [])
        stop_loss = policy.pop("stop_loss", None)
        print_facts(
            {
                **found,
                **policy,
                "reasons": ", ".join(reasons),
                "stop_loss": stop_loss and f"below {stop_loss['pass_rate_min']} after {stop_loss['after']}",
            }
        )

    run_async(show_rerolls())
