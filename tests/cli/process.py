"""`rushes` as a real process, in a folder of its own and with an environment of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import structlog

from rushes.cli import main
from rushes.library import Rushes
from rushes.settings import Settings, field_name_of_variable
from tests.harness import SERVICE_THREAD

T = TypeVar("T")

PROCESS_SECONDS_MAX = 180.0
"""Only what hangs takes as long: on a busy machine a command takes 30 times its time."""

QUICK = {
    "GRSAI_API_KEY": "test-key",
    "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.1",
    "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.3",
    "RUSHES_LEASE_SECONDS": "3",
    "RUSHES_REQUEST_TIMEOUT_SECONDS": "5",
}


@dataclass(frozen=True)
class Ended:
    """What a process left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert self.stdout.endswith("\n"), self
        return json.loads(self.stdout)

    def one_line_error(self) -> str:
        """The error, which must be all that was said, in one line without a traceback.

        With --json the same stands on stdout, as the document that a program waits for.
        """
        if self.stdout:
            document = self.document
            assert (document["ok"], self.stderr) == (False, f"rushes: {document['message']}\n"), self
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("rushes: "), self.stderr
        return lines[0]


class _SaidHere(TextIOWrapper):
    """A command's stderr, without what other tests' services, in threads of their own, log meanwhile."""

    def write(self, text: str, /) -> int:
        if threading.current_thread().name == SERVICE_THREAD:
            return len(text)
        return super().write(text)


@dataclass(frozen=True)
class Shell:
    """Runs commands in `folder`; `environment` holds the only variables of settings there are."""

    folder: Path
    environment: Mapping[str, str]

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        preexec: Callable[[], None] | None = None,
        **environment: str,
    ) -> Ended:
        """Run to the end."""
        done = subprocess.run(
            [sys.executable, "-m", "rushes", *arguments],
            cwd=self.folder,
            env=self.environment_with(environment),
            input=stdin,
            capture_output=True,
            timeout=PROCESS_SECONDS_MAX,
            preexec_fn=preexec,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def call(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Ended:
        """The same in this process, some twenty times quicker: for what does not need one of its own."""
        written, said = BytesIO(), BytesIO()
        stdout, stderr = TextIOWrapper(written, "utf-8"), _SaidHere(said, "utf-8")
        with (
            chdir(self.folder),
            patch.dict(os.environ, self.environment_with(environment), clear=True),
            patch.object(sys, "stdin", TextIOWrapper(BytesIO(stdin), "utf-8")),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            code = main(arguments)
        structlog.reset_defaults()
        stdout.flush()
        stderr.flush()
        return Ended(code, written.getvalue().decode(), said.getvalue().decode())

    def start(self, *arguments: str, **environment: str) -> "Running":
        """Start without waiting."""
        number = len(list(self.folder.glob("stderr*.log")))
        log = self.folder / f"stderr-{number}.log"  # its own: another process may be running
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "rushes", *arguments],
                cwd=self.folder,
                env=self.environment_with(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        return Running(process, log)

    def ask(self, question: Callable[[Rushes], Coroutine[Any, Any, T]]) -> T:
        """Asks the folder's database in this process: quicker than a command, for what is not the test."""

        async def answer() -> T:
            settings = Settings.load(
                {**self.environment, "RUSHES_DATA_DIR": str(self.folder / "rushes-data")}, env_file=None
            )
            async with Rushes(settings) as rushes:
                return await question(rushes)

        return asyncio.run(answer())

    def grant(self, amount: int) -> None:
        """Gives the default account credits."""
        self.ask(lambda rushes: rushes.grant(amount))

    def available(self) -> int:
        """The default account's credits that are not reserved."""
        available: int = self.ask(lambda rushes: rushes.balance())["available"]
        return available

    def assert_books_are_right(self) -> None:
        """The audit finds nothing."""
        report = self.ask(lambda rushes: rushes.audit())
        assert report.ok, report.violations

    def write(self, name: str, content: str | bytes) -> str:
        """A file in the folder; returns its name."""
        data = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)
        return name

    def files(self) -> set[str]:
        """Everything in the folder."""
        return {path.name for path in self.folder.iterdir()}

    def environment_with(self, more: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a process: this one's, without what concerns rushes, and `more`."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RUSHES_", "LC_", "NO_COLOR", "FORCE_COLOR"))
            and name not in field_name_of_variable()
        }
        return {**inherited, "LANG": "C.UTF-8", "TERM": "dumb", **self.environment, **more}


class Running:
    """A process under way; its stderr is read while it runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def stderr(self) -> str:
        """What it said so far."""
        return self._log.read_text()

    def wait_until(self, true: Callable[[str], bool], what: str) -> None:
        """Wait until its stderr is as wanted."""
        deadline = time.monotonic() + PROCESS_SECONDS_MAX / 2
        while not true(self.stderr()):
            assert self.process.poll() is None, f"ended before {what}: {self.stderr()}"
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.stderr()}"
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> Ended:
        """Wait for its end."""
        stdout, _ = self.process.communicate(timeout=PROCESS_SECONDS_MAX)
        return Ended(self.process.returncode, stdout.decode(), self.stderr())
