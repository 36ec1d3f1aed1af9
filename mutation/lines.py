"""Which lines of some files are executed: by each test, as a plugin of pytest, or by a module that is run.

A test, or a simulation, that does not execute a changed line cannot notice the change, and need not be run.

    MUTATION_LINES=out.json MUTATION_FILES=a.py:b.py python -m pytest -p mutation_lines …
    MUTATION_LINES=out.json MUTATION_FILES=a.py:b.py python -m mutation_lines mutation.simulated --seeds 20

With `MUTATION_BOUNDS=seconds.json` in place of both, it ends the run, as failed, at the first test that takes longer
than the file says by node id: what hangs is found for what it is.

It stands alone, so that a copy of this file does under any name. Writes JSON (to `out.PROCESS.json`): by test (its node id; `IMPORT` for what
is executed before the first one) its `seconds`, whether it `passed`, and the lines `ran`, as `[file, line]`. What a
test's fixtures execute counts for every test of its file: they may share it.
"""

import json
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

IMPORT = "import"

OUTPUT = os.dup(1)
"""What stdout is before pytest captures it."""

Line = tuple[str, int]


class Lines:
    """The lines of these files that are executed from `start` on, in all threads."""

    def __init__(self, files: list[str]) -> None:
        self._files = frozenset(files)
        self._seen: set[Line] = set()

    def start(self) -> None:
        """Look at every frame from now on."""
        threading.settrace(self._call)
        sys.settrace(self._call)

    def take(self) -> set[Line]:
        """What was executed since the last call."""
        seen, self._seen = self._seen, set()
        return seen

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


class _ByTest:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._ran: dict[str, set[Line]] = {}
        self._shared: dict[str, set[Line]] = {}
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self._failed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._shared.setdefault(IMPORT, set()).update(self._lines.take())
        began = time.monotonic()
        result = yield
        self._seconds[item.nodeid] = time.monotonic() - began
        self._shared.setdefault(_file_of(item.nodeid), set()).update(self._lines.take())
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self._shared.setdefault(_file_of(item.nodeid), set()).update(self._lines.take())
        try:
            return (yield)
        finally:
            self._ran[item.nodeid] = self._lines.take()

    def pytest_sessionfinish(self) -> None:
        sys.settrace(None)
        write(
            {
                IMPORT: (0.0, True, self._shared.get(IMPORT, set())),
                **{
                    test: (self._seconds[test], test not in self._failed, ran | self._shared[_file_of(test)])
                    for test, ran in self._ran.items()
                },
            }
        )


class _Bounds:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        def end(_number: int, _frame: FrameType | None) -> None:
            os.write(OUTPUT, f"\nFAILED {item.nodeid} took too long\n".encode())
            os._exit(1)

        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, self._seconds[item.nodeid])
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def write(found: dict[str, tuple[float, bool, set[Line]]]) -> None:
    """Put it into the file that was asked for; each of several processes that test has its own, beside it."""
    rows = {
        name: {"seconds": seconds, "passed": passed, "ran": sorted(ran)}
        for name, (seconds, passed, ran) in found.items()
    }
    out = Path(os.environ["MUTATION_LINES"])
    out.with_suffix(f".{os.getpid()}{out.suffix}").write_text(json.dumps(rows))


def _asked_for() -> Lines:
    return Lines(os.environ["MUTATION_FILES"].split(os.pathsep))


def pytest_configure(config: pytest.Config) -> None:
    """Pytest calls this when the file is its plugin."""
    if "MUTATION_BOUNDS" in os.environ:
        config.pluginmanager.register(_Bounds(json.loads(Path(os.environ["MUTATION_BOUNDS"]).read_text())))
        return
    lines = _asked_for()
    config.pluginmanager.register(_ByTest(lines))
    lines.start()


if __name__ == "__main__":
    traced = _asked_for()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    started = time.monotonic()
    traced.start()
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as error:
        code = error.code
    sys.settrace(None)
    write({module: (time.monotonic() - started, not code, traced.take())})
    sys.exit(code)
