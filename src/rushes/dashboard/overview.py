"""The first page: is all well, what is being done, and what needs somebody."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from fastapi import Request
from nicegui import ui

from rushes.dashboard.charts import success_chart, throughput_chart
from rushes.dashboard.frame import page_frame
from rushes.dashboard.live import Live
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import (
    batch_bar,
    batch_path,
    card,
    chip,
    duration,
    empty,
    filter_links,
    moment,
    moment_of,
    number,
    page_head,
    percent,
    stat,
    status_chip,
    table,
    url,
)
from rushes.engine import operator_reads
from rushes.engine.meters import quantile_of
from rushes.engine.operator_reads import Look, OutcomeCount

BUCKETS: Final = 48
SPANS: Final = {"hour": ("hour", 3_600_000), "day": ("24 hours", 86_400_000), "week": ("7 days", 604_800_000)}
RECENT_BATCHES: Final = 6

LOOK_SECONDS: Final = 1.5
CHARTS_SECONDS: Final = 10.0
"""How long one look at the database serves every open overview."""

_PROVIDER_WORDS: Final = {
    "closed": ("Working", "ok"),
    "held": ("Asked to wait", "warn"),
    "half_open": ("Being tried again", "warn"),
    "open": ("Down", "bad"),
    "paused": ("Refuses submits", "bad"),
}


class Lookout:
    """Looks for all open overviews together, so that ten of them cost no more than one."""

    def __init__(self, parts: DashboardParts) -> None:
        self._parts = parts
        self._lock = asyncio.Lock()
        self._look: tuple[float, Look] | None = None
        self._charts: dict[str, tuple[float, tuple[Sequence[OutcomeCount], bool]]] = {}

    async def look(self) -> Look:
        """The newest look, or the last one if that is only a moment old."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._look is None or now - self._look[0] > LOOK_SECONDS:
                look = await self._parts.read(
                    operator_reads.look,
                    catalogue=self._parts.catalogue,
                    batches_max=RECENT_BATCHES,
                    now_ms=self._parts.now_ms(),
                )
                self._look = (now, look)
            return self._look[1]

    async def outcomes(self, span: str) -> tuple[Sequence[OutcomeCount], bool]:
        """See `outcomes_over_time`, for one of `SPANS`."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            known = self._charts.get(span)
            if known is None or now - known[0] > CHARTS_SECONDS:
                bucket_ms = SPANS[span][1] // BUCKETS
                read = partial(
                    operator_reads.outcomes_over_time,
                    since_ms=self._parts.now_ms() - BUCKETS * bucket_ms,
                    bucket_ms=bucket_ms,
                )
                known = self._charts[span] = (now, await self._parts.read(read))
            return known[1]


def add_page(parts: DashboardParts) -> None:
    """Register the page."""
    lookout = Lookout(parts)

    @ui.page("/", response_timeout=20)
    async def overview(request: Request, span: str = "day") -> None:
        chosen = span if span in SPANS else "day"
        with page_frame(parts, request, "Overview", section="Overview") as root:

            async def render() -> Markup:
                outcomes, _ = await lookout.outcomes(chosen)
                return page_content(root, await lookout.look(), outcomes, span=chosen)

            await Live(render).refresh()


def page_content(root: str, look: Look, outcomes: Sequence[OutcomeCount], *, span: str) -> Markup:
    """The page, from what was read."""
    links = [(f"Last {name}", url(f"{root}/", span=key), key == span) for key, (name, _) in SPANS.items()]
    name = SPANS[span][0]
    return joined(
        page_head("Overview", filter_links(links, label="Time span of the charts")),
        _alerts(root, look),
        _stats(look, outcomes, name),
        tag(
            "div",
            card(
                "Finished videos",
                throughput_chart(outcomes, buckets=BUCKETS, span=name),
                end=tag("span", f"in each {_bucket_words(span)}", class_="muted"),
            ),
            card("Success rate by model", success_chart(outcomes, buckets=BUCKETS, span=name)),
            class_="grid two",
        ),
        tag("div", _providers(look), _polls(look), class_="grid two"),
        card(
            "Newest batches",
            _recent(root, look),
            end=tag("a", "All batches", href=f"{root}/batches"),
        ),
    )


def _bucket_words(span: str) -> str:
    """How long a bar of the chart is: 75 s, 30 min, 3 h 30 min."""
    return duration(SPANS[span][1] / BUCKETS / 1000).replace(" 00 s", "")


def _alerts(root: str, look: Look) -> Markup:
    found: list[Markup] = []
    if not look.gauges.workers:
        text = " Nothing is submitted or polled until one starts."
        found.append(tag("p", tag("b", "No worker is alive."), text, class_="banner bad", role="alert"))
    overdue, unconfirmed = look.trouble["overdue_count"], look.trouble["unconfirmed_count"]
    tasks = [
        tag(
            "li",
            tag(
                "a",
                f"item {task['index']} of {task['batch_id']}",
                href=url(batch_path(root, task["batch_id"]), page=task["index"] // 24 + 1),
            ),
            f" · {task['model']} · {task['kind']}, since ",
            moment_of(task["since_ms"], now_ms=look.now_ms),
        )
        for task in look.trouble["tasks"]
    ]
    if overdue or unconfirmed:
        said = []
        if overdue:
            said.append(f"{number(overdue)} overdue (rendering for longer than its model's deadline)")
        if unconfirmed:
            said.append(f"{number(unconfirmed)} unconfirmed (nobody knows yet if the submit arrived)")
        found.append(
            tag(
                "div",
                tag("p", tag("b", "Tasks that need a look: "), "; ".join(said)),
                tag("ul", tasks),
                class_="banner warn list",
                role="status",
            )
        )
    if look.held:
        held = [tag("li", f"{number(one['count'])} of {one['model']} · {one['reason']}") for one in look.held]
        found.append(
            tag(
                "div",
                tag("p", tag("b", "Tasks that are held: "), "they go on when the reason is gone"),
                tag("ul", held),
                class_="banner warn list",
                role="status",
            )
        )
    at_risk = look.gauges.archive_at_risk_count
    if at_risk:
        text = " Their links die within half an hour; `rushes archive status` says what is in the way."
        count = tag("b", f"{number(at_risk)} videos are not stored yet.")
        found.append(tag("p", count, text, class_="banner bad", role="alert"))
    failing = look.gauges.deliveries.get("failed", 0) + look.gauges.deliveries.get("disabled", 0)
    if failing:
        link = tag("a", "Look at them", href=url(f"{root}/deliveries", status="failed"))
        found.append(
            tag("p", tag("b", f"{number(failing)} webhooks were given up."), " ", link, class_="banner warn")
        )
    return joined(*found)


def _stats(look: Look, outcomes: Sequence[OutcomeCount], span: str) -> Markup:
    gauges = look.gauges
    good = sum(outcome.succeeded for outcome in outcomes)
    ended = good + sum(outcome.failed for outcome in outcomes)
    waiting_seconds = gauges.queue_age_seconds["pending_tasks"]
    note = f"oldest for {duration(waiting_seconds)}" if gauges.tasks["pending"] else None
    return tag(
        "div",
        stat("Waiting", number(gauges.tasks["pending"]), note),
        stat("Rendering", number(gauges.tasks["processing"]), "at the providers now"),
        stat("Succeeded", number(gauges.tasks["succeeded"]), "since the beginning"),
        stat("Success rate", percent(good, ended), f"last {span}"),
        stat("Credits available", number(gauges.credits_available), "in all accounts"),
        stat("Credits held", number(gauges.credits_held), "for open tasks"),
        class_="grid",
    )


def _providers(look: Look) -> Markup:
    rows = []
    for worker in look.gauges.workers:
        for provider, state in worker.report.get("providers", {}).items():
            word, kind = _PROVIDER_WORDS.get(state["state"], (state["state"], ""))
            polls = worker.report.get("meters", {}).get("polls", {}).get(provider, {})
            submits = worker.report.get("meters", {}).get("submits", {}).get(provider, {})
            rows.append(
                [
                    provider,
                    tag("span", chip(word, kind), tag("div", state.get("reason"), class_="reason")),
                    f"{number(submits.get('accepted', 0))} of {number(sum(submits.values()))}",
                    number(polls.get("transient_errors", 0)),
                ]
            )
    heads = ("Provider", "State", "Submits taken", "Polls without answer")
    shown = (
        table(heads, rows, caption="Providers, as each worker sees them", right=heads[2:])
        if rows
        else empty("No worker reports about a provider yet.")
    )
    return card("Provider health", shown)


def _polls(look: Look) -> Markup:
    rows = []
    for worker in look.gauges.workers:
        lateness = worker.report.get("meters", {}).get("poll_lateness_seconds")
        if lateness and sum(lateness["counts"]):
            rows.append(
                [
                    tag("span", worker.worker_id, class_="mono"),
                    number(sum(lateness["counts"])),
                    *(f"≤ {duration(quantile_of(lateness, share))}" for share in (0.5, 0.99)),
                ]
            )
    heads = ("Worker", "Polls", "Half of them late by", "99 % of them late by")
    shown = (
        table(heads, rows, caption="How late polls were started", right=heads[1:])
        if rows
        else empty("No poll was made yet.")
    )
    return card("Poll lateness", shown)


def _recent(root: str, look: Look) -> Markup:
    if not look.recent:
        return empty("No batch yet.", "POST /v1/batches or `rushes run` makes the first.")
    rows = [
        [
            tag("a", batch["batch_id"], href=batch_path(root, batch["batch_id"]), class_="mono"),
            status_chip(batch["status"]),
            batch_bar(batch),
            f"{number(batch['succeeded_count'])} of {number(batch['total_count'])}",
            moment(batch["created_at"], now_ms=look.now_ms),
        ]
        for batch in look.recent
    ]
    heads = ("Batch", "Status", "Progress", "Succeeded", "Created")
    return table(
        heads,
        rows,
        caption="The newest batches",
        right=("Succeeded", "Created"),
        keys=[batch["batch_id"] for batch in look.recent],
    )
