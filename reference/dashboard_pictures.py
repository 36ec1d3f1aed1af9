"""The pictures of the dashboard in the README and the docs: `rushes serve --demo`, looked at with chromium.

`python -m reference.dashboard_pictures` writes docs/images/overview.jpg, wall.jpg, dashboard-failures.jpg and
dashboard-new-batch.jpg, small ones.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDTH, HEIGHT = 1280, 720
LOW = 400
QUALITY = 60
WAIT_SECONDS_MAX = 300
SCENES = (
    "A lighthouse keeper paints the railing while the fog comes in",
    "A paper boat drifts along a gutter after the rain",
    "Macro: frost grows across a violin string",
    "Two old men play chess on a train, the landscape changes seasons",
    "A night market wakes up, lantern by lantern",
    "Slow dolly through an empty greenhouse at dawn",
)


def main() -> None:
    """Serve, wait until most videos are done, look."""
    command = [sys.executable, "-m", "rushes", "serve", "--demo", "--port", "0", "--json"]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert serving.stdout is not None
    try:
        _look(json.loads(serving.stdout.readline()))
    finally:
        serving.terminate()
        serving.wait()


def _look(said: dict[str, Any]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        dashboard = f"{said['url']}/dashboard"
        page.goto(f"{dashboard}/")
        page.fill("#secret", said["dashboard_secret"])
        page.keyboard.press("Enter")
        page.wait_for_selector("h1")
        page.goto(f"{said['url']}{_batch(page, dashboard, 'succeeded')}")
        _take(page, "wall")
        page.goto(f"{said['url']}{_batch(page, dashboard, 'partial')}/failures")
        _take(page, "dashboard-failures", height=LOW)
        page.goto(f"{dashboard}/batches/new")
        rows = [f'"{scene}",10,16:9' for scene in SCENES]
        page.fill("#prompts", "\n".join(["prompt,duration,aspect_ratio", *rows, ",10,16:9", ""]))
        page.wait_for_selector("button[value=create]")
        _take(page, "dashboard-new-batch")
        page.goto(f"{dashboard}/?span=hour")
        _take(page, "overview")
        browser.close()


def _batch(page: Page, dashboard: str, status: str) -> str:
    """The address of a batch that ended so, without its host; it is waited for."""
    for _ in range(WAIT_SECONDS_MAX):
        page.goto(f"{dashboard}/batches?status={status}")
        links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
        for link in links:
            if link and link.count("/") == 3 and "/batches/bat_" in link:
                return str(link)
        page.wait_for_timeout(1000)
    raise TimeoutError(f"no batch was {status} after {WAIT_SECONDS_MAX} seconds")


def _take(page: Page, name: str, *, height: int = HEIGHT) -> None:
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")  # filling in a form scrolls to its fields
    page.wait_for_timeout(2500)  # pictures of videos are loaded by and by
    page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=QUALITY)


if __name__ == "__main__":
    main()
