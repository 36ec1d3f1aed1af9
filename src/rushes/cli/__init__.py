"""The command line: thin commands over `library.Rushes`.

Data goes to stdout; progress, logs and errors to stderr. An error is one line, `rushes: message`.
Exit codes: see `ExitCode`.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from io import TextIOWrapper

DEBUG_VARIABLE = "RUSHES_DEBUG"
"""When set, errors come with their traceback."""


class ExitCode(IntEnum):
    """What the process answers. A signal that ended a command gives 128 + its number: 130 or 143."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_AUTHORISED = 4
    SOME_FAILED = 5
    INTERRUPTED = 130
    TERMINATED = 143
    BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default); returns its exit code and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name or locale must never end a command
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BaseException as error:
        code = _failed(error)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return code
    # what could not be written must not be tried again at exit
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from rushes.cli.app import app
    from rushes.cli.options import spread_values

    try:
        result = app(spread_values(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        message = str(error)  # "..." at its end stands for more of a list
        message = message if message.endswith("...") else message.removesuffix(".")
        _complain(f"{message}; see `rushes --help`")
        return ExitCode.USAGE
    return result if isinstance(result, int) else ExitCode.DONE


def _failed(error: BaseException) -> int:
    """Say in one line what went wrong; returns the exit code."""
    from rushes.domain.errors import NotAuthorised, RushesError

    whole = error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    debugging = bool(os.environ.get(DEBUG_VARIABLE))
    match error:
        case BrokenPipeError():
            return ExitCode.BROKEN_PIPE  # whoever read our output has gone
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case SystemExit(code=int(code)):
            return code
        case _:
            pass
    if debugging:
        traceback.print_exception(whole)
    match error:
        case RushesError():
            _complain(error.message)
        case OSError() if error.strerror:
            _complain(": ".join(str(part) for part in (error.filename, error.strerror) if part))
        case _:
            hint = "" if debugging else f" (set {DEBUG_VARIABLE}=1 for the traceback)"
            _complain(f"unexpected {type(error).__name__}: {error}{hint}")
    return ExitCode.NOT_AUTHORISED if isinstance(error, NotAuthorised) else ExitCode.ERROR


def _complain(message: str) -> None:
    from rushes.cli.show import say

    say(f"rushes: {message}")
