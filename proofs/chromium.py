"""Debian's chromium: whether it plays a file to its end."""

import shutil
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

OPTIONS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")
PLAY_MS_MAX: Final = 180_000
PLAY: Final = """
async () => {
  const video = document.querySelector("video");
  await new Promise((done, failed) => {
    video.onended = done;
    video.onerror = () => failed(new Error(video.error.message));
    video.playbackRate = 8;
    video.play().catch(failed);
  });
  return [video.currentTime, video.duration, video.videoWidth];
}
"""


def played(path: Path) -> float | None:
    """Play the video to its end, muted; returns its seconds, None without chromium. Raises what goes wrong."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    page_path = path.with_suffix(".html")
    page_path.write_text(f'<video muted src="{path.name}"></video>', encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        try:
            page = browser.new_page()
            page.set_default_timeout(PLAY_MS_MAX)
            page.goto(page_path.resolve().as_uri())
            at, duration, width = page.evaluate(PLAY)
        finally:
            browser.close()
    if not width or abs(at - duration) > 0.5:
        raise RuntimeError(f"chromium stopped at {at} of {duration} seconds")
    return float(duration)
