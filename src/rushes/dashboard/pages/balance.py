"""An account's balance over time, as a chart of the ends of days, and what it has beside the lots shown."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.overview.charts import HEIGHT, WIDTH, plotted, short, top_of, y_of
from rushes.dashboard.pieces import empty, number
from rushes.dashboard.words import tr, tr_count

DAY_MS: Final = 86_400_000
DAYS_MIN: Final = 2


def balance_chart(days: Sequence[tuple[int, int]], *, now_ms: int) -> Markup:
    """The chart from the days on which something happened: `(start of the day, balance at its end)`."""
    if not days:
        return empty(tr("Nothing happened in the last days."))
    by_day = dict(days)
    first, last = days[0][0], max(days[-1][0], now_ms - now_ms % DAY_MS)
    count = max(DAYS_MIN, (last - first) // DAY_MS + 1)
    balances: list[int] = []
    for place in range(count):
        balances.append(by_day.get(first + place * DAY_MS, balances[-1] if balances else 0))
    top = top_of(max(1, *balances))
    step = WIDTH / count
    points = [
        f"{(place + edge) * step:.1f},{y_of(balance / top):.1f}"
        for place, balance in enumerate(balances)
        for edge in (0, 1)
    ]
    area = f"0,{HEIGHT} {' '.join(points)} {WIDTH},{HEIGHT}"
    plot = plotted(
        joined(
            tag("polygon", points=area, class_="area"),
            tag("polyline", points=" ".join(points), class_="line series-0"),
        ),
        [(0.0, "0"), (0.5, short(top / 2)), (1.0, short(top))],
        [_day(first), tr("today")],
        label=tr(
            "Balance by day: {first} at first, {last} now",
            first=number(balances[0]),
            last=number(balances[-1]),
        ),
        rows=[
            [_day(first + place * DAY_MS), tr_count(balance, "1 credit", "{n} credits")]
            for place, balance in enumerate(balances)
        ],
    )
    return tag("div", plot, class_="chart")


def further_lots(balance: Mapping[str, Any]) -> Markup | None:
    """What a balance holds beside the lots that it names."""
    if not balance["further_lots"]:
        return None
    credits_ = number(balance["further_credits"])
    more = tr_count(
        balance["further_lots"],
        "1 more lot, spent later: {credits}",
        "{n} more lots, spent later: {credits}",
        credits=credits_,
    )
    return tag("p", more, class_="muted note")


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
