"""`rushes archive`: status, verify and prune."""

from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

from rushes.cli.exits import ExitCode
from rushes.cli.options import Age, Json
from rushes.domain.notation import counted

app = App(name="archive", help="The video archive: show it, verify it, remove videos past their retention.")

SAY_SECONDS = 3.0
"""How often `verify` says how far it is."""

PROBLEMS_SHOWN_MAX = 20


@app.command
def status(*, json: Json = False) -> None:
    """Show the archive in numbers, and why files are not stored."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_facts, print_json, print_table

    async def show() -> None:
        async with opened() as rushes:
            found = await rushes.archive_status()
        if json:
            print_json({"ok": True, **found})
            return
        print_facts(
            {
                "place": found["place"] or "none",
                **found["files"],
                "stored MB": f"{found['stored_bytes'] / 1e6:.1f}",
                "due since": found["due_since"],
                "link dies soon": found["at_risk"],
            }
        )
        if found["reasons"]:
            rows = [(reason["count"], reason["state"], reason["reason"]) for reason in found["reasons"]]
            print_table(("files", "state", "reason"), rows, right="files")

    run_async(show())


@app.command
def verify(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's files.")] = None,
    json: Json = False,
) -> int:
    """Read every stored video again and compare its hash with the recorded one; changes nothing.

    Exit code 1 when one is missing or is not what was stored.
    """
    import time

    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, say

    said_at = time.monotonic()

    def on_file(files: int, size: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_SECONDS:
            said_at = time.monotonic()
            say(f"{counted(files, 'file')} · {size / 1e6:.1f} MB")

    async def check() -> int:
        async with opened() as rushes:
            found = await rushes.verify_archive(account=account, on_file=on_file)
        if json:
            print_json(found.as_dict())
        else:
            for problem in found.problems[:PROBLEMS_SHOWN_MAX]:
                print_line(f"{problem['key']}: {problem['problem']}")
            print_line(
                f"{counted(found.checked, 'video')} hashed again ({found.bytes / 1e6:.1f} MB),"
                f" {counted(found.problem_count, 'problem')}"
            )
        return ExitCode.ERROR if found.problem_count else ExitCode.DONE

    return run_async(check())


@app.command
def prune(
    *,
    older_than: Annotated[
        Age | None, Parameter(help="Such as 30d; by default what RUSHES_ARCHIVE_KEEP_DAYS says.")
    ] = None,
    account: Annotated[str | None, Parameter(help="Only this account's files.")] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only say what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove stored videos past their retention. Batches and credits stay as they are.

    Videos that were deleted over the API go in any case. With RUSHES_ARCHIVE_KEEP_DAYS (or …_BY_ACCOUNT)
    set, workers do the same every ten minutes; what was deleted they remove without it, too.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def remove() -> None:
        days = None if older_than is None else older_than / timedelta(days=1)
        async with opened() as rushes:
            gone = await rushes.prune_archive(days=days, account=account, dry_run=dry_run)
        if json:
            print_json({"ok": True, "dry_run": dry_run, "files": gone.files, "bytes": gone.bytes})
        else:
            word = "would be removed" if dry_run else "removed"
            print_line(f"{counted(gone.files, 'video')} {word} ({gone.bytes / 1e6:.1f} MB)")

    run_async(remove())
