"""`rushes batch export`: a batch's items as JSON Lines or CSV."""

import csv
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter

from rushes.cli.options import Json
from rushes.cli.session import opened, run_async

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


def write_whole(path: Path, chunks: Iterator[bytes]) -> None:
    """Write the file whole or not at all; raises `InputError` when it cannot be written."""
    from rushes.domain.errors import InputError

    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as part:
            try:
                part.writelines(chunks)
                part.flush()
                os.fsync(part.fileno())
                if path.is_dir():
                    raise IsADirectoryError(21, "is a directory")
                Path(part.name).chmod(0o666 & ~_umask())
                Path(part.name).replace(path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise InputError(f"cannot be written: {reason}", source=str(path)) from None


def _umask() -> int:
    """The process's umask; reading it means setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
