"""Files that the user names: read with a bound, written whole or not at all."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rushes.cli.show import say

STANDARD_INPUT = "-"


def read_bounded(path: str, bytes_max: int) -> tuple[str, bytes]:
    """The file's name for messages and its bytes, at most one more than `bytes_max`; `-` is stdin.

    Raises `InputError` for what cannot be read.
    """
    from rushes.domain.errors import InputError

    if path == STANDARD_INPUT:
        if sys.stdin.isatty():
            say("rushes: reading from the terminal; Ctrl-D ends it")
        return "stdin", sys.stdin.buffer.read(bytes_max + 1)
    try:
        with Path(path).open("rb") as file:
            return path, file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise InputError(f"cannot be read: {reason}", source=path) from None


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Write the file whole or not at all; raises `InputError` when it cannot be written."""
    import tempfile

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
