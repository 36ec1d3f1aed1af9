"""Every page of the dashboard is loaded in Debian's chromium, and nothing may go wrong: 400 loads and more.

At four widths, in light and dark, in English and Chinese: no error on the console or of a script, no request
that fails, nothing that makes the page scroll sideways. With `PICTURES=1` each is kept under `build/pages/`.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Request

from benchmarks._dashboard import (
    CHROMIUM,
    MISSING,
    Service,
    browsing,
    every_page,
    load_average,
    serving,
    signed_in,
)
from benchmarks.report import REPORT_PATH, write_section
from rushes.simulator import SimulatorKnobs, running_simulator

WIDTHS = (1440, 1024, 390, 320)
LOOKS = ("light", "dark")
LANGUAGES = ("en-US", "zh-CN")
HEIGHT = 900
PHONE_WIDTH_MAX = 500
PICTURES = REPORT_PATH.parent / "pages"
ACCOUNT = "Acme Studio"

_SCENES = (
    "A lighthouse keeper paints the railing while the fog comes in",
    "A paper boat drifts along a gutter after the rain",
    "Macro: frost grows across a violin string",
    "夜市醒来，灯笼一盏接一盏亮起",
    "Slow dolly through an empty greenhouse at dawn, condensation runs down the panes, one pane is broken and"
    " a sparrow comes in; shot on a 35 mm lens",
)


def run(
    *, widths: Sequence[int] = WIDTHS, looks: Sequence[str] = LOOKS, languages: Sequence[str] = LANGUAGES
) -> dict[str, Any]:
    """Print what went wrong and write the section `page_loads`; returns it, empty without a chromium."""
    if CHROMIUM is None:
        print("  skipped: there is no chromium")
        return {}
    faults: list[str] = []
    loads = 0
    with busy_service() as (service, batch_id), browsing() as browser:
        pages = every_page(batch_id, ACCOUNT)
        for width, look, language in product(widths, looks, languages):
            with _looking(browser, service, width, look, language) as context:
                for name, path in pages.items():
                    where = f"{name}-{width}-{look}-{language[:2]}"
                    loads += 1
                    faults += [f"{where}: {fault}" for fault in _load(context, service, path, where, width)]
            print(f"  {width} {look} {language}: {loads} loads, {len(faults)} faults", flush=True)
    data = {"load": load_average(), "loads": loads, "faults": faults}
    print(f"  {loads} page loads, {len(faults)} faults: {'met' if not faults else 'MISSED'}", flush=True)
    for fault in faults:
        print(f"    {fault}")
    write_section("page_loads", data)
    return data


@contextmanager
def busy_service() -> Iterator[tuple[Service, str]]:
    """A service with what an operator meets, and the id of a batch with successes and failures.

    Two accounts, a batch that renders, one whose provider is paused, submits without an answer, webhooks that
    nobody takes.
    """
    quick = SimulatorKnobs(
        time_scale=1.0,
        sora_render_seconds=1.5,
        error=0.1,
        input_moderation=0.08,
        output_moderation=0.04,
        seed=7,
    )
    lossy = SimulatorKnobs(submit_accepted_then_reset=0.4, render_seconds=900.0, seed=5)
    with (
        running_simulator(quick) as grsai,
        running_simulator(lossy) as minimax,
        tempfile.TemporaryDirectory() as folder,
        serving(
            Path(folder),
            grsai.base_url,
            MINIMAX_HOST=minimax.base_url,
            MINIMAX_API_KEY="benchmark",
            RUSHES_WEBHOOK_SECRET="of-the-benchmark",
        ) as service,
        service.account(ACCOUNT, 5000) as acme,
        service.account("北京影业", 9000) as studio,
    ):
        finished = service.finished(acme, _items(36), "storyboard-7", webhook_url="http://127.0.0.1:9/closed")
        service.finished(acme, _items(4), "teaser")
        service.made(
            studio, _items(40, model="veo-flash"), "spring-campaign-with-a-long-name-of-its-maker-2026"
        )
        service.made(studio, _items(12, model="minimax-h3-official"), "秋季广告片")
        service.finished(studio, _items(8), "one-more")
        service.command("providers", "pause", "minimax", "--reason", "the invoice of October is open")
        service.made(studio, _items(5, model="minimax-h3-official"), "waits-for-minimax")
        yield service, finished


def _items(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"{_SCENES[n % len(_SCENES)]}, take {n}",
            "custom_id": f"shot-{n}",
            **({} if more else {"aspect_ratio": ("16:9", "16:9", "9:16")[n % 3]}),
            **more,
        }
        for n in range(count)
    ]


@contextmanager
def _looking(
    browser: Browser, service: Service, width: int, look: str, language: str
) -> Iterator[BrowserContext]:
    is_phone = width <= PHONE_WIDTH_MAX
    size = {"width": width, "height": HEIGHT}
    with signed_in(
        browser,
        service,
        viewport=size,
        color_scheme=look,
        locale=language,
        is_mobile=is_phone,
        has_touch=is_phone,
    ) as context:
        yield context


def _load(context: BrowserContext, service: Service, path: str, where: str, width: int) -> list[str]:
    """What went wrong while the page was loaded and looked at."""
    faults: list[str] = []
    with context.new_page() as page:
        page.on(
            "console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(_failed(request)))
        page.goto(f"{service.dashboard}{path}")
        page.locator("h1").first.wait_for()
        faults += _too_wide(page, width)
        if os.environ.get("PICTURES"):
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.wait_for_timeout(300)  # pictures of videos are loaded by and by
            page.screenshot(path=PICTURES / f"{where}.png", full_page=True)
        is_missing = where.startswith(f"{MISSING}-")
        return [fault for fault in faults if not (is_missing and "404" in fault)]


def _too_wide(page: Page, width: int) -> list[str]:
    taken = page.evaluate("document.documentElement.scrollWidth")
    return [f"it is {taken} pixels wide"] if taken > width else []


def _failed(request: Request) -> str:
    return f"{request.method} {request.url}: {request.failure}"
