"""The picture of lag against polls, as plain SVG: one panel for each distribution of render times."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

PANEL_WIDTH = 330
PANEL_HEIGHT = 330
LEFT, TOP, GAP, BOTTOM = 58, 64, 46, 104
LAG_MAX = 32.0
POLLS_MAX = 24.0

_INK, _FAINT, _GRID = "#1f2328", "#59636e", "#e4e8ec"
_LEARNED, _LADDER, _FIXED, _OPTIMUM = "#1f6feb", "#bc4c00", "#8c959f", "#1f2328"
_INFORMED = "#1a7f37"


class _Point(NamedTuple):
    polls: float
    lag_seconds: float
    parameter: float


class _Panel(NamedTuple):
    """Where a panel's values lie on the canvas."""

    left: float

    def x(self, polls: float) -> float:
        return self.left + PANEL_WIDTH * polls / POLLS_MAX

    def y(self, lag_seconds: float) -> float:
        return TOP + PANEL_HEIGHT * (1 - lag_seconds / LAG_MAX)


def draw(curves: Mapping[str, Any], *, default_lag_seconds_per_poll: float) -> str:
    """The SVG text for `{distribution: {ladder, fixed, learned, informed, optimum}}` as in the report."""
    width = LEFT + len(curves) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" fill="{_INK}" font-size="12"'
        ' font-family="Helvetica, Arial, DejaVu Sans, sans-serif" role="img" aria-labelledby="title">',
        '<title id="title">Mean lag against polls per task, for every schedule</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="bold">How late a finished video is noticed,'
        " for how many polls</text>",
    ]
    for number, (name, curve) in enumerate(curves.items()):
        panel = _Panel(LEFT + number * (PANEL_WIDTH + GAP))
        parts += _axes(panel, f"render time: median {name}", with_title=number == 0)
        parts += _lines(panel, curve, default_lag_seconds_per_poll)
    parts += _legend(height - 38)
    return "\n".join([*parts, "</svg>", ""])


def _axes(panel: _Panel, title: str, *, with_title: bool) -> list[str]:
    right, bottom = panel.x(POLLS_MAX), panel.y(0)
    parts = [_text(panel.left, TOP - 14, title, weight="bold")]
    for lag in range(0, int(LAG_MAX) + 1, 5):
        y = panel.y(lag)
        parts.append(f'<line x1="{panel.left}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(panel.left - 6, y + 4, str(lag), anchor="end", fill=_FAINT))
    for polls in range(0, int(POLLS_MAX) + 1, 4):
        x = panel.x(polls)
        parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="{_FAINT}"/>')
        parts.append(_text(x, bottom + 18, str(polls), anchor="middle", fill=_FAINT))
    parts.append(_text((panel.left + right) / 2, bottom + 36, "polls per task", anchor="middle", fill=_FAINT))
    if with_title:
        y = (TOP + bottom) / 2
        parts.append(
            f'<text x="20" y="{y}" text-anchor="middle" fill="{_FAINT}" transform="rotate(-90 20 {y})">'
            "mean lag, seconds</text>"
        )
    return parts


def _lines(panel: _Panel, curve: Mapping[str, Any], default_lag_seconds_per_poll: float) -> list[str]:
    kinds = ("fixed", "optimum", "learned", "informed")
    fixed, optimum, learned, informed = (_points(curve[kind]) for kind in kinds)
    parts = [
        _path(panel, fixed, _FIXED),
        _path(panel, informed, _INFORMED),
        _path(panel, learned, _LEARNED, width=2.5),
        _path(panel, optimum, _OPTIMUM, dashes="2 4", width=1.5),
    ]
    for points, fill in ((fixed, _FIXED), (informed, _INFORMED)):
        parts += [_dot(panel, point, fill, 2.5) for point in points if _is_inside(point)]
    for point in learned:
        if not _is_inside(point):
            continue
        is_default = point.parameter == default_lag_seconds_per_poll
        parts.append(_dot(panel, point, _LEARNED, 5.5 if is_default else 3.5))
        if is_default or point.parameter == 0.3:
            x, y = panel.x(point.polls) - 5, panel.y(point.lag_seconds) + 16
            label = f"c = {point.parameter:g}"
            parts.append(
                _text(x, y, label, anchor="end", fill=_LEARNED, weight="bold" if is_default else "normal")
            )
    ladder = _Point(curve["ladder"]["polls"], curve["ladder"]["lag_seconds"], 0.0)
    x, y = panel.x(ladder.polls), panel.y(ladder.lag_seconds)
    parts.append(f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{_LADDER}"/>')
    parts.append(_text(x + 10, y - 7, "ladder", fill=_LADDER, weight="bold"))
    return parts


def _points(rows: Sequence[Mapping[str, float]]) -> list[_Point]:
    points = [_Point(row["polls"], row["lag_seconds"], row["parameter"]) for row in rows]
    return sorted(points)


def _is_inside(point: _Point) -> bool:
    return point.polls <= POLLS_MAX and point.lag_seconds <= LAG_MAX


def _path(
    panel: _Panel, points: Sequence[_Point], stroke: str, *, dashes: str = "none", width: float = 1.5
) -> str:
    inside = [point for point in points if _is_inside(point)]
    places = " ".join(f"{panel.x(point.polls):.1f},{panel.y(point.lag_seconds):.1f}" for point in inside)
    return (
        f'<polyline points="{places}" fill="none" stroke="{stroke}" stroke-width="{width}"'
        f' stroke-dasharray="{dashes}" stroke-linejoin="round"/>'
    )


def _dot(panel: _Panel, point: _Point, fill: str, radius: float) -> str:
    x, y = panel.x(point.polls), panel.y(point.lag_seconds)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", fill: str = _INK, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _legend(y: float) -> list[str]:
    entries = [
        ("learned; dots: c = 0.3, 0.5, 0.8, 1, 1.5, 2, 3.5, 5 s of lag a poll", _LEARNED, "none"),
        ("the same where the provider reports true progress", _INFORMED, "none"),
        ("exact optimum by age alone, distribution known", _OPTIMUM, "2 4"),
        ("a poll every 5, 7.5, 10, 15, 20, 30, 45, 60 s", _FIXED, "none"),
    ]
    parts = []
    for number, (label, stroke, dashes) in enumerate(entries):
        x, line_y = LEFT + 480 * (number // 2), y + 22 * (number % 2)
        parts.append(
            f'<line x1="{x}" y1="{line_y - 4}" x2="{x + 24}" y2="{line_y - 4}" stroke="{stroke}"'
            f' stroke-width="2.5" stroke-dasharray="{dashes}"/>'
        )
        parts.append(_text(x + 32, line_y, label))
    x = LEFT + 960
    parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{_LADDER}"/>')
    parts.append(_text(x + 18, y, "ladder 5/5/15/15/30 s"))
    return parts
