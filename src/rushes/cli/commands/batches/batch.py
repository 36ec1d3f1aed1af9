"""`rushes batch`: list, show, watch, cancel, retry, adopt, download, join, export."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from rushes.cli.commands.batches.download import download
from rushes.cli.commands.batches.export import export
from rushes.cli.commands.batches.join import join
from rushes.cli.commands.batches.judge import judge, verdicts
from rushes.cli.commands.batches.provenance import provenance
from rushes.cli.commands.batches.sheet import sheet
from rushes.cli.exits import ExitCode
from rushes.cli.named import BatchId
from rushes.cli.options import Json, Limit, Whole
from rushes.domain.notation import counted, model_words

if TYPE_CHECKING:
    import asyncio

    from rushes.library import Rushes

LIKE_SHOWN_MAX = 5
TROUBLE_CHARACTERS_SHOWN = 120
"""Of an answer that was not understood."""

WATCH_SECONDS = 0.5
"""How often `watch` looks."""

app = App(name="batch", help="List, show, watch, cancel, retry, download, join, export and print batches.")
app.command(download)
app.command(export)
app.command(sheet)
app.command(provenance)
app.command(join)
app.command(judge)
app.command(verdicts)

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
    from rushes.cli.session import looked_at, run_async
    from rushes.cli.show import print_json, print_table

    async def show_list() -> None:
        async with looked_at() as rushes:
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
    from rushes.cli.outcome import failure_counts, held_counts, open_count
    from rushes.cli.progress import chains_line, files_line, verdicts_line
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import earned_line, print_facts, print_json, print_line, proof_line

    async def show_one() -> None:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            batch = await rushes.batch(named)
            failures = await failure_counts(rushes, named)
            files = await rushes.batch_files(named)
            verdicts = await rushes.batch_verdicts(named)
            likeness = await rushes.batch_likeness(named)
            chains = await rushes.batch_chains(named)
            chosen = await rushes.items(named, status=status) if items or status else None
            held = await held_counts(rushes, named) if batch["pending_count"] else []
            troubles = await rushes.troubles(named) if open_count(batch) else []
            earned = await rushes.batch_margin(named)
            models = await rushes.models_chosen(named)
        if json:
            extra = {} if chosen is None else {"items": chosen}
            document = {"ok": True, **batch, "files": files, "troubles": troubles, "earned": earned}
            document |= {"verdicts": verdicts, "likeness": likeness, "chains": chains}
            document["models_chosen"] = models
            print_json(document | extra)
            return
        print_facts(batch)
        if any(files.values()):
            print_line(files_line(files))
        if verdicts:
            print_line(verdicts_line(verdicts))
        if models:
            print_line("models chosen: " + ", ".join(f"{count} {name}" for name, count in models.items()))
        for line in likeness_lines(likeness):
            print_line(line)
        if chains["chains"]:
            print_line(chains_line(chains))
        if failures:
            print_line("failures: " + ", ".join(f"{count} {kind}" for kind, count in failures.items()))
        print_line(proof_line(batch))
        print_line(earned_line(earned))
        for count, reason in held:
            print_line(f"held: {count} of the pending: {reason}")
        for trouble in troubles:
            print_line(trouble["text"])
        if chosen is not None:
            print_items(chosen)

    run_async(show_one())


def likeness_lines(found: Mapping[str, Any]) -> list[str]:
    """What was reused, and which clips look like an earlier one, the first few of them."""
    lines = []
    if found["reused_count"]:
        saved = counted(found["credits_saved"], "credit")
        reused = counted(found["reused_count"], "item takes", "items take")
        lines.append(f"reused: {reused} the file of an equal one, {saved} saved")
    if near := found["near_equal"]:
        pairs = ", ".join(f"{each['index']} like {each['like']}" for each in near[:LIKE_SHOWN_MAX])
        more = ", …" if len(near) > LIKE_SHOWN_MAX else ""
        lines.append(f"near-equal: {counted(len(near), 'clip looks', 'clips look')} the same: {pairs}{more}")
    return lines


def _status_of(item: Mapping[str, Any]) -> str:
    if item["waits_for"]:
        return f"waits for {item['waits_for']}"
    return "held" if item["held_reason"] else str(item["status"])


def print_items(items: Sequence[Mapping[str, Any]]) -> None:
    """The items as a table on stdout."""
    from rushes.cli.show import print_table, shortened

    with_trouble = any(item["trouble"] for item in items)
    with_choice = any(item["model_choice"] for item in items)
    rows = [
        (
            item["index"],
            model_words(item["model"], item["alias"]),
            _status_of(item),
            item["failure_type"],
            item["attempt"],
            item["credits"],
            shortened(item["prompt"]),
            *([shortened(item["trouble"] or "", TROUBLE_CHARACTERS_SHOWN)] if with_trouble else []),
            *([item["model_choice"] or ""] if with_choice else []),
        )
        for item in items
    ]
    columns = ["index", "model", "status", "failure", "attempt", "credits", "prompt"]
    if with_trouble:
        columns.append("last answer")
    if with_choice:
        columns.append("why this model")
    print_table(columns, rows, right="index attempt credits")


@app.command
def watch(batch_id: BatchId, /, *, json: Json = False) -> int:
    """Watch a batch until it has finished, without processing it.

    Ends as `run` does: 0 when all succeeded, 5 when some failed or some videos could not be stored.
    """

    from rushes.cli.outcome import exit_code_of, left_of, outcome_at_end, print_outcome, resume_hint
    from rushes.cli.session import opened, run_async, stop_on_signals
    from rushes.cli.show import say

    async def follow() -> int:
        async with opened() as rushes:
            started_at, named = time.monotonic(), await rushes.batch_id_like(batch_id)
            with stop_on_signals() as stop:
                seen = await _follow(rushes, named, stop.event)
                if seen is None:
                    return stop.exit_code
                ended = await outcome_at_end(rushes, seen, stop.event)
            print_outcome(ended, time.monotonic() - started_at, as_json=json)
            left = left_of(rushes.settings, ended)
        if left.count:
            say(f"rushes: {resume_hint(ended, left)}")
            return stop.exit_code
        return exit_code_of(ended)

    return run_async(follow())


async def _follow(rushes: "Rushes", batch_id: str, stop: "asyncio.Event") -> dict[str, Any] | None:
    """Show progress until nothing of the batch is left or a signal came; the batch as last seen."""
    import asyncio
    import contextlib

    from rushes.cli.outcome import batch_now, left_of
    from rushes.cli.progress import progress_display
    from rushes.concurrency import until_stopped
    from rushes.domain.errors import StoreError

    async def look() -> tuple[dict[str, Any], dict[str, str]]:
        batch = await batch_now(rushes, batch_id)
        is_open = left_of(rushes.settings, batch).count > 0
        return batch, troubles_of(await rushes.live_workers()) if is_open else {}

    seen: dict[str, Any] | None = None
    with progress_display() as progress:
        while not stop.is_set():
            try:
                found = await until_stopped(stop, look())
                if found is None:
                    break
                seen, troubles = found
            except StoreError as error:
                if seen is None or not error.retryable:
                    raise
                troubles = {"database": error.message}
            progress.update(seen, troubles)
            if not left_of(rushes.settings, seen).count:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await stop.wait()
    return seen


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
    from rushes.read.views import runs_on

    async def end() -> None:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            answer = await rushes.cancel(named)
            batch = await rushes.batch(named)
        if json:
            print_json({"ok": True, **answer})
            return
        print_line(
            f"batch {named} is cancelled, {counted(answer['credits_refunded'], 'credit')} refunded"
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
    """Retry failed items, all or none: each becomes a new task with a new reservation.

    It only accepts them; `rushes worker` does the work.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, say

    async def again() -> int:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            before = await rushes.batch(named)
            batch = await rushes.retry(named, item)
        accepted = before["failed_count"] - batch["failed_count"]
        if json:
            print_json({"ok": True, "retried_count": accepted, **batch})
        elif accepted:
            print_line(f"batch {named}: {counted(accepted, 'item')} will be retried")
        else:
            print_line(f"batch {named} has no failed items")
        if accepted:
            say("rushes: `rushes worker` runs them")
        return ExitCode.DONE

    return run_async(again())


