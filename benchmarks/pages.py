"""The dashboard's pages in Debian's chromium: first paint, bytes, requests; and a wall of 10,000 videos.

With `BEFORE=/path/to/python` a second service runs from that interpreter's checkout, and both are measured in
turns. Each page is loaded without a cache, right after the sign-in page that it is compared with, in a tab
that stays open: a new window's own start would hide what the page takes. Bytes are those on the wire without
pictures and videos, and streams of changes are no request.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from playwright.sync_api import Browser, BrowserContext, Page

from benchmarks._dashboard import CHROMIUM, Service, browsing, load_average, serving, signed_in
from benchmarks.report import write_section
from rushes.simulator import SimulatorKnobs, running_simulator

ROUNDS = 15
ITEMS = 60
WALL_ITEMS = 10_000
SCROLL_SECONDS = 15.0
MINUTES = 30.0
RATIO_MAX = 1.3
FPS_MIN = 50.0
PIXELS_PER_FRAME = 60

PAGES = {
    "sign-in": "/sign-in",
    "overview": "/",
    "batches": "/batches",
    "a batch": "/batches/{batch}",
    "its failures": "/batches/{batch}/failures",
    "its credits": "/batches/{batch}/credits",
    "an item": "/items/{batch}-0",
    "a new batch": "/batches/new",
    "accounts": "/accounts",
    "an account": "/accounts?account=acme",
    "deliveries": "/deliveries",
    "system": "/system",
}
ONLY_AFTER = frozenset(os.environ.get("ONLY_AFTER", "").split(","))
"""Pages that the other checkout has not."""

PAINTED = """() => new Promise(done => {
    function look() {
        const [paint] = performance.getEntriesByName("first-contentful-paint");
        if (paint) done(paint.startTime);
        else setTimeout(look, 20);
    }
    look();
})"""
Visit: TypeAlias = tuple[float, int, int]
"""Milliseconds until the first contentful paint, bytes, requests."""

SCROLL = """([pixels, seconds]) => new Promise(done => {
    const times = []; let way = pixels; const start = performance.now();
    function frame(now) {
        times.push(now);
        const end = document.documentElement.scrollHeight - innerHeight;
        if (scrollY >= end - 1) way = -pixels; else if (scrollY <= 1) way = pixels;
        scrollBy(0, way);
        if (now - start < seconds * 1000) requestAnimationFrame(frame);
        else done(times.slice(1).map((time, n) => time - times[n]));
    }
    requestAnimationFrame(frame);
})"""


def run(
    *,
    rounds: int = ROUNDS,
    items: int = ITEMS,
    wall_items: int = WALL_ITEMS,
    seconds: float = SCROLL_SECONDS,
    minutes: float = MINUTES,
) -> dict[str, Any]:
    """Print the tables and write the section `pages`; returns it, empty where there is no chromium."""
    if CHROMIUM is None:
        print("  skipped: there is no chromium")
        return {}
    knobs = SimulatorKnobs(render_seconds=1.0, error=0.1, seed=7)
    with ExitStack() as stack:
        simulator = stack.enter_context(running_simulator(knobs))
        services = {}
        for name, python in {"before": os.environ.get("BEFORE"), "after": ""}.items():
            if python is not None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                interpreter = python or sys.executable
                services[name] = stack.enter_context(serving(folder, simulator.base_url, python=interpreter))
        batches = {name: _batch(service, items) for name, service in services.items()}
        browser = stack.enter_context(browsing())
        data: dict[str, Any] = {"load": load_average()}
        data["paint"] = _paints(browser, services, batches, rounds)
        data["wall"] = _wall(browser, services["after"], wall_items, seconds, minutes)
    write_section("pages", data)
    return data


def _batch(service: Service, count: int) -> str:
    with service.account("acme", 50 * count) as client:
        items = [{"prompt": f"a paper boat in the rain, take {n}"} for n in range(count)]
        return service.finished(client, items, "storyboard")


# --- first paint --------------------------------------------------------------------------------------------


def _paints(
    browser: Browser, services: Mapping[str, Service], batches: Mapping[str, str], rounds: int
) -> dict[str, Any]:
    """Each page right after the sign-in page, in a tab that stays open; ratios are of the two medians."""
    found: dict[tuple[str, str], list[tuple[Visit, Visit]]] = {}
    tabs = {name: _tabs(browser, service) for name, service in services.items()}
    for turn in range(rounds + 1):
        for page, path in PAGES.items():
            for name, service in services.items():
                if name == "before" and page in ONLY_AFTER:
                    continue
                stranger, operator = tabs[name]
                first = _visit(stranger, f"{service.dashboard}/sign-in")
                own = stranger if page == "sign-in" else operator
                second = _visit(own, f"{service.dashboard}{path.format(batch=batches[name])}")
                if turn:  # the first turn warms both up
                    found.setdefault((page, name), []).append((first, second))
    table: dict[str, Any] = {}
    for (page, name), pairs in found.items():
        paint, size, requests = (statistics.median(own[place] for _, own in pairs) for place in range(3))
        ratio = paint / statistics.median(first[0] for first, _ in pairs)
        row = {"paint_ms": paint, "bytes": size, "requests": requests, "ratio": ratio}
        table.setdefault(page, {})[name] = row
        verdict = "met" if ratio <= RATIO_MAX else "MISSED"
        print(
            f"  {page:14} {name:7} {paint:6.0f} ms {size / 1000:8.1f} kB {requests:4.0f} requests"
            f"  {ratio:5.2f} × sign-in, at most {RATIO_MAX:g}: {verdict}",
            flush=True,
        )
    return table


def _tabs(browser: Browser, service: Service) -> tuple[Page, Page]:
    """A tab of a stranger and one of an operator."""
    stranger = browser.new_context(viewport={"width": 1440, "height": 900})
    return stranger.new_page(), signed_in(browser, service).new_page()


def _visit(page: Page, where: str) -> Visit:
    """What it takes to open a page."""
    asked: dict[str, int] = {}
    page.bring_to_front()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def sent(event: dict[str, Any]) -> None:
        is_stream = "event-stream" in event["request"]["headers"].get("accept", "")
        is_file = event["type"] in ("Media", "Image") or event["request"]["url"].startswith("data:")
        if not (is_stream or is_file):
            asked.setdefault(event["requestId"], 0)

    def came(event: dict[str, Any]) -> None:
        if event["requestId"] in asked:
            asked[event["requestId"]] = int(event["encodedDataLength"])

    session.on("Network.requestWillBeSent", sent)
    session.on("Network.loadingFinished", came)
    page.goto(where, wait_until="load")
    paint = page.evaluate(PAINTED)
    page.wait_for_timeout(200)
    session.detach()
    page.goto("about:blank")
    return float(paint), sum(asked.values()), len(asked)


# --- a wall -------------------------------------------------------------------------------------------------


def _wall(browser: Browser, service: Service, count: int, seconds: float, minutes: float) -> dict[str, Any]:
    with service.account("wall", 15 * count) as client:
        items = [{"prompt": f"shot {n}", "aspect_ratio": ("16:9", "9:16")[n % 3 == 2]} for n in range(count)]
        batch_id = service.finished(client, items, "long-wall")
    with signed_in(browser, service) as context:
        page = context.new_page()
        page.goto(f"{service.dashboard}/batches/{batch_id}")
        page.wait_for_selector(".tile")
        steps = page.evaluate(SCROLL, [PIXELS_PER_FRAME, seconds])
        fps = 1000 * len(steps) / sum(steps)
        memory = [_memory(context, page)]
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            page.evaluate(SCROLL, [PIXELS_PER_FRAME, min(60.0, 60 * minutes)])
            memory.append(_memory(context, page))
    verdict = "met" if fps >= FPS_MIN else "MISSED"
    first, last = memory[0], memory[-1]
    print(
        f"  a wall of {count:,}: {fps:.1f} frames a second while scrolling, at least {FPS_MIN:g}: {verdict};"
        f" slowest {max(steps):.0f} ms\n"
        f"  over {minutes:g} minutes of scrolling: heap {first['heap_mb']:.1f} to {last['heap_mb']:.1f} MB,"
        f" at most {max(one['heap_mb'] for one in memory):.1f};"
        f" {first['nodes']:,} to {last['nodes']:,} nodes; {last['tiles']} tiles in the page",
        flush=True,
    )
    return {"items": count, "fps": fps, "slowest_ms": max(steps), "minutes": minutes, "memory": memory}


def _memory(context: BrowserContext, page: Page) -> dict[str, float]:
    """What the page holds once its garbage is collected."""
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    tiles = page.locator(".tile").count()
    return {"heap_mb": metrics["JSHeapUsedSize"] / 1e6, "nodes": int(metrics["Nodes"]), "tiles": tiles}
