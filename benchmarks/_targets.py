"""The aims in one table, each with what was measured: `python -m benchmarks` ends with it.

Each aim is the one that its benchmark holds. The table is of the report that the benchmarks wrote, of this
run and of earlier ones. `BEFORE=/path/to/bench.json` names another commit's report, whose numbers stand
beside; some aims are a multiple of them.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import (
    api,
    callbacks,
    commands,
    downloads,
    memory,
    poll,
    poll_times,
    rows,
    settle,
    simulation,
    transfers,
)
from benchmarks.report import REPORT_PATH
from benchmarks.settle import DIALECTS

Report = Mapping[str, Any]

CPU_TO_BARE_MAX: Final = 1.75
SETTLED_TO_BEFORE_MIN: Final = 1.4
POST_TO_BEFORE_MAX: Final = 0.6
"""What only this table holds: the last two are to another commit's numbers."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured, from a report, and the aim: at most that number, or `at_least`; of one that is
    `times_before`, that many times the number before."""

    what: str
    value: Callable[[Report], float]
    aim: float
    at_least: bool = False
    times_before: bool = False

    def row(self, report: Report, before: Report) -> str | None:
        """Its line of the table; None when it was not measured."""
        now, then = _found(self.value, report), _found(self.value, before)
        if now is None:
            return None
        sign, unit = "≥" if self.at_least else "≤", " × before" if self.times_before else ""
        word = f"{sign} {self.aim:g}{unit}"
        return f"  {self.what:58} {_short(then):>9} {_short(now):>9}  {word:16} {self._verdict(now, then)}"

    def _verdict(self, now: float, then: float | None) -> str:
        if self.times_before and then is None:
            return "–"
        bound = self.aim * then if self.times_before and then is not None else self.aim
        return "met" if (now >= bound if self.at_least else now <= bound) else "MISSED"


def _found(value: Callable[[Report], float], report: Report) -> float | None:
    try:
        return float(value(report))
    except (KeyError, TypeError, ValueError):
        return None


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _at(*names: str) -> Callable[[Report], float]:
    """The number at that place of a report."""

    def value(report: Report) -> float:
        found: Any = report
        for name in names:
            found = found[name]
        return float(found)

    return value


def _to(above: Callable[[Report], float], below: Callable[[Report], float]) -> Callable[[Report], float]:
    return lambda report: above(report) / below(report)


def _greatest(dialect: str, key: str, *, start: str = "") -> Callable[[Report], float]:
    """Of all that is done among many rows and whose name starts so."""
    return lambda report: max(
        each[key] for what, each in report["rows"][dialect].items() if what.startswith(start)
    )


def _lag_with_progress(report: Report) -> float:
    return max(
        float(row["optimum_ratio"]) for row in report["poll_times"]["targets"] if "optimum_ratio" in row
    )


def targets() -> Iterator[Target]:
    """All of them: polls, what stays flat, commands, lag, requests, downloads, the simulation."""
    yield from _polls()
    yield from _flat()
    for what, most in (
        ("rushes batch list", commands.LIST_RATIO_MAX),
        ("rushes tick", commands.TICK_RATIO_MAX),
    ):
        yield Target(f"{what}, to import sqlalchemy", _at("commands", what, "to_sqlalchemy"), most)
    version = _at("commands", "rushes --version", "cpu_seconds")
    yield Target("rushes --version, s of the processor", version, commands.VERSION_SECONDS_MAX)
    for name in ("one process", "API and worker apart"):
        for what, most in (("settled", callbacks.SETTLED_MS_MAX), ("stored", callbacks.STORED_MS_MAX)):
            after = _at("callbacks", name, f"{what}_p95_ms")
            yield Target(f"{what} after a callback, p95 ms: {name}", after, most)
    lag = poll_times.PROGRESS_RATIO_MAX
    yield Target("lag with true progress, to the best by age alone", _lag_with_progress, lag)
    yield from _requests()
    yield from _downloads()
    yield Target("100,000 simulated tasks, s", _at("simulation", "seconds"), simulation.SECONDS_MAX)


def _polls() -> Iterator[Target]:
    sections = (("unsettled", poll.UNSETTLED_RATIO_MIN), ("learned", poll.LEARNED_RATIO_MIN))
    for section, least in sections:
        for path in poll.PATHS:
            ratio = _at("poll", section, "paths", path, "ratio_to_bare_client")
            yield Target(f"polls, {section}, to the bare client: {path}", ratio, least, at_least=True)
    for path, least in poll.RATIO_TO_BARE_MIN.items():
        settled = _at("poll", "paths", path, "ratio_to_bare_client")
        yield Target(f"… 5 polls a task, settled: {path}", settled, least, at_least=True)
        engine = _at("poll", "paths", path, "engine_cpu_us_per_poll")
        bare = _at("poll", "paths", path, "bare_cpu_us_per_poll")
        yield Target(f"… processor time, to the bare client: {path}", _to(engine, bare), CPU_TO_BARE_MAX)
    for dialect in DIALECTS:
        many = _at("poll", "many_polls", dialect, "ratio_to_bare_client")
        yield Target(f"… 20 polls a task: http, {dialect}", many, poll.MANY_POLLS_RATIO_MIN, at_least=True)
    for dialect in DIALECTS:
        settles, raw = _at("settle", dialect, "settled_per_s"), _at("settle", dialect, "ratio_to_raw")
        least = SETTLED_TO_BEFORE_MIN
        yield Target(f"settled a second: {dialect}", settles, least, at_least=True, times_before=True)
        yield Target(f"… to raw statements: {dialect}", raw, settle.RATIO_TO_RAW_MIN, at_least=True)


def _flat() -> Iterator[Target]:
    for dialect in DIALECTS:
        cost, adopted = _at("memory", dialect, "cost_ratio"), _at("memory", dialect, "many", "adopt_seconds")
        kept = _at("memory", dialect, "many", "polled_bytes_per_task")
        yield Target(f"CPU of a poll, 100,000 in flight to 1,000: {dialect}", cost, memory.COST_RATIO_MAX)
        yield Target(f"bytes a task in flight: {dialect}", kept, memory.BYTES_PER_TASK_MAX)
        yield Target(f"100,000 adopted while polling, s: {dialect}", adopted, memory.ADOPT_SECONDS_MAX)
    for dialect in DIALECTS:
        slowest, read = _greatest(dialect, "ratio"), _greatest(dialect, "many_p95_ms", start="GET")
        yield Target(f"slowest among many rows, to few: {dialect}", slowest, rows.SLOWER_MAX)
        yield Target(f"slowest read among many rows, p95 ms: {dialect}", read, rows.READ_MS_MAX)


def _requests() -> Iterator[Target]:
    for dialect in DIALECTS:
        post, cancel = _at("api", dialect, "post_cpu_seconds"), _at("api", dialect, "cancel_seconds")
        retry = _at("transfers", dialect, "retry_seconds")
        what = f"POST of 10,000 items, s of the processor: {dialect}"
        yield Target(what, post, POST_TO_BEFORE_MAX, times_before=True)
        yield Target(f"cancel of 10,000 items, s: {dialect}", cancel, api.CANCEL_SECONDS_MAX)
        yield Target(f"retry of 10,000, s: {dialect}", retry, transfers.RETRY_SECONDS_MAX)
        for form in ("jsonl", "csv"):
            speed, least = _at("transfers", dialect, f"{form}_per_s"), transfers.EXPORTED_PER_S_MIN
            yield Target(f"items exported a second, {form}: {dialect}", speed, least, at_least=True)


def _downloads() -> Iterator[Target]:
    for files, size in downloads.SIZES:
        share, least = _at("downloads", f"{files}_of_{size}", "to_curl"), downloads.SHARE_OF_CURL_MIN
        yield Target(f"{files:,} files of {size:,} bytes fetched, to curl", share, least, at_least=True)
    for dialect in DIALECTS:
        share, least = _at("transfers", dialect, "downloads_to_plain"), transfers.SHARE_OF_PLAIN_MIN
        yield Target(f"a stored video sent, to sendfile: {dialect}", share, least, at_least=True)


def show(*, path: Path = REPORT_PATH) -> None:
    """Print the table of what the report has; nothing where it has nothing."""
    report = _read(path)
    before = _read(Path(os.environ["BEFORE"])) if os.environ.get("BEFORE") else {}
    lines = [row for target in targets() if (row := target.row(report, before)) is not None]
    if lines:
        print(f"== aims ==\n  {'':58} {'before':>9} {'now':>9}  aim")
        print("\n".join(lines), flush=True)


def _read(path: Path) -> Report:
    try:
        report = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
