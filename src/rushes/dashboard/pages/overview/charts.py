"""One chart as SVG, drawn from outcomes over time; the script tells the numbers of what one points at."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pieces import duration, number, percent, url
from rushes.dashboard.words import tr
from rushes.read.board.outcomes import By, OutcomeCount

MEASURES: Final = ("finished", "rate", "render", "credits")
_HALF_HOUR_MS: Final = 1_800_000
SERIES_MAX: Final = 6
"""Names that get a line of their own: those with the most outcomes."""

WIDTH, HEIGHT = 1000, 200
"""The plot's own measure: it is stretched to its place, and its words stand beside it."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn: a measure of `MEASURES`, by what, over which span of time; a part of it has a start."""

    span: str
    by: By
    measure: str
    buckets: int
    bucket_ms: int
    start_ms: int | None = None

    def end_ms(self, now_ms: int) -> int:
        """Where it ends: now, or where the marked part does."""
        return now_ms if self.start_ms is None else self.start_ms + self.buckets * self.bucket_ms


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    of_bucket: dict[int, OutcomeCount]
    succeeded: int
    failed: int

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed


def drawn(chart: Chart, outcomes: Sequence[OutcomeCount], *, now_ms: int, root: str) -> Markup:
    """The chart with its legend. Below the `root` is the page of a part that is marked in it."""
    end_ms = chart.end_ms(now_ms)
    series = _series(chart, outcomes)
    if not series:
        return tag("p", tr("Nothing has finished in this time."), class_="muted empty")
    top, mark = _scale(chart, series)
    shown = (
        _bars(chart, series, top) if chart.measure in ("finished", "credits") else _lines(chart, series, top)
    )
    plot = plotted(
        shown,
        mark,
        _times(chart, end_ms),
        label=_label(series),
        rows=_told(chart, series, end_ms),
        data_brush=url(f"{root}/", span=chart.span, by=chart.by, show=chart.measure),
        data_start=(end_ms - chart.buckets * chart.bucket_ms) // 1000,
        data_step=f"{chart.bucket_ms / 1000:g}",
    )
    legend = [_legend(place, one) for place, one in enumerate(series)]
    return tag("div", plot, tag("div", legend, class_="legend"), class_="chart")


