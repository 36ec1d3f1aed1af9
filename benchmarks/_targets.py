"""The aims in one table, each with what was measured: `python -m benchmarks` ends with it.

It reads the report that the benchmarks wrote, of this run and of earlier ones. `BEFORE=/path/to/bench.json`
names another commit's report, whose numbers stand beside; some aims are a multiple of them.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.report import REPORT_PATH

Report = Mapping[str, Any]
DIALECTS: Final = ("sqlite", "postgresql")
PATHS: Final = ("http, sqlite", "http, postgresql", "https, sqlite", "https, postgresql")


@dataclass(frozen=True, slots=True)
class Target:
    """What is measured, from a report, and the aim: a number, or that many times the number before."""

    what: str
    value: Callable[[Report], float]
    at_least: float | None = None
    at_most: float | None = None
    times_before: bool = False

    def row(self, report: Report, before: Report) -> str | None:
        """Its line of the table; None when it was not measured."""
        now, then = _found(self.value, report), _found(self.value, before)
        if now is None:
            return None
        least, aim = self.at_least is not None, self.at_least if self.at_least is not None else self.at_most
        assert aim is not None
        bound = aim
        if self.times_before:
            bound = float("nan") if then is None else aim * then
        met = now >= bound if least else now <= bound
        verdict = "–" if bound != bound else "met" if met else "MISSED"
        word = f"{'≥' if least else '≤'} {aim:g}{' × before' if self.times_before else ''}"
        return f"  {self.what:58} {_short(then):>9} {_short(now):>9}  {word:16} {verdict}"


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


def _slowest(dialect: str, key: str) -> Callable[[Report], float]:
    """Of all that is read and done among many rows."""
    return lambda report: max(
        found[key]
        for found in report["rows"][dialect].values()
        if isinstance(found, Mapping) and key in found
    )


def _lag_with_progress(report: Report) -> float:
    return max(
        float(row["optimum_ratio"]) for row in report["poll_times"]["targets"] if "optimum_ratio" in row
    )


def targets() -> Iterator[Target]:
    """All of them, by the numbers of the issue that set them."""
    for path in PATHS:
        at = ("poll", "unsettled", "paths", path, "ratio_to_bare_client")
        yield Target(f"polls, nothing settled, to the bare client: {path}", _at(*at), at_least=0.85)
    for path in PATHS:
        at = ("poll", "learned", "paths", path, "ratio_to_bare_client")
        yield Target(f"… with the learned schedule: {path}", _at(*at), at_least=0.75)
    for path in PATHS:
        settled = _at("poll", "paths", path, "ratio_to_bare_client")
        yield Target(f"… 5 polls a task, settled: {path}", settled, at_least=0.6 if path == PATHS[0] else 0.5)
        engine = _at("poll", "paths", path, "engine_cpu_us_per_poll")
        bare = _at("poll", "paths", path, "bare_cpu_us_per_poll")
        yield Target(f"… processor time, to the bare client: {path}", _to(engine, bare), at_most=1.75)
    for dialect in DIALECTS:
        many = _at("poll", "many_polls", dialect, "ratio_to_bare_client")
        yield Target(f"… 20 polls a task: http, {dialect}", many, at_least=0.72)
    for dialect in DIALECTS:
        settles, raw = _at("settle", dialect, "settled_per_s"), _at("settle", dialect, "ratio_to_raw")
        yield Target(f"settled a second: {dialect}", settles, at_least=1.4, times_before=True)
        yield Target(f"… to raw statements: {dialect}", raw, at_least=0.6)
    yield from _flat()
    for what, most in (("rushes batch list", 2.2), ("rushes tick", 3.0)):
        yield Target(f"{what}, to import sqlalchemy", _at("commands", what, "to_sqlalchemy"), at_most=most)
    version = _at("commands", "rushes --version", "cpu_seconds")
    yield Target("rushes --version, s of the processor", version, at_most=0.15)
    for name in ("one process", "API and worker apart"):
        for what, most in (("settled", 300.0), ("stored", 2000.0)):
            after = _at("callbacks", name, f"{what}_p95_ms")
            yield Target(f"{what} after a callback, p95 ms: {name}", after, at_most=most)
    yield Target("lag with true progress, to the best by age alone", _lag_with_progress, at_most=0.6)
    yield from _requests()
    yield from _downloads()
    yield Target("100,000 simulated tasks, s", _at("simulation", "seconds"), at_most=80)


def _flat() -> Iterator[Target]:
    for dialect in DIALECTS:
        cost, adopted = _at("memory", dialect, "cost_ratio"), _at("memory", dialect, "many", "adopt_seconds")
        kept = _at("memory", dialect, "many", "polled_bytes_per_task")
        yield Target(f"CPU of a poll, 100,000 in flight to 1,000: {dialect}", cost, at_most=1.15)
        yield Target(f"bytes a task in flight: {dialect}", kept, at_most=500)
        yield Target(f"100,000 adopted while polling, s: {dialect}", adopted, at_most=2.5)
    for dialect in DIALECTS:
        slowest = _slowest(dialect, "ratio")
        yield Target(f"slowest among many rows, to few: {dialect}", slowest, at_most=1.3)


def _requests() -> Iterator[Target]:
    for dialect in DIALECTS:
        post, cancel = _at("api", dialect, "post_cpu_seconds"), _at("api", dialect, "cancel_seconds")
        yield Target(
            f"POST of 10,000 items, s of the processor: {dialect}", post, at_most=0.6, times_before=True
        )
        yield Target(f"cancel of 10,000 items, s: {dialect}", cancel, at_most=1.0)
        yield Target(
            f"retry of 10,000, s: {dialect}", _at("transfers", dialect, "retry_seconds"), at_most=1.0
        )
        for form in ("jsonl", "csv"):
            speed = _at("transfers", dialect, f"{form}_per_s")
            yield Target(f"items exported a second, {form}: {dialect}", speed, at_least=50_000)


def _downloads() -> Iterator[Target]:
    for files, size in ((200, 5_000_000), (1000, 200_000)):
        share = _at("downloads", f"{files}_of_{size}", "to_curl")
        yield Target(f"{files:,} files of {size:,} bytes fetched, to curl", share, at_least=0.8)
    for dialect in DIALECTS:
        share = _at("transfers", dialect, "downloads_to_plain")
        yield Target(f"a stored video sent, to sendfile: {dialect}", share, at_least=0.8)


def show(*, path: Path = REPORT_PATH) -> None:
    """Print the table of what the report has; nothing where it has nothing."""
    report = _read(path)
    before = _read(Path(os.environ["BEFORE"])) if os.environ.get("BEFORE") else {}
    rows = [row for target in targets() if (row := target.row(report, before)) is not None]
    if rows:
        print(f"== aims ==\n  {'':58} {'before':>9} {'now':>9}  aim")
        print("\n".join(rows), flush=True)


def _read(path: Path) -> Report:
    try:
        report = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
