"""The Prometheus registry of one service process, and the page it answers.

Counts of requests are this process's own. Everything about tasks, credits and webhooks is read from the
database, and what workers count comes from their reports there: so one page tells of all workers, also of
those in other processes, a lease's third late at most. While the database does not answer, the page has only
what this process knows itself, and `rushes_database_up` is 0.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rushes import telemetry
from rushes.domain.errors import StoreError
from rushes.domain.margin import NO_VALUATION, Valuation
from rushes.read.installation.gauges import PROVIDER_STATES, Gauges, WorkerReport, read_gauges
from rushes.read.installation.troubles import TroubleGroup
from rushes.read.margins import NOTHING_EARNED, earned_today
from rushes.store import archive
from rushes.store.database import Database

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DATABASE_SECONDS_MAX: Final = 5.0
"""How long the page waits for the database: Prometheus gives a page up after 10 seconds."""

REMEMBERED_SECONDS: Final = 2.0
"""How long one look at the database answers for, however often the page is asked for."""

ARCHIVE_REMEMBERED_SECONDS: Final = 30.0
"""The same for the sums over all stored files."""

_HTTP_BOUNDS_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_POLL_COUNTERS: Final = (
    (
        telemetry.METRIC_ABOUT_ANOTHER_TASK,
        "Polls that were answered about another task than the one asked about.",
        "about_another_task",
    ),
    (
        telemetry.METRIC_LINES_PAUSED,
        "Minutes in which polls went without lines, after an answer about another task.",
        "lines_paused",
    ),
)
_HISTOGRAMS: Final = (
    (telemetry.METRIC_POLL_LATENESS, "How late polls were started.", "poll_lateness_seconds"),
    (telemetry.METRIC_SETTLE_GROUP, "Outcomes per settling transaction.", "settle_group_size"),
    (telemetry.METRIC_SETTLE_SECONDS, "Time of a settling transaction.", "settle_commit_seconds"),
)

log = telemetry.logger()


class ServiceMetrics:
    """Counts requests, and renders the page. `own_worker()` is the report of a worker in this process."""

    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        own_worker: Callable[[], WorkerReport | None] = lambda: None,
        listener_count: Callable[[], int] = lambda: 0,
        valuation: Valuation = NO_VALUATION,
    ) -> None:
        self._database = database
        self._valuation = valuation
        self._earned: Mapping[str, Any] = NOTHING_EARNED
        self._now_ms = now_ms
        self._own_worker = own_worker
        self._listener_count = listener_count
        self._read_at_ms = self._archive_read_at_ms = 0
        self._archive: tuple[dict[str, int], int] = ({}, 0)
        self._gauges: Gauges | None = None
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each count, which nobody here reads
        self._registry = CollectorRegistry()
        self._requests = Counter(
            telemetry.METRIC_HTTP_REQUESTS,
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            telemetry.METRIC_HTTP_SECONDS,
            "Time to answer an HTTP request, streams to their end.",
            ("route",),
            registry=self._registry,
            buckets=_HTTP_BOUNDS_SECONDS,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._registry.register(_FromDatabase(self._families))

    def on_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template, so the number of series is bounded."""
        if method not in _METHODS:
            method = "OTHER"
        series = self._series.get((method, route, status))
        if series is None:
            series = (self._requests.labels(method, route, str(status)), self._seconds.labels(route))
            self._series[method, route, status] = series
        series[0].inc()
        series[1].observe(seconds)

    async def render(self) -> bytes:
        """The page in Prometheus' text format, within `DATABASE_SECONDS_MAX`."""
        now_ms = self._now_ms()
        if self._gauges is None or now_ms - self._read_at_ms > REMEMBERED_SECONDS * 1000:
            try:
                async with asyncio.timeout(DATABASE_SECONDS_MAX):
                    await self._read(now_ms)
            except (StoreError, TimeoutError) as error:
                self._gauges = None  # numbers of a while ago would pass for those of now
                why = str(error) or "it did not answer in time"
                log.warning(telemetry.DATABASE_TROUBLE, error=f"metrics without the database: {why}")
        return generate_latest(self._registry)

    async def _read(self, now_ms: int) -> None:
        gauges = await self._database.read(read_gauges, now_ms)
        if now_ms - self._archive_read_at_ms > ARCHIVE_REMEMBERED_SECONDS * 1000:
            self._archive = await self._database.read(archive.totals)
            self._earned = await self._database.read(earned_today, self._valuation, now_ms=now_ms)
            self._archive_read_at_ms = now_ms
        self._gauges, self._read_at_ms = gauges, now_ms

    def _families(self) -> Iterator[Metric]:
        gauges, own = self._gauges, self._own_worker()
        yield _number(
            telemetry.METRIC_DATABASE_UP,
            "1 when the database answered in time, 0 when all that is read from it is missing.",
            0 if gauges is None else 1,
        )
        yield _number(
            telemetry.METRIC_EVENT_LISTENERS, "Open streams of events here.", self._listener_count()
        )
        reports = {} if gauges is None else {report.worker_id: report for report in gauges.workers}
        if own is not None:
            reports[own.worker_id] = own
        yield from _worker_families(list(reports.values()))
        if gauges is not None:
            yield from self._families_read(gauges)

    def _families_read(self, gauges: Gauges) -> Iterator[Metric]:
        yield _gauge(telemetry.METRIC_TASKS, "Tasks by status.", "status", gauges.tasks)
        yield _counter(
            telemetry.METRIC_CREDITS, "Credits moved, by ledger entry type.", "type", gauges.credits
        )
        yield _number(
            telemetry.METRIC_CREDITS_AVAILABLE, "Credits that may be spent.", gauges.credits_available
        )
        yield _number(telemetry.METRIC_CREDITS_HELD, "Credits held for open tasks.", gauges.credits_held)
        yield _number(
            telemetry.METRIC_UNCONFIRMED, "Submits whose outcome is unknown.", gauges.unconfirmed_count
        )
        yield _gauge(
            telemetry.METRIC_QUEUE_AGE, "Age of the oldest entry.", "queue", gauges.queue_age_seconds
        )
        yield _gauge(
            telemetry.METRIC_DELIVERIES, "Webhook deliveries by status.", "status", gauges.deliveries
        )
        files, stored_bytes = self._archive
        yield _gauge(telemetry.METRIC_ARCHIVE_FILES, "Files of successes by state.", "state", files)
        yield _number(telemetry.METRIC_ARCHIVE_BYTES, "Bytes of stored videos.", stored_bytes)
        yield _number(
            telemetry.METRIC_ARCHIVE_AT_RISK,
            "Files still to be stored whose links die within half an hour.",
            gauges.archive_at_risk_count,
        )
        yield from _earned_families(self._earned)
        yield _troubled(gauges.troubles)
        yield _number(telemetry.METRIC_NUDGES, "Callbacks that wait for a worker.", gauges.nudge_count)
        yield _number(telemetry.METRIC_WORKERS, "Workers with a valid lease.", len(gauges.workers))


