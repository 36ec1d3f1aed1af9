"""The command line: thin commands over `library.Rushes`.

Data goes to stdout; progress, logs and errors to stderr. An error is one line, `rushes: message`.
Exit codes: `exits.ExitCode`.
"""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from io import TextIOWrapper

from rushes.cli.exits import DEBUG_VARIABLE, ExitCode, Printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` by default); returns its exit code and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name or locale must never end a command
    Printed.documents = 0
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from rushes import __version__

        print(__version__)  # without the parser: it is asked for by scripts, often
        return ExitCode.DONE
    try:
        code = _run(given)
        sys.stdout.flush()
    except BaseException as error:
        try:
            code = _failed(error, as_json="--json" in given)
        except MemoryError as lack:  # while importing what the error is said with
            code = _failed(lack, as_json=False)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return code
    # what could not be written must not be retried at exit
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from rushes.cli.app import app_for
    from rushes.cli.options import spread_values

    app = app_for(arguments)
    try:
        result = app(spread_values(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from rushes.cli.usage import usage_message

        message = usage_message(error)
        if "--json" in arguments:
            _print_error("USAGE", message, {})
        _complain(message)
        return ExitCode.USAGE
    return result if isinstance(result, int) else ExitCode.DONE


def _failed(error: BaseException, *, as_json: bool) -> int:
    """Say in one line what went wrong, with `as_json` on stdout too; returns the exit code."""
    if _is_out_of_memory(error):
        # written at once: there may be no room to import what else is said with
        os.write(2, f"rushes: {_LIMITS_TOO_LOW}\n".encode())
        return ExitCode.ERROR
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
    kind, message = _said_of(error, debugging=debugging)
    if as_json:
        facts, retryable = (error.facts, error.retryable) if isinstance(error, RushesError) else ({}, False)
        with contextlib.suppress(OSError):  # as where the disk is full
            _print_error(kind, message, facts, retryable=retryable)
    _complain(message)
    if kind == "USAGE":
        return ExitCode.USAGE
    return ExitCode.NOT_AUTHORISED if isinstance(error, NotAuthorised) else ExitCode.ERROR


def _said_of(error: BaseException, *, debugging: bool) -> tuple[str, str]:
    """The error's code and message."""
    from rushes.cli.show import one_line
    from rushes.domain.errors import RushesError

    match error:
        case RushesError():
            return error.code, error.message
        case UnicodeEncodeError(object=text) if any("\ud800" <= one <= "\udfff" for one in text):
            return "USAGE", f"an argument is not UTF-8: {one_line(text)}"
        case OSError() if error.strerror:
            return "SYSTEM_ERROR", ": ".join(str(part) for part in (error.filename, error.strerror) if part)
        case _:
            hint = "" if debugging else f" (set {DEBUG_VARIABLE}=1 for the traceback)"
            return "UNEXPECTED", f"unexpected {type(error).__name__}: {one_line(str(error))}{hint}"


_LIMITS_TOO_LOW = (
    "the system gives this process no more memory or threads; raise its limits (`ulimit -v`, `ulimit -u`;"
    " of a unit MemoryMax and TasksMax; of a container its memory) or free some"
)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether a limit of the system ended it, in each of the forms in which Python says so."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case MemoryError():
            return True
        case SystemError():  # the interpreter's own, where it had no room for a MemoryError
            return "without exception set" in str(error)
        case RuntimeError():
            return "can't start new thread" in str(error)
        case OSError():
            return error.errno == errno.ENOMEM
        case ImportError():
            return "failed to map segment" in str(error) or "annot allocate memory" in str(error)
        case _:
            return False


def _print_error(code: str, message: str, facts: Mapping[str, object], *, retryable: bool = False) -> None:
    """The error as the document that a program waits for, unless it has had one."""
    from rushes.cli.show import print_json

    if Printed.documents == 0:
        print_json({**facts, "ok": False, "error": code, "message": message, "retryable": retryable})


def _complain(message: str) -> None:
    from rushes.cli.show import say

    say(f"rushes: {message}")
