"""`rushes backup`: a copy of the database, made while it is in use."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from rushes.cli.options import Json


def backup(
    folder: Annotated[Path, Parameter(help="Where to write it; created if missing.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Copy the database into a folder, as it is at one moment; nothing has to stop meanwhile.

    SQLite: a checked copy, rushes.db. PostgreSQL: rushes.dump, made by pg_dump. Beside it backup.json names
    the revision and the hash. Neither videos nor the signing key are in it: copy the archive after it, and
    keep the key and the settings apart.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def copy() -> None:
        async with opened(reads_only=True) as rushes:
            made = await rushes.backup(folder)
        if json:
            print_json(made)
        else:
            print_line(f"{folder / made['file']}: {made['bytes']} bytes, revision {made['revision']}")

    run_async(copy())
