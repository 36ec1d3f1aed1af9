"""Every page, at six widths, light and dark, in both languages: it fits, and axe finds nothing serious."""

import json
from pathlib import Path

import axe_playwright_python
import pytest
from benchmarks._dashboard import every_page

from tests.api.harness import Tenant
from tests.dashboard.conftest import SCREENSHOTS, OpenContext, Serving

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
FOUND = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | ')}`)"""

BROKEN = """() => [...document.querySelectorAll('.stakes dd, .stat-value, .quote-lines dd')].filter(place => {
    const range = document.createRange()
    range.selectNodeContents(place)
    const ends = [...range.getClientRects()].map(box => box.bottom)
    return place.textContent.length < 12 && Math.max(...ends) - Math.min(...ends) > 10
}).map(place => place.textContent)"""
"""A figure that is broken in two lines: 4,62 and 0."""


@pytest.fixture(scope="module")
def batch_id(serving: Serving) -> str:
    """A batch with successes and failures, at its end."""
    tenant: Tenant = serving.tenant("acme")
    items = [
        {"prompt": f"A paper boat drifts along a gutter, take {n}", "custom_id": f"s-{n}"} for n in range(16)
    ]
    body = {"items": items, "name": "storyboard", "webhook_url": "http://127.0.0.1:9/closed"}
    made = str(tenant.post("/v1/batches", body, status=201)["batch_id"])
    tenant.finished(made, seconds_max=40)
    return made


@pytest.mark.parametrize(
    ("width", "look", "language"),
    [
        (1920, "dark", "en"),
        (1440, "light", "en"),
        (1280, "dark", "zh"),
        (768, "light", "en"),
        (390, "light", "zh"),
        (320, "dark", "en"),
    ],
)
def test_every_page_fits_and_has_no_serious_fault(
    open_context: OpenContext, serving: Serving, batch_id: str, width: int, look: str, language: str
) -> None:
    size = {"width": width, "height": 900 if width > 400 else 800}
    faults: dict[str, object] = {}
    spoken = {"en": "en-US", "zh": "zh-CN"}[language]
    with open_context(viewport=size, color_scheme=look, has_touch=width < 500, locale=spoken) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        for name, path in every_page(batch_id, "acme").items():
            page.goto(f"{serving.dashboard}{path}")
            page.locator("h1").first.wait_for()
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{look}-{language}.png")
            if page.evaluate("document.documentElement.scrollWidth") > width:
                faults[f"{name} is too wide"] = page.evaluate("document.documentElement.scrollWidth")
            if broken := page.evaluate(BROKEN):
                faults[f"{name} breaks"] = broken
            page.evaluate(AXE)
            if found := page.evaluate(FOUND):
                faults[name] = found
        # that a page is not there is an error for the console
        said = [text for text in said if "404" not in text]
    assert faults == {}, json.dumps(faults, indent=1)
    assert said == []
