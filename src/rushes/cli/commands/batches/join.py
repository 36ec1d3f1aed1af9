"""`rushes batch join`: one file of a chain's clips."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.options import Json
from rushes.domain.notation import counted


def join(
    batch_id: Annotated[str, Parameter(help="The batch's id, the start of it, or last.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The MP4 file; it must not be there yet.")],
    chain: Annotated[
        str | None, Parameter(help="The custom_id of the chain's last item, where there are several.")
    ] = None,
    json: Json = False,
) -> None:
    """Make one file of a chain: the clips of the items that start from each other's last frame, in order.

    The streams are copied where all clips fit each other; where they do not, all is encoded anew, and the
    reason is said. Needs the extra `video`.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def make() -> dict[str, object]:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            return await rushes.join_chain(named, out, chain=chain)

    joined = run_async(make())
    if json:
        print_json({"ok": True, **joined})
        return
    how = "streams copied" if joined["is_copied"] else f"encoded anew: {joined['reason']}"
    clips = joined["items"]
    assert isinstance(clips, list)
    print_line(f"{joined['out']}: {counted(len(clips), 'clip')} ({how})")