def _earned_families(earned: Mapping[str, Any]) -> Iterator[Metric]:
    cost = GaugeMetricFamily(
        telemetry.METRIC_PROVIDER_COST,
        "What providers charged for tasks that ended today (UTC), where it is known.",
        labels=("currency",),
    )
    for currency, amount in earned["provider_cost"].items():
        cost.add_metric((currency,), float(amount))
    yield cost
    margin = GaugeMetricFamily(
        telemetry.METRIC_MARGIN,
        "What is left today (UTC) of the credits' value after costs; absent when it is not known.",
        labels=("currency",),
    )
    if earned["margin"] is not None:
        margin.add_metric((earned["margin"]["currency"],), float(earned["margin"]["amount"]))
    yield margin
    yield _number(
        telemetry.METRIC_COST_UNKNOWN,
        "Tasks that ended today (UTC) and whose cost nobody knows.",
        earned["cost_unknown_count"],
    )


def _troubled(groups: Iterable[TroubleGroup]) -> Metric:
    family = GaugeMetricFamily(
        telemetry.METRIC_TROUBLED_TASKS,
        "Open tasks whose last answer was not understood, by the question and the reason's kind.",
        labels=("provider", "question", "reason"),
    )
    for group in groups:
        family.add_metric((group.provider, group.question, group.kind), group.task_count)
    return family


_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class _FromDatabase(Collector):
    """Hands families over that were read before; the library collects without awaiting."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families as they are now; Prometheus asks at each scrape."""
        return self._families()


def _worker_families(reports: Iterable[WorkerReport]) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(
        telemetry.METRIC_IN_FLIGHT, "Tasks at providers that a worker follows.", labels=("worker",)
    )
    states = GaugeMetricFamily(
        telemetry.METRIC_PROVIDER_STATE,
        "1 for the state that a provider is in, as a worker sees it.",
        labels=("worker", "provider", "state"),
    )
    polls = CounterMetricFamily(
        telemetry.METRIC_POLLS, "Polls by outcome.", labels=("worker", "provider", "outcome")
    )
    counters = [
        (CounterMetricFamily(name, text, labels=("worker", "provider")), key)
        for name, text, key in _POLL_COUNTERS
    ]
    unanswered = CounterMetricFamily(
        telemetry.METRIC_POLLS_UNANSWERED,
        "Polls that brought no answer that is understood, by the reason's kind.",
        labels=("worker", "provider", "reason"),
    )
    submits = CounterMetricFamily(
        telemetry.METRIC_SUBMITS, "Submits by outcome.", labels=("worker", "provider", "outcome")
    )
    histograms = [
        (HistogramMetricFamily(name, text, labels=("worker",)), key) for name, text, key in _HISTOGRAMS
    ]
    for report in reports:
        worker, facts = report.worker_id, report.report
        meters: Mapping[str, Any] = facts.get("meters", {})
        in_flight.add_metric((worker,), facts.get("in_flight", 0))
        for provider, state in facts.get("providers", {}).items():
            for name in PROVIDER_STATES:
                states.add_metric((worker, provider, name), 1 if state["state"] == name else 0)
        for provider, counts in meters.get("polls", {}).items():
            for outcome in ("processing", "succeeded", "failed", "transient_errors"):
                polls.add_metric((worker, provider, outcome), counts[outcome])
            for counter, key in counters:
                counter.add_metric((worker, provider), counts.get(key, 0))
        for provider, counts in meters.get("polls_unanswered", {}).items():
            for kind, count in counts.items():
                unanswered.add_metric((worker, provider, kind), count)
        for provider, counts in meters.get("submits", {}).items():
            for outcome, count in counts.items():
                submits.add_metric((worker, provider, outcome), count)
        for family, key in histograms:
            if key in meters:
                family.add_metric((worker,), *_buckets(meters[key]))
    yield in_flight
    yield states
    yield polls
    yield from (counter for counter, _ in counters)
    yield unanswered
    yield submits
    for family, _key in histograms:
        yield family


def _buckets(histogram: Mapping[str, Any]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative counts by upper bound, and the sum of all values."""
    buckets: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip([*histogram["bounds"], "+Inf"], histogram["counts"], strict=True):
        seen += count
        buckets.append((str(bound), seen))
    return buckets, histogram["sum"]


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _number(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
