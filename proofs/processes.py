"""Real `rushes` processes in a folder of their own: started, killed, stopped, paused; their logs kept."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from rushes.providers.registry import BUILT_IN

STOP_SECONDS_MAX = 20.0
"""How long a process may take to stop after SIGTERM; rushes promises ten seconds, on an idle machine."""

RUN_SECONDS_MAX = 120.0
"""How long a command that ends by itself may take."""

ENDED_WELL = frozenset({0, 5})
"""Exit codes of a process that did its work: done, and done with some tasks failed."""


class Process:
    """One `rushes` process. Its stderr goes to `log`."""

    def __init__(self, arguments: tuple[str, ...], popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.arguments = arguments
        self.popen = popen
        self.log = log
        self.killed = False
        self.codes_expected = ENDED_WELL

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.popen.poll() is None

    def kill(self) -> bool:
        """`kill -9`; False when it had ended by itself before."""
        if not self.running:
            return False
        self.killed = True
        self.popen.kill()
        self.popen.wait()
        return True

    def stop(self) -> None:
        """SIGTERM, and wait for its end. Raises `subprocess.TimeoutExpired` when it takes too long."""
        if self.running:
            self.popen.terminate()
            self.wait(STOP_SECONDS_MAX)

    def pause(self) -> None:
        """SIGSTOP."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.popen.send_signal(signal.SIGCONT)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        return self.popen.wait(seconds)

    def said(self) -> str:
        """Its stderr so far."""
        return self.log.read_text(errors="replace")

    def faults(self) -> list[str]:
        """What no process may do: print a traceback, or end badly without being killed."""
        name = f"`rushes {' '.join(self.arguments)}` ({self.log.name})"
        said = self.said()
        found = [f"{name} says: {said[-300:]}"] if "Traceback" in said or ": unexpected " in said else []
        code = self.popen.poll()
        if not self.killed and code is not None and code not in self.codes_expected:
            found.append(f"{name} ended with exit code {code}: {said[-300:].strip()}")
        return found


class Site:
    """A folder, an environment, and every process that was started there.

    A context manager: whatever still runs at the end is killed. `environment` holds the only settings that
    the processes see.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()

    def start(self, *arguments: str, more: Mapping[str, str] | None = None) -> Process:
        """Start `rushes ARGUMENTS` without waiting; `more` are further environment variables."""
        log = self.folder / f"{len(self.processes):04}-{arguments[0]}.log"
        with log.open("wb") as stderr:
            popen = spawn(
                arguments, folder=self.folder, stderr=stderr, environment={**self.environment, **(more or {})}
            )
        process = Process(arguments, popen, log)
        self.processes.append(process)
        return process

    def document(self, *arguments: str) -> Any:
        """The JSON document that `rushes ARGUMENTS --json` prints, whatever its exit code."""
        with (self.folder / f"{arguments[0]}-document.log").open("w+b") as stderr:
            process = spawn(
                (*arguments, "--json"),
                folder=self.folder,
                stderr=stderr,
                stdout=subprocess.PIPE,
                environment=self.environment,
            )
            stdout, _ = process.communicate(timeout=RUN_SECONDS_MAX)
            if not stdout:
                stderr.seek(0)
                raise RuntimeError(f"rushes {arguments[0]} said nothing: {stderr.read().decode()[-500:]}")
        return json.loads(stdout)

    def events(self, names: Iterable[str]) -> Counter[str]:
        """How many log lines of all processes carry each of these event names."""
        wanted = tuple(names)
        found: Counter[str] = Counter()
        for process in self.processes:
            said = process.said()
            for name in wanted:
                found[name] += said.count(name)
        return found

    def adopted(self) -> int:
        """Tasks that workers said they took over from others."""
        return sum(
            int(line["count"])
            for process in self.processes
            for text in process.said().splitlines()
            if '"tasks.adopted"' in text and (line := json.loads(text))
        )

    def faults(self) -> list[str]:
        """Tracebacks and bad ends of all processes."""
        return [fault for process in self.processes for fault in process.faults()]


def spawn(
    arguments: Sequence[str],
    *,
    folder: Path,
    stderr: IO[bytes],
    stdout: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `rushes ARGUMENTS`; of this process's environment it gets what does not concern rushes."""
    of_providers = {name for variables in BUILT_IN.values() for name in variables}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RUSHES_") and name not in of_providers
    }
    return subprocess.Popen(
        [sys.executable, "-m", "rushes", *arguments],
        cwd=folder,
        env={**inherited, "LANG": "C.UTF-8", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


def wait_until(true: Callable[[], bool], what: str, *, seconds_max: float, every: float = 0.05) -> None:
    """Wait until `true()`; raises `TimeoutError` that names `what`."""
    deadline = time.monotonic() + seconds_max
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds_max:g} s in vain for {what}")
        time.sleep(every)