@app.command
def adopt(
    item: Annotated[
        str, Parameter(help="The item: the batch's id, the start of it or last, and its index: last-3.")
    ],
    remote_id: Annotated[str, Parameter(help="The provider's own id of the task that was bought for it.")],
    /,
    *,
    account: Annotated[str | None, Parameter(help="Only an item of this account.")] = None,
    json: Json = False,
) -> int:
    """Give an item the video that the provider made after its submit got lost: settle it, or follow it up.

    For an item that is unconfirmed, or failed as SUBMIT_OUTCOME_UNKNOWN, timed out or not found. The remote
    task is polled once. A failed item is charged again, as its credits were refunded.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.domain.catalogue.options import quoted
    from rushes.domain.errors import InputError

    batch_id, dash, index = item.rpartition("-")
    if not dash or not index.isascii() or not index.isdigit():
        raise InputError(
            f"{quoted(item)} is no item: name its batch and its index, such as last-3 or bat_1a2b-3"
        )

    async def take() -> int:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id, account=account)
            batch = await rushes.adopt(named, int(index), remote_id, account=account)
        if json:
            print_json({"ok": True, **batch})
        else:
            print_line(f"item {named}-{index} has remote task {remote_id}; its batch is {batch['status']}")
        return ExitCode.DONE

    return run_async(take())


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
    from rushes.read.views import trouble_text

    async def show_attempts() -> None:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            found = await rushes.attempts(named, item)
        if json:
            print_json({"ok": True, "batch_id": named, "index": item, "attempts": found})
            return
        names = ("try", "attempt", "status", "failure_type", "model", "provider", "remote_task_id", "credits")
        rows = [
            (
                *(attempt[name] for name in names),
                attempt["completed_at"],
                shortened(attempt["error"] or ""),
                shortened(trouble_text(attempt) or "", TROUBLE_CHARACTERS_SHOWN),
            )
            for attempt in found
        ]
        columns = ("try", "attempt", "status", "failure", "model", "provider", "remote id", "credits")
        print_table((*columns, "ended", "error", "last answer"), rows, right="try attempt credits")

    run_async(show_attempts())


@app.command
def rerolls(batch_id: BatchId, /, *, json: Json = False) -> None:
    """Show a batch's retry policy, and what its tries have cost."""
    from rushes.cli.commands.batches.gains import print_gains
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_facts, print_json, print_line

    async def show_rerolls() -> None:
        async with opened() as rushes:
            found = await rushes.rerolls(await rushes.batch_id_like(batch_id))
        if json:
            print_json({"ok": True, **found})
            return
        policy, gained = found.pop("policy") or {"max": 0}, found.pop("repairs")
        rules = [f"{rule['after']}:{rule['do']}" for rule in policy.pop("repairs", [])]
        reasons = policy.pop("reasons", [])
        stop_loss = policy.pop("stop_loss", None)
        print_facts(
            {
                **found,
                **policy,
                "reasons": ", ".join(reasons),
                "stop_loss": stop_loss and f"below {stop_loss['pass_rate_min']} after {stop_loss['after']}",
                "repairs": ", ".join(rules),
            }
        )
        if gained:
            print_line("")
            print_gains(gained)

    run_async(show_rerolls())
