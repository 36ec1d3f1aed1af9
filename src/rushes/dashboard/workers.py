"""The live workers, and what each says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from nicegui import ui

from rushes.dashboard.frame import page_frame
from rushes.dashboard.live import Live
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import card, chip, duration, empty, moment, number, page_head, table
from rushes.engine import overview
from rushes.engine.meters import quantile_of


def add_page(parts: DashboardParts) -> None:
    """Register the page."""

    @ui.page("/workers", response_timeout=20)
    async def workers(request: Request) -> None:
        with page_frame(parts, request, "Workers", section="Workers"):

            async def render() -> Markup:
                now_ms = parts.now_ms()
                return page_content(await parts.read(overview.live_workers, now_ms=now_ms), now_ms=now_ms)

            await Live(render).refresh()


def page_content(found: Sequence[Mapping[str, Any]], *, now_ms: int) -> Markup:
    """The page, from what was read."""
    if not found:
        hint = "Start one with `rushes worker`, or serve without --no-worker."
        return joined(page_head("Workers"), card("Live workers", empty("No worker is alive.", hint)))
    return joined(page_head("Workers"), *(_worker(worker, now_ms=now_ms) for worker in found))


def _worker(worker: Mapping[str, Any], *, now_ms: int) -> Markup:
    report = worker["report"]
    meters: Mapping[str, Any] = report.get("meters", {})
    submits = sum(sum(counts.values()) for counts in meters.get("submits", {}).values())
    polls = {
        name: sum(counts.get(name, 0) for counts in meters.get("polls", {}).values())
        for name in ("processing", "succeeded", "failed", "transient_errors")
    }
    facts = [
        ("Host", f"{worker['host']} (process {worker['pid']})"),
        ("Started", moment(worker["started_at"], now_ms=now_ms)),
        ("Lease ends", moment(worker["lease_expires_at"], now_ms=now_ms)),
        ("In flight", number(report.get("in_flight", 0))),
        ("Submits", number(submits)),
        ("Polls", number(sum(polls.values()))),
        ("Without answer", number(polls["transient_errors"])),
        ("Poll lateness, 99 %", _quantile(meters.get("poll_lateness_seconds"))),
        ("Settling transaction, 99 %", _quantile(meters.get("settle_commit_seconds"))),
    ]
    return card(
        worker["worker_id"],
        table(
            [name for name, _ in facts],
            [[value for _, value in facts]],
            caption=f"Worker {worker['worker_id']}",
        ),
        end=tag("span", chip("Alive", "ok")),
        class_="worker",
    )


def _quantile(histogram: Mapping[str, Any] | None) -> str:
    if not histogram or not sum(histogram["counts"]):
        return "–"
    return f"≤ {duration(quantile_of(histogram, 0.99))}"
