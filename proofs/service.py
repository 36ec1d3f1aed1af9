"""The provider: a `rushes sim` process, asked over HTTP for its own count of what it saw."""

import json
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from proofs.processes import STOP_SECONDS_MAX, spawn
from rushes.simulator import SimulatorReport

REPORT_SECONDS_MAX = 30.0


class Service:
    """A simulated provider in a process of its own; a context manager.

    `knobs` are `name=value` texts on top of the preset. No callback is ever sent, because nothing listens
    for one here; submits may still carry a callback URL, which marks each attempt. `exports` are the
    variables that lead rushes to it, by the protocol of every provider.
    """

    def __init__(self, folder: Path, *, preset: str, knobs: Sequence[str], seed: int) -> None:
        self._folder = folder
        self._arguments = ("sim", "--port", "0", "--preset", preset, "--seed", str(seed), "--json")
        self._knobs = ("--set", *knobs, "callbacks=off")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.exports: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "simulator.log").open("wb") as stderr:
            self._process = spawn(
                (*self._arguments, *self._knobs), folder=self._folder, stderr=stderr, stdout=subprocess.PIPE
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError((self._folder / "simulator.log").read_text()[-500:])
        served = json.loads(line)
        self.url, self.exports = served["base_url"], served["exports"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.communicate(timeout=STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def turn(self, **knobs: object) -> None:
        """Change some of its knobs from now on."""
        request = urllib.request.Request(
            f"{self.url}/_sim/knobs",
            json.dumps(knobs).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=REPORT_SECONDS_MAX):
            pass

    def report(self) -> SimulatorReport:
        """What it saw so far, with one line for each task and prompt."""
        with urllib.request.urlopen(f"{self.url}/_sim/report", timeout=REPORT_SECONDS_MAX) as answer:
            return msgspec.json.decode(answer.read(), type=SimulatorReport)
