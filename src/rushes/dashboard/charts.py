"""Two charts as SVG, drawn from outcomes over time."""

from collections.abc import Sequence
from typing import Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pieces import number, percent
from rushes.engine.operator_reads import OutcomeCount

SERIES_MAX: Final = 6
"""Models that get a line of their own: those with the most outcomes."""

_WIDTH, _HEIGHT = 560, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 8, 10, 24


def throughput_chart(outcomes: Sequence[OutcomeCount], *, buckets: int, span: str) -> Markup:
    """Bars: what succeeded and failed in each span of time."""
    succeeded, failed = [0] * buckets, [0] * buckets
    for outcome in outcomes:
        if 0 <= outcome.bucket < buckets:
            succeeded[outcome.bucket] += outcome.succeeded
            failed[outcome.bucket] += outcome.failed
    top = _round_up(max(1, *(s + f for s, f in zip(succeeded, failed, strict=True))))
    step = (_WIDTH - _LEFT - _RIGHT) / buckets
    bars = []
    for place, (good, bad) in enumerate(zip(succeeded, failed, strict=True)):
        if not good + bad:
            continue
        x, width = _LEFT + place * step + 0.6, max(1.0, step - 1.2)
        for count, below, name in ((good, 0, "succeeded"), (bad, good, "failed")):
            if count:
                y = _y((below + count) / top)
                bars.append(
                    tag(
                        "rect",
                        tag("title", f"{count} {name}"),
                        x=f"{x:.1f}",
                        y=f"{y:.1f}",
                        width=f"{width:.1f}",
                        height=f"{_y(below / top) - y:.1f}",
                        rx=1,
                        class_=f"fill-{name}",
                    )
                )
    total_good, total_bad = sum(succeeded), sum(failed)
    legend = [
        _legend("fill-succeeded", f"{number(total_good)} succeeded"),
        _legend("fill-failed", f"{number(total_bad)} failed"),
    ]
    marks = [(0.0, "0"), (0.5, _mark(top / 2)), (1.0, _mark(top))]
    label = f"Finished videos over the last {span}: {total_good} succeeded, {total_bad} failed"
    return _chart(label, marks, span, joined(*bars), legend)


def success_chart(outcomes: Sequence[OutcomeCount], *, buckets: int, span: str) -> Markup:
    """Lines: the share of each model's videos that succeeded, over time."""
    totals: dict[str, list[int]] = {}
    for outcome in outcomes:
        total = totals.setdefault(outcome.model, [0, 0])
        total[0] += outcome.succeeded
        total[1] += outcome.succeeded + outcome.failed
    models = sorted((m for m, total in totals.items() if total[1]), key=lambda m: (-totals[m][1], m))
    lines, legend = [], []
    step = (_WIDTH - _LEFT - _RIGHT) / buckets
    for place, model in enumerate(models[:SERIES_MAX]):
        points = [
            (_LEFT + (outcome.bucket + 0.5) * step, _y(outcome.succeeded / ended), outcome)
            for outcome in outcomes
            if outcome.model == model and (ended := outcome.succeeded + outcome.failed)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        lines.append(tag("polyline", points=path, class_=f"line series-{place}"))
        lines += [
            tag(
                "circle",
                tag(
                    "title",
                    f"{model}: {outcome.succeeded} of {outcome.succeeded + outcome.failed} succeeded",
                ),
                cx=f"{x:.1f}",
                cy=f"{y:.1f}",
                r="2.6",
                class_=f"series-{place}",
            )
            for x, y, outcome in points
        ]
        good, ended = totals[model]
        legend.append(_legend(f"series-{place}", f"{model} {percent(good, ended)} of {number(ended)}"))
    if len(models) > SERIES_MAX:
        legend.append(tag("span", f"and {len(models) - SERIES_MAX} more models"))
    label = f"Success rate by model over the last {span}"
    return _chart(label, [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")], span, joined(*lines), legend)


def _chart(
    label: str, marks: Sequence[tuple[float, str]], span: str, drawn: Markup, legend: list[Markup]
) -> Markup:
    grid = [
        joined(
            tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{_y(at):.1f}", y2=f"{_y(at):.1f}", class_="axis"),
            tag("text", text, x=_LEFT - 7, y=f"{_y(at) + 4:.1f}", text_anchor="end"),
        )
        for at, text in marks
    ]
    times = joined(
        tag("text", f"{span} ago", x=_LEFT, y=_HEIGHT - 5),
        tag("text", "now", x=_WIDTH - _RIGHT, y=_HEIGHT - 5, text_anchor="end"),
    )
    svg = tag(
        "svg", joined(*grid, times, drawn), viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label
    )
    return tag("div", svg, tag("div", legend, class_="legend"), class_="chart")


def _legend(class_: str, text: str) -> Markup:
    return tag("span", tag("i", class_=class_), text)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _mark(value: float) -> str:
    """Short enough for the space beside the chart: 2.5, 500, 20k, 1M."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _round_up(value: int) -> int:
    """1, 2, 5, 10, 20, 50, … not below the value."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power >= value:
                return step * power
        power *= 10
