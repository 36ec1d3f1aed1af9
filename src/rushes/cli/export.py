"""`rushes batch export`: a batch's items as JSON Lines or CSV."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter

from rushes.cli.files import write_whole
from rushes.cli.options import Json

ExportFormat: TypeAlias = Literal["jsonl", "csv"]


def export(
    batch_id: Annotated[str, Parameter(help="The batch's id.")],
    /,
    *,
    format: Annotated[ExportFormat, Parameter(help="JSON Lines or CSV.")] = "jsonl",
    out: Annotated[Path | None, Parameter(help="Write to this file instead of stdout.")] = None,
    json: Json = False,
) -> None:
    """Write a batch's items: prompt, status, video URL, credits and more.

    Values are exact, in CSV too: a prompt that begins with = or + is written as it is, so open the file
    in a spreadsheet with its cells as text. With --json the items are one JSON array; with --json and
    --out it is said on stdout what was written.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, say

    async def write() -> None:
        from rushes.engine.views import EXPORT_FIELDS

        async with opened() as rushes:
            items = await rushes.items(batch_id)
        rows = [{name: item[name] for name in EXPORT_FIELDS} for item in items]
        if out is not None:
            write_whole(out, encoded(rows, format))
            if json:
                print_json({"batch_id": batch_id, "format": format, "out": str(out), "items": len(rows)})
            else:
                say(f"{len(rows)} items written to {out}")
        elif json:
            print_json(rows)
        else:
            for chunk in encoded(rows, format):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()

    run_async(write())


def encoded(rows: Sequence[Mapping[str, Any]], format: ExportFormat) -> Iterator[bytes]:
    """The rows in UTF-8, line by line."""
    if format == "jsonl":
        import msgspec

        encode = msgspec.json.Encoder().encode
        for row in rows:
            yield encode(row) + b"\n"
        return
    from rushes.engine.views import EXPORT_FIELDS

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(EXPORT_FIELDS)
    for row in rows:
        writer.writerow(row.values())
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()
