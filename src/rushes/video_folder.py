"""A folder of a batch's videos on this machine: filled a few at a time, with a manifest of what is in it."""

import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from rushes.concurrency import at_once
from rushes.domain.downloads import DownloadedFile, Manifest, manifest_of
from rushes.domain.errors import InputError

PARALLEL_MAX: Final = 32

Item = TypeVar("Item")


def check_parallel(parallel: int) -> None:
    """Raise `InputError` for more or fewer files at a time than may be."""
    if not 1 <= parallel <= PARALLEL_MAX:
        raise InputError(f"must be 1 to {PARALLEL_MAX}", field="parallel")


async def fill_folder(
    batch_id: str,
    named: Sequence[tuple[Item, str]],
    fetch: Callable[[Item, str], Awaitable[tuple[DownloadedFile, bool]]],
    *,
    parallel: int,
    on_file: Callable[[DownloadedFile], None],
    manifest_at: Path,
) -> Manifest:
    """Fetch each item under its name, `parallel` at a time, and write the manifest, also of a part.

    `fetch` gives the item's line, and whether its file was there before. `on_file` hears of each line.
    """
    lines: list[DownloadedFile] = []
    present = 0

    async def fetch_one(item_and_name: tuple[Item, str]) -> None:
        nonlocal present
        line, was_there = await fetch(*item_and_name)
        lines.append(line)
        present += was_there
        on_file(line)

    try:
        await at_once(max(1, min(parallel, len(named))), named, fetch_one)
    finally:
        manifest = manifest_of(batch_id, lines, present=present)
        # what ended it early is the error to raise, not that the manifest cannot be written either
        with contextlib.suppress(InputError) if len(lines) < len(named) else contextlib.nullcontext():
            write_manifest(manifest, manifest_at)
    return manifest


def size_and_digest(path: Path) -> tuple[int, str] | None:
    """The file's bytes and their SHA-256; None when there is no such file."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), digest
    except FileNotFoundError:
        return None


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest whole or not at all. Raises `InputError`."""
    new = path.with_name(f"{path.name}.part")
    write_text(new, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    new.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write the text. Raises `InputError` when it cannot be written."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", source=str(path)) from error


def folder_at(path: str | Path) -> Path:
    """The folder, made when it is new. Raises `InputError`."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be a folder: {error.strerror}", source=str(folder)) from error
    return folder
