"""The pictures of the dashboard in the README and the docs: `rushes serve --demo`, looked at with chromium.

`python -m reference.dashboard_pictures` writes docs/images/overview.jpg and wall.jpg, small ones.
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
QUALITY = 60
FINISHED_MIN = 20
WAIT_SECONDS_MAX = 120


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
        for _ in range(WAIT_SECONDS_MAX):
            page.goto(f"{dashboard}/batches?status=succeeded")
            walls = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
            found = [link for link in walls if link and link.count("/") == 3 and "/batches/bat_" in link]
            if found:
                break
            page.wait_for_timeout(1000)
        page.goto(f"{said['url']}{found[0]}")
        _take(page, "wall")
        page.goto(f"{dashboard}/?range=hour")
        _take(page, "overview")
        browser.close()


def _take(page: Page, name: str) -> None:
    page.wait_for_timeout(2500)  # pictures of videos are loaded by and by
    page.screenshot(path=IMAGES / f"{name}.jpg", type="jpeg", quality=QUALITY)


if __name__ == "__main__":
    main()
