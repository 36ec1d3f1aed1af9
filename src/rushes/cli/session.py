"""What a command needs around it: an event loop, the database, logs and a clean way to stop."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from rushes import telemetry
from rushes.cli.exits import ExitCode
from rushes.cli.show import one_line, say

if TYPE_CHECKING:
    from rushes.cli.options import LogLevel
    from rushes.library import Rushes
    from rushes.library.reading import Reading
    from rushes.settings import Settings
    from rushes.store.action_log import Actor
    from rushes.store.connections.place import DatabaseSettings

T = TypeVar("T")


def run_async(command: Coroutine[Any, Any, T]) -> T:
    """Run a command on an event loop of its own, uvloop where it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(command)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


@contextlib.asynccontextmanager
async def opened(
    *,
    creates: bool = False,
    reads_only: bool = False,
    settings: "Settings | None" = None,
    log_level: "LogLevel" = "warning",
) -> "AsyncIterator[Rushes]":
    """The facade over the configured database, whose schema is this version's.

    With `creates` an empty or missing database is made ready; without it a missing one is an error, so
    that a look from the wrong folder leaves no file behind. A database of another version is left alone.
    With `reads_only` a SQLite file is never written to: a copy on a read-only disk will do.
    """
    from rushes.library import Rushes
    from rushes.settings import Settings

    configure_logs(log_level)
    settings = settings or Settings.load()
    if not creates:
        _require_database(settings)
    rushes = Rushes(settings, migrated=False, reads_only=reads_only)
    rushes.actor = command_line_actor()
    try:
        await asyncio.to_thread(_prepare, rushes, creates)
        yield rushes
    finally:
        await rushes.aclose()


@contextlib.asynccontextmanager
async def looked_at() -> "AsyncIterator[Reading]":
    """The same for a command that only asks about batches: it imports nothing else, and starts at once."""
    import gc

    gc.disable()  # what is imported here stays; looking for what does not takes a tenth of the start
    from rushes.library.reading import Reading
    from rushes.store.connections.place import plain_place

    configure_logs("warning")
    place, settings = plain_place(), None
    if place is None:
        from rushes.settings import Settings

        settings = Settings.load()
        _require_database(settings)
    else:
        _require_database(place)
    reading = Reading(settings, migrated=False, place=place)
    try:
        await asyncio.to_thread(reading.prepare)
        yield reading
    finally:
        await reading.aclose()
        gc.enable()


def _require_database(settings: "DatabaseSettings") -> None:
    from rushes.database_wiring import missing_sqlite_file
    from rushes.domain.errors import NotFound

    missing = missing_sqlite_file(settings)
    if missing is not None:
        raise NotFound(
            f"there is no database at {missing} yet; `rushes run FILE` or `rushes credits grant N` makes it"
        )


def _prepare(rushes: "Rushes", creates: bool) -> None:
    if creates and rushes.schema_revisions()[0] is None:
        rushes.migrate()
    rushes.prepare()


STANDARD_STREAMS = (0, 1, 2)

# --- stopping -------------------------------------------------------------------------------------------


class Stop:
    """SIGINT, SIGTERM or SIGHUP, once: `event` is set and work ends cleanly. Twice: the process ends at once.

    Nothing is lost either way; the second one leaves submissions under way to be looked after later.
    """

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.signal_number: int | None = None
        self._terminals = [number for number in STANDARD_STREAMS if os.isatty(number)]

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell has it; an error when there was none."""
        return ExitCode.ERROR if self.signal_number is None else 128 + self.signal_number

    def _received(self, number: int) -> None:
        self._let_go_of_closed_terminals()
        if self.signal_number is not None:
            with contextlib.suppress(OSError, ValueError):
                if sys.stderr.isatty():
                    sys.stderr.write("\x1b[?25h\n")  # the progress display had hidden the cursor
                    sys.stderr.flush()
            os._exit(128 + number)
        self.signal_number = number
        self.event.set()
        say("rushes: stopping cleanly; once more stops at once")

    def _let_go_of_closed_terminals(self) -> None:
        """What is still to be said has no reader, and must not end the command with an error."""
        closed = [number for number in self._terminals if not os.isatty(number)]
        if closed:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in closed:
                os.dup2(nowhere, number)
            os.close(nowhere)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turns the signals that end a process into a `Stop`, inside a running event loop."""
    loop, stop = asyncio.get_running_loop(), Stop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop._received, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


# --- logs -----------------------------------------------------------------------------------------------


def configure_logs(level: "LogLevel", *, as_json: bool = False) -> None:
    """Send rushes' log lines to stderr, from `level` on: for people, or one JSON object a line."""
    telemetry.before_the_first_line(partial(_configure_logs, level, as_json=as_json))


def _configure_logs(level: "LogLevel", *, as_json: bool) -> None:
    import logging

    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False) if as_json else _human_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=False,
    )


def _human_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """`12:01:02 warning  submit.unknown  task_id=7 reason="HTTP 500"`."""
    time, level, name = event.pop("timestamp"), event.pop("level"), event.pop("event")
    facts = " ".join(
        f'{key}="{value}"' if " " in str(value) else f"{key}={value}" for key, value in event.items()
    )
    return f"{time[11:19]} {level:7}  {name}  {facts}"


class _StderrLogger:
    """Writes to what `sys.stderr` is at the moment: a progress display puts itself in between."""

    def __init__(self, *_names: object) -> None:
        pass

    def msg(self, message: str) -> None:
        """One line."""
        with contextlib.suppress(OSError, ValueError):
            # inner spaces are kept, for they align the columns
            line = message if message.isprintable() else one_line(message)
            print(line, file=sys.stderr, flush=True)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def command_line_actor() -> "Actor":
    """Whoever runs this command, as the log of actions names them."""
    import socket

    from rushes.store.action_log import Actor

    return Actor(f"cli:{user_name()}", socket.gethostname())


def user_name() -> str:
    """Whoever runs this command; `user 1234` for a user id without a name, as in containers."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
