"""What comes after the work of a run: the videos into a folder, where they are, and what to type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushes.cli.commands.running.before import MANIFEST_ENDING
from rushes.cli.outcome import resume_hint
from rushes.cli.show import say
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.cli.outcome import Left
    from rushes.domain.downloads import Manifest
    from rushes.library import Rushes


async def note_folder(rushes: "Rushes", batch_id: str, out: Path) -> None:
    """Write the manifest of a folder that is still to be filled, so that the next run knows it."""
    from rushes.domain.downloads import line_without_file, manifest_of
    from rushes.video_folder import write_manifest

    path = out / f"{batch_id}{MANIFEST_ENDING}"
    if not path.exists():
        items = await rushes.items(batch_id)
        lines = [{**line_without_file(item), "error": "not finished yet"} for item in items]
        write_manifest(manifest_of(batch_id, lines, present=0), path)  # type: ignore[arg-type]


def folder_facts(out: Path, manifest: "Manifest") -> dict[str, Any]:
    """What `run --json` says of the folder."""
    return {
        "folder": str(out),
        "manifest": str(out / f"{manifest['batch_id']}{MANIFEST_ENDING}"),
        "files": manifest["downloaded"] + manifest["present"],
        "missing": manifest["failed"],
    }


def say_what_is_next(batch: Mapping[str, Any], out: Path | None, left: "Left") -> None:
    """The commands that people type after a run, on stderr."""
    batch_id = batch["batch_id"]
    folder = f" --out {shlex.quote(str(out))}" if out else ""
    if left.count:
        say(f"rushes: {resume_hint(batch, left)}; `rushes run --resume {batch_id}{folder}` resumes it")
        return
    if out is None and batch["succeeded_count"]:
        say(f"next: `rushes batch download {batch_id} --out videos` copies the videos into a folder")
    if batch["failed_count"]:
        failed = counted(batch["failed_count"], "failed item")
        say(
            f"next: `rushes batch retry {batch_id}` retries the {failed},"
            f" then `rushes run --resume {batch_id}{folder}`"
        )
    page = f" --out {shlex.quote(str(out / 'index.html'))}" if out else ""
    say(f"next: `rushes batch sheet {batch_id}{page}` makes one page of all of it")
