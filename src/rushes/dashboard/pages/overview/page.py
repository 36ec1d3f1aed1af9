"""The overview, looked up for all who have it open together."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final, get_args

from rushes.dashboard.markup import Markup, tag
from rushes.dashboard.pages.batches import batch_table
from rushes.dashboard.pages.overview.charts import MEASURES, Chart, drawn, time_word
from rushes.dashboard.pages.overview.inbox import inbox
from rushes.dashboard.pages.overview.providers import provider_strip
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import card, duration, empty, filter_links, number, percent, stat, url
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Show, Visit
from rushes.dashboard.words import tr
from rushes.read.board.attention import Alert, alerts
from rushes.read.board.outcomes import By, OutcomeCount, outcomes_by
from rushes.read.board.overview import Overview, read_overview
from rushes.store.tasks.pauses import all_pauses

BUCKETS: Final = 48
_WHOLE: Final[dict[str, str | int | None]] = {"from": None, "to": None}
SPANS: Final = {"hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
RECENT_BATCHES: Final = 8
SECONDS_MAX: Final = 10**11
PART_SECONDS_MAX: Final = 31 * 86_400
"""The longest part of a chart that can be looked at."""

LOOK_SECONDS: Final = 1.5
CHARTS_SECONDS: Final = 10.0
"""How long one look at the database serves every open overview."""


class Lookout:
    """Looks for all open overviews together, so that ten of them cost no more than one."""

    def __init__(self, parts: DashboardParts) -> None:
        self._parts = parts
        self._lock = asyncio.Lock()
        self._look: tuple[float, tuple[Overview, list[Alert]]] | None = None
        self._charts: dict[tuple[str, By], tuple[float, Sequence[OutcomeCount]]] = {}

    async def look(self) -> tuple[Overview, list[Alert]]:
        """The newest look, or the last one if that is only a moment old."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._look is None or now - self._look[0] > LOOK_SECONDS:
                parts, now_ms = self._parts, self._parts.now_ms()
                look = await parts.read(
                    read_overview,
                    catalogue=parts.catalogue,
                    forecaster=parts.forecaster,
                    batches_max=RECENT_BATCHES,
                    now_ms=now_ms,
                )
                found = await parts.read(alerts, look.gauges, look.held, parts.catalogue, now_ms)
                self._look = (now, (look, found))
            return self._look[1]

    async def outcomes(self, span: str, by: By) -> Sequence[OutcomeCount]:
        """What ended in one of `SPANS`, and in as long a time before it."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            known = self._charts.get((span, by))
            if known is None or now - known[0] > CHARTS_SECONDS:
                bucket_ms = SPANS[span] // BUCKETS
                since_ms = self._parts.now_ms() - 2 * BUCKETS * bucket_ms
                read = partial(outcomes_by, by=by, since_ms=since_ms, bucket_ms=bucket_ms)
                known = self._charts[span, by] = (now, await self._parts.read(read))
            return known[1]


def page_of(lookout: Lookout) -> Show:
    """The page, which looks with all others together."""

    async def show(visit: Visit) -> Page:
        chart = chart_of(visit)
        if chart.start_ms is None:
            outcomes = await lookout.outcomes(chart.span, chart.by)
        else:
            outcomes = await _part(visit, chart, chart.start_ms)
        look, found = await lookout.look()
        # what somebody has just paused is shown at once
        look = replace(look, pauses=await visit.parts.read(all_pauses))
        return page_content(visit, look, found, outcomes, chart)

    return show


async def _part(visit: Visit, chart: Chart, start_ms: int) -> Sequence[OutcomeCount]:
    """What ended in the part of a chart that was marked, and in as long a time before it."""
    since_ms = start_ms - BUCKETS * chart.bucket_ms
    return await visit.parts.read(
        outcomes_by,
        by=chart.by,
        since_ms=since_ms,
        bucket_ms=chart.bucket_ms,
        until_ms=since_ms + 2 * BUCKETS * chart.bucket_ms,
    )


def chart_of(visit: Visit) -> Chart:
    """The chart that the address asks for."""
    span, by, measure = (visit.query.get(name, "") for name in ("span", "by", "show"))
    chosen: By = "model"
    for name in get_args(By):
        if name == by:
            chosen = name
    span = span if span in SPANS else "day"
    start, end = (visit.number(name, 0, low=0, high=SECONDS_MAX) for name in ("from", "to"))
    # a part of it that was marked in the chart, in seconds
    is_part = BUCKETS <= end - start <= PART_SECONDS_MAX
    return Chart(
        span=span,
        by=chosen,
        measure=measure if measure in MEASURES else "finished",
        buckets=BUCKETS,
        bucket_ms=(end - start) * 1000 // BUCKETS if is_part else SPANS[span] // BUCKETS,
        start_ms=start * 1000 if is_part else None,
    )


def page_content(
    visit: Visit, look: Overview, found: Sequence[Alert], outcomes: Sequence[OutcomeCount], chart: Chart
) -> Page:
    """The page, from what was read."""
    now = [one for one in outcomes if one.bucket >= BUCKETS]
    before = [one for one in outcomes if one.bucket < BUCKETS]
    new = tag("a", tr("New batch"), href=f"{visit.root}/batches/new", class_="button primary")
    head = tag(
        "div",
        tag("h1", tr("Overview")),
        tag("div", new, class_="actions") if visit.may(Role.OPERATOR) else None,
        class_="head",
    )
    newest = card(
        tr("Newest batches"),
        batch_table(visit, look.recent)
        if look.recent
        else empty(tr("No batch yet."), tr("POST /v1/batches or `rushes run` makes one, too.")),
        end=tag("a", tr("All batches"), href=f"{visit.root}/batches"),
        class_="flush",
    )
    return Page(
        title=tr("Overview"),
        section="overview",
        parts={
            "head": head,
            "alerts": inbox(visit, found, _state(look, now, chart)),
            "figures": _figures(look, now, before, chart),
            "chart": card(
                tr("Finished videos"),
                drawn(chart, now, now_ms=look.now_ms, root=visit.root),
                end=_choices(visit, chart),
            ),
            "providers": provider_strip(visit, look),
            "recent": newest,
        },
    )


def _state(look: Overview, now: Sequence[OutcomeCount], chart: Chart) -> str:
    good, ended = _passed(now)
    return tr(
        "{rendering} rendering, {waiting} waiting; {span}: {ended} finished, {rate} passed",
        rendering=number(look.gauges.tasks["processing"]),
        waiting=number(look.gauges.tasks["pending"]),
        span=chart_span_word(chart),
        ended=number(ended),
        rate=percent(good, ended),
    )


def _passed(outcomes: Sequence[OutcomeCount]) -> tuple[int, int]:
    good = sum(one.succeeded for one in outcomes)
    return good, good + sum(one.failed for one in outcomes)


def _choices(visit: Visit, chart: Chart) -> Markup:
    def to(**changed: str | int | None) -> str:
        part: dict[str, str | int | None] = {}
        if chart.start_ms is not None:
            part = {"from": chart.start_ms // 1000, "to": chart.end_ms(0) // 1000}
        kept = {"span": chart.span, "by": chart.by, "show": chart.measure, **part}
        return url(f"{visit.root}/", **{**kept, **changed})

    is_part = chart.start_ms is not None
    spans = [(chart_span_word(chart), to(), True)] if is_part else []
    spans += [
        (span_word(name), to(span=name, **_WHOLE), not is_part and name == chart.span) for name in SPANS
    ]

    words = {"model": tr("by model"), "provider": tr("by provider"), "account": tr("by account")}
    return tag(
        "div",
        filter_links(
            [(measure_word(name), to(show=name), name == chart.measure) for name in MEASURES],
            label=tr("What the chart shows"),
        ),
        filter_links([(word, to(by=name), name == chart.by) for name, word in words.items()], label=tr("By")),
        filter_links(
            spans,
            label=tr("Time span of the charts"),
        ),
        class_="chart-choices",
    )


def measure_word(measure: str) -> str:
    """What a chart can show."""
    match measure:
        case "finished":
            return tr("Finished")
        case "rate":
            return tr("Pass rate")
        case "render":
            return tr("Render time")
        case _:
            return tr("Credits")


def chart_span_word(chart: Chart) -> str:
    """The span of time that a chart shows, for people."""
    if chart.start_ms is None:
        return span_word(chart.span)
    start, end = time_word(chart, chart.start_ms), time_word(chart, chart.end_ms(0))
    return tr("{start} to {end}", start=start, end=end)


def span_word(span: str) -> str:
    """A span of time, for people."""
    match span:
        case "hour":
            return tr("last hour")
        case "day":
            return tr("last 24 hours")
        case _:
            return tr("last 7 days")


def _figures(
    look: Overview, now: Sequence[OutcomeCount], before: Sequence[OutcomeCount], chart: Chart
) -> Markup:
    gauges = look.gauges
    good, ended = _passed(now)
    good_before, ended_before = _passed(before)
    waiting_seconds = gauges.queue_age_seconds["pending_tasks"]
    note = tr("oldest for {time}", time=duration(waiting_seconds)) if gauges.tasks["pending"] else None
    return tag(
        "div",
        stat(tr("Waiting"), number(gauges.tasks["pending"]), note),
        stat(tr("Rendering"), number(gauges.tasks["processing"]), tr("at the providers now")),
        stat(tr("Finished"), number(ended), _change(ended, ended_before), line=_line(now, chart)),
        stat(
            tr("Pass rate"),
            percent(good, ended),
            tr("{rate} before", rate=percent(good_before, ended_before)) if ended_before else None,
        ),
        stat(tr("Credits available"), number(gauges.credits_available), tr("in all accounts")),
        stat(tr("Credits held"), number(gauges.credits_held), tr("for open tasks")),
        stat(tr("Files to fetch"), number(gauges.archive_due_count), tr("before their links die")),
        class_="grid figures",
    )


def _change(count: int, before: int) -> str | None:
    if not before:
        return None
    change = 100 * (count - before) / before
    return tr("{change} % to the time before", change=f"{'+' if change >= 0 else '−'}{abs(change):.0f}")


def _line(outcomes: Sequence[OutcomeCount], chart: Chart) -> Markup:
    """A small line of what finished in each span of time."""
    counts = [0] * chart.buckets
    for one in outcomes:
        counts[min(one.bucket - chart.buckets, chart.buckets - 1)] += one.succeeded + one.failed
    top = max(1, *counts)
    points = " ".join(f"{place},{20 - 18 * count / top:.1f}" for place, count in enumerate(counts))
    line = tag("polyline", points=points)
    return tag(
        "svg",
        line,
        viewBox=f"0 0 {chart.buckets - 1} 22",
        preserveAspectRatio="none",
        class_="spark",
        aria_hidden="true",
    )
