"""`rushes batch export`: a batch's items as JSON Lines or CSV."""

import sys
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from rushes.cli.files import write_whole
from rushes.cli.named import BatchId
from rushes.cli.options import Json
from rushes.domain.notation import counted

ExportFormat: TypeAlias = Literal["jsonl", "csv"]


def export(
    batch_id: BatchId,
    /,
    *,
    format: Annotated[ExportFormat, Parameter(help="JSON Lines or CSV.")] = "jsonl",
    raw: Annotated[
        bool, Parameter(negative=(), help="CSV with exact values, not safe for a spreadsheet.")
    ] = False,
    out: Annotated[Path | None, Parameter(help="Write to this file instead of stdout.")] = None,
    json: Json = False,
) -> None:
    """Write a batch's items: prompt, status, video URL, credits and more.

    In CSV, text that a spreadsheet would run as a formula (it starts with = + - or @) gets an apostrophe
    before it; --raw leaves it exact, as JSON always is. With --json the items are one JSON array; with
    --json and --out it is said on stdout what was written.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, say

    async def write() -> None:
        from rushes.read.exports import export_head, export_rows
        from rushes.read.views import OPERATOR_EXPORT_FIELDS

        async with opened() as rushes:
            named = await rushes.batch_id_like(batch_id)
            items = await rushes.items(named)
        rows = [{name: item[name] for name in OPERATOR_EXPORT_FIELDS} for item in items]
        content = [export_head(OPERATOR_EXPORT_FIELDS, format), export_rows(rows, format, raw=raw)]
        if out is not None:
            write_whole(out, content)
            if json:
                print_json({"batch_id": named, "format": format, "out": str(out), "items": len(rows)})
            else:
                say(f"{counted(len(rows), 'item')} written to {out}")
        elif json:
            print_json(rows)
        else:
            sys.stdout.buffer.writelines(content)
            sys.stdout.buffer.flush()

    run_async(write())
