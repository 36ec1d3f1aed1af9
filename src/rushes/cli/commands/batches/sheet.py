"""`rushes batch sheet`: all of a batch on one page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from rushes.cli.files import write_whole
from rushes.cli.named import BatchId
from rushes.cli.options import Json
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.cli.contact_sheet import Clip
    from rushes.library import Rushes

MANIFEST_BYTES_MAX = 64 * 1024 * 1024


def sheet(
    batch_id: BatchId,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="The HTML file; by default BATCH.html in this folder.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a contact sheet: one HTML file with thumbnails, prompts, verdicts and credits, to view or print.

    It links to the videos that `rushes run --out` or `rushes batch download` put beside it, or else to those
    in a local archive. Thumbnails need the extra `video`; without it the browser shows the first pictures.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def make() -> tuple[str, Path, int]:
        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            target = out or Path(f"{named}.html")
            return named, target, await write_sheet(rushes, named, target)

    named, target, count = run_async(make())
    if json:
        print_json({"ok": True, "batch_id": named, "out": str(target), "items": count})
    else:
        print_line(f"{target}: {counted(count, 'item')}")


async def write_sheet(rushes: "Rushes", batch_id: str, target: Path) -> int:
    """Write the batch's sheet to the file; returns how many items it shows. Raises `InputError`."""
    from rushes.cli.contact_sheet import ITEMS_MAX, contact_sheet
    from rushes.domain.errors import InputError

    batch = await rushes.batch(batch_id)
    if batch["total_count"] > ITEMS_MAX:
        raise InputError(
            f"the batch has {counted(batch['total_count'], 'item')}, a sheet at most {ITEMS_MAX};"
            " `rushes batch export` lists them"
        )
    items = await rushes.items(batch_id)
    clips = await _clips(rushes, batch_id, items, target.parent)
    write_whole(target, (part.encode("utf-8", "replace") for part in contact_sheet(batch, items, clips)))
    return len(items)


async def _clips(
    rushes: "Rushes", batch_id: str, items: Sequence[Mapping[str, Any]], folder: Path
) -> "dict[int, Clip]":
    """A picture and a link for each item: to the video beside the sheet, or to a local archive's."""
    from rushes.cli.contact_sheet import Clip

    beside, clips = _files_beside(folder, batch_id), dict[int, Clip]()
    async for index, thumbnail, video in rushes.pictures(batch_id):
        link = beside.get(index)
        if link is None and video is not None and video.is_file():
            link = _from(folder, video)
        clips[index] = Clip(thumbnail, link)
    return {item["index"]: clips.get(item["index"], Clip(None, beside.get(item["index"]))) for item in items}


def _from(folder: Path, file: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()


def _files_beside(folder: Path, batch_id: str) -> dict[int, str]:
    """The videos in the folder by their items' indexes, as the folder's manifest names them."""
    import json

    try:
        with (folder / f"{batch_id}.manifest.json").open("rb") as file:
            lines = json.loads(file.read(MANIFEST_BYTES_MAX))["files"]
        named = {line["index"]: line["file"] for line in lines if line["file"]}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return {}
    return {index: name for index, name in named.items() if (folder / name).is_file()}
