"""`rushes prune`: finished batches become signed summaries, and their rows go."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from rushes.cli.options import Age, Json
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.run.retention import Pruned

SAY_SECONDS = 5.0


def prune(
    *,
    older_than: Annotated[
        Age | None, Parameter(help="Such as 90d; by default what RUSHES_KEEP_DAYS says.")
    ] = None,
    account: Annotated[str | None, Parameter(help="Only this account's batches.")] = None,
    with_videos: Annotated[
        bool, Parameter(negative=(), help="Remove their stored videos first; without, such batches stay.")
    ] = False,
    vacuum: Annotated[
        bool,
        Parameter(negative=(), help="Then give freed space back to the disk; stop what uses the database."),
    ] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only say what would be folded.")] = False,
    json: Json = False,
) -> None:
    """Fold finished batches into signed summaries, so that the audit still proves the books.

    Balances stay as they are, and signed statements still verify. Prompts, items, events and ledger entries
    of those batches are gone for good: make a backup first (`rushes backup DIR`). Batches whose webhooks or
    videos are still kept stay. Safe to interrupt and while workers work.
    """
    import time

    from rushes.cli.session import opened, run_async
    from rushes.cli.show import say

    said_at = time.monotonic()

    def on_step(so_far: "Pruned") -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_SECONDS:
            said_at = time.monotonic()
            say(f"{_sums(so_far)} · {counted(so_far.entries, 'ledger entry', 'ledger entries')}")

    async def fold() -> None:
        days = None if older_than is None else older_than / timedelta(days=1)
        async with opened() as rushes:
            gone = await rushes.prune(
                days=days, account=account, with_videos=with_videos, dry_run=dry_run, on_step=on_step
            )
            if vacuum and not dry_run:
                await rushes.vacuum()
        _print_pruned(gone, dry_run=dry_run, as_json=json)

    run_async(fold())


def _print_pruned(gone: "Pruned", *, dry_run: bool, as_json: bool) -> None:
    from rushes.cli.show import print_json, print_line

    facts = {
        "batches": gone.batches,
        "tasks": gone.tasks,
        "ledger_entries": gone.entries,
        "kept_for_videos": gone.kept_for_videos,
    }
    if as_json:
        print_json({"ok": True, "dry_run": dry_run, **facts})
        return
    if dry_run:
        print_line(f"{_sums(gone)} would be folded")
    else:
        print_line(f"{_sums(gone)} folded, {counted(gone.entries, 'ledger entry', 'ledger entries')} too")
    if gone.kept_for_videos:
        staying = counted(gone.kept_for_videos, "batch stays", "batches stay")
        print_line(f"{staying}: their videos are kept (--with-videos)")


def _sums(pruned: "Pruned") -> str:
    return f"{counted(pruned.batches, 'batch', 'batches')} with {counted(pruned.tasks, 'task')}"