def plotted(
    shown: Markup,
    marks: Sequence[tuple[float, str]],
    times: Sequence[str],
    *,
    label: str,
    rows: Sequence[Sequence[str]],
    **data: str | int,
) -> Markup:
    """What is drawn, with the words of its height at its left and the times below it. `rows` are what the
    script tells of each place that one points at."""
    lines = [
        tag("line", x1=0, x2=WIDTH, y1=f"{y_of(at):.1f}", y2=f"{y_of(at):.1f}", class_="axis")
        for at, _ in marks
    ]
    svg = tag(
        "svg",
        lines,
        shown,
        tag("g", class_="chart-hover"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        data_chart=json.dumps(rows, ensure_ascii=False),
        **data,
    )
    words = [tag("span", text, style=f"top:{100 * (1 - at):g}%") for at, text in marks]
    return joined(
        tag("div", tag("div", words, class_="marks", aria_hidden="true"), svg, class_="plot"),
        tag("div", [tag("span", text) for text in times], class_="times", aria_hidden="true"),
    )


def _series(chart: Chart, outcomes: Sequence[OutcomeCount]) -> list[_Series]:
    found: dict[str, dict[int, OutcomeCount]] = {}
    for one in outcomes:
        bucket = min(one.bucket - chart.buckets, chart.buckets - 1)
        found.setdefault(one.name, {})[bucket] = one
    series = [
        _Series(
            name, counts, sum(c.succeeded for c in counts.values()), sum(c.failed for c in counts.values())
        )
        for name, counts in found.items()
    ]
    return sorted(series, key=lambda one: (-one.ended, one.name))[:SERIES_MAX]


def _value(chart: Chart, one: OutcomeCount) -> float | None:
    match chart.measure:
        case "finished":
            return float(one.succeeded + one.failed)
        case "credits":
            return float(one.credits)
        case "rate":
            ended = one.succeeded + one.failed
            return one.succeeded / ended if ended else None
        case _:
            return one.render_ms / one.succeeded / 1000 if one.succeeded else None


def _said(chart: Chart, value: float) -> str:
    match chart.measure:
        case "finished" | "credits":
            return number(value)
        case "rate":
            return percent(value, 1)
        case _:
            return duration(value)


def _scale(chart: Chart, series: Sequence[_Series]) -> tuple[float, list[tuple[float, str]]]:
    """The highest value, and the marks on the way to it."""
    if chart.measure == "rate":
        return 1.0, [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")]
    highest = 1.0
    for bucket in range(chart.buckets):
        values = [_value(chart, one.of_bucket[bucket]) or 0.0 for one in series if bucket in one.of_bucket]
        is_stacked = chart.measure in ("finished", "credits")
        highest = max(highest, sum(values) if is_stacked else max(values, default=0.0))
    top = top_of(highest)
    say = short if chart.measure != "render" else duration
    return top, [(0.0, "0"), (0.5, say(top / 2)), (1.0, say(top))]


def _bars(chart: Chart, series: Sequence[_Series], top: float) -> Markup:
    step = WIDTH / chart.buckets
    bars = []
    for bucket in range(chart.buckets):
        x, below = bucket * step + 1, 0.0
        for place, one in enumerate(series):
            value = _value(chart, one.of_bucket[bucket]) if bucket in one.of_bucket else None
            if not value:
                continue
            y = y_of((below + value) / top)
            height = y_of(below / top) - y
            bars.append(
                tag(
                    "rect",
                    x=f"{x:.1f}",
                    y=f"{y:.1f}",
                    width=f"{step - 2:.1f}",
                    height=f"{height:.1f}",
                    class_=f"series-{place}",
                )
            )
            below += value
    return joined(*bars)


def _lines(chart: Chart, series: Sequence[_Series], top: float) -> Markup:
    step = WIDTH / chart.buckets
    shown: list[Markup] = []
    for place, one in enumerate(series):
        points = [
            ((bucket + 0.5) * step, y_of(value / top))
            for bucket in sorted(one.of_bucket)
            if (value := _value(chart, one.of_bucket[bucket])) is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        shown.append(tag("polyline", points=path, class_=f"line series-{place}"))
        shown += [tag("path", d=f"M{x:.1f} {y:.1f}h0", class_=f"point series-{place}") for x, y in points]
    return joined(*shown)


def _times(chart: Chart, end_ms: int) -> list[str]:
    start_ms = end_ms - chart.buckets * chart.bucket_ms
    length_ms = chart.buckets * chart.bucket_ms
    times = [time_word(chart, start_ms + length_ms * quarter // 4) for quarter in range(4)]
    return [*times, tr("now") if chart.start_ms is None else time_word(chart, end_ms)]


def time_word(chart: Chart, at_ms: int) -> str:
    """A point in time as the chart names it."""
    is_short = chart.buckets * chart.bucket_ms < _HALF_HOUR_MS
    form = "%m-%d %H:%M" if chart.span == "week" else "%H:%M:%S" if is_short else "%H:%M"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form) + " UTC"


def _told(chart: Chart, series: Sequence[_Series], end_ms: int) -> list[list[str]]:
    """What the script says of each bucket that one points at."""
    start_ms = end_ms - chart.buckets * chart.bucket_ms
    rows = []
    for bucket in range(chart.buckets):
        values = [
            f"{one.name}: {_said(chart, value)}"
            for one in series
            if bucket in one.of_bucket and (value := _value(chart, one.of_bucket[bucket])) is not None
        ]
        rows.append([time_word(chart, start_ms + bucket * chart.bucket_ms), *values])
    return rows


def _label(series: Sequence[_Series]) -> str:
    good, ended = sum(one.succeeded for one in series), sum(one.ended for one in series)
    return tr("Finished videos: {good} of {all} succeeded", good=number(good), all=number(ended))


def _legend(place: int, one: _Series) -> Markup:
    rate = tr("{n} finished, {rate} passed", n=number(one.ended), rate=percent(one.succeeded, one.ended))
    return tag("span", tag("i", class_=f"series-{place}"), one.name, " ", tag("small", rate, class_="muted"))


def y_of(share: float) -> float:
    """Where a share of the highest value is."""
    return (1 - share) * HEIGHT


def short(value: float) -> str:
    """Short enough for the space beside the chart: 2.5, 500, 20k, 1M."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def top_of(value: float) -> float:
    """1, 2, 5, 10, 20, 50, … not below the value."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power >= value:
                return float(step * power)
        power *= 10
