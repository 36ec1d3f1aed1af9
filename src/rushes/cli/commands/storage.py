"""What `rushes doctor` says of files: who else can read them, how large they are, when disks are full."""

import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushes.domain.notation import counted, in_bytes

if TYPE_CHECKING:
    from rushes.settings import Settings

DISK_DAYS_MIN = 30
"""A disk that is full sooner is warned of."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH


def exposed_files(settings: "Settings") -> list[str]:
    """A warning for the database's file and for the archive's folder where other users can get at them.

    New ones are made for their owner alone, mode 0600 and 0700. (The signing key is refused, not warned of.)
    """
    from rushes.database_wiring import sqlite_file
    from rushes.files.objects import local_folder

    database = sqlite_file(settings)
    archive = None if settings.archive_place is None else local_folder(settings.archive_place)
    return [
        f"other users of this machine may read {path} (mode {mode:04o}); run `chmod {wanted} {path}`"
        for path, wanted in ((database, "600"), (archive, "700"))
        if path is not None and (mode := _mode_for_others(path)) is not None
    ]


def _mode_for_others(path: Path) -> int | None:
    """The path's mode where others may use it and can come to it; None when they cannot."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        can_enter = path.absolute().parent.stat().st_mode & _OTHERS_ENTER
    except OSError:
        return None  # not there yet, or somebody else's, of whom other checks tell
    return mode if mode & _OTHERS and can_enter else None


def size_facts(sizes: dict[str, Any] | None) -> dict[str, str]:
    """The sizes in words, with what they come to in a year at the pace of the last week."""
    if sizes is None:
        return {}
    database, videos = sizes["database"], sizes["videos"]
    return {
        "size": f"{counted(sizes['tasks'], 'task', digits=',')}, {_size(database)}",
        "videos": f"{counted(sizes['stored_videos'], 'video', digits=',')}, {_size(videos)}",
    }


def _size(growth: dict[str, Any]) -> str:
    if not growth["bytes_a_day"]:
        return in_bytes(growth["bytes"])
    a_day, in_a_year = in_bytes(growth["bytes_a_day"]), in_bytes(growth["bytes_in_a_year"])
    return f"{in_bytes(growth['bytes'])}; {a_day} a day lately, {in_a_year} in a year"


def disk_warnings(settings: "Settings", sizes: dict[str, Any] | None) -> list[str]:
    """Disks that are full within `DISK_DAYS_MIN` days at the pace of the last week."""
    if sizes is None:
        return []
    from rushes.database_wiring import sqlite_file
    from rushes.files.objects import local_folder

    archive = None if settings.archive_place is None else local_folder(settings.archive_place)
    grows: dict[Path, int] = {}
    for place, growth in ((sqlite_file(settings), sizes["database"]), (archive, sizes["videos"])):
        if place is not None and place.exists() and growth["bytes_a_day"]:
            folder = place if place.is_dir() else place.parent
            grows[folder] = grows.get(folder, 0) + growth["bytes_a_day"]
    warnings = []
    for folder, a_day in grows.items():
        days = shutil.disk_usage(folder).free / a_day
        if days < DISK_DAYS_MIN:
            left = counted(int(days), "day")
            warnings.append(f"the disk of {folder} is full in {left} at {in_bytes(a_day)} a day")
    return warnings
