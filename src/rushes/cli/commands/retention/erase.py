"""`rushes erase`: prompts, inputs, metadata and videos go; the books stay."""

from typing import Annotated

from cyclopts import Parameter

from rushes.cli.exits import ExitCode
from rushes.cli.options import Json
from rushes.domain.notation import counted


def erase(
    *,
    batch: Annotated[str | None, Parameter(help="A batch's id: all its items.")] = None,
    item: Annotated[str | None, Parameter(help="An item's id, such as bat_…-3: every try of it.")] = None,
    account: Annotated[str | None, Parameter(help="An account's name: all its batches.")] = None,
    json: Json = False,
) -> int:
    """Erase prompts, inputs, metadata, links and stored videos for good; hashes stand in their place.

    Credits, counts, custom ids and statements stay as they are. An erased item cannot be retried. Items
    that are not finished keep what they need: the command fails with 5 and names their number; run it again
    when they have ended. Backups and logs of receivers are yours to clean.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def run() -> int:
        async with opened() as rushes:
            erased, still_open = await rushes.erase(batch=batch, item=item, account=account)
        if json:
            print_json({"ok": not still_open, "erased": erased, "open": still_open})
        else:
            print_line(f"{counted(erased, 'task')} erased")
            if still_open:
                print_line(f"not finished, so not erased: {counted(still_open, 'task')}; run it again later")
        return ExitCode.SOME_FAILED if still_open else ExitCode.DONE

    return run_async(run())
