"""Makes docs/images/dashboard-*.jpg, of failures and a new batch: `python -m tests.dashboard.pictures`.

A service with a simulator behind it runs some batches, and Debian's chromium takes the pictures.
"""

import random
import re
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from rushes.simulator import running_simulator
from tests.api.harness import Tenant
from tests.cli.process import QUICK, Shell
from tests.dashboard.conftest import CHROMIUM, CHROMIUM_OPTIONS, SECRET
from tests.harness import knobs

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
QUALITY: Final = 72
SIZE: Final = {"width": 1200, "height": 700}

_SCENES: Final = (
    "A lighthouse keeper paints the railing while the fog comes in",
    "A paper boat drifts along a gutter after the rain",
    "Macro: frost grows across a violin string",
    "Two old men play chess on a train, the landscape changes seasons",
    "A night market wakes up, lantern by lantern",
    "Slow dolly through an empty greenhouse at dawn",
)


def main() -> None:
    """Take them all."""
    drawn = random.Random(7)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_simulator(knobs(render_seconds=2.0, error=0.08, input_moderation=0.05, seed=11)) as simulator,
    ):
        environment = {**QUICK, "GRSAI_HOST": simulator.base_url, "RUSHES_DASHBOARD_SECRET": SECRET}
        environment |= {"RUSHES_ALLOW_PRIVATE_URLS": "1", "RUSHES_CREDIT_VALUE": "0.05 CNY"}
        shell = Shell(Path(folder), environment)
        running = shell.start("serve", "--port", "0")
        try:
            running.wait_until(lambda said: "dashboard at" in said, "it serves")
            found = re.search(r"serving on (http://\S+)", running.stderr())
            assert found is not None
            shell.call("credits", "grant", "50000", "--account", "Acme Studio")
            key = shell.call("keys", "create", "--account", "Acme Studio", "--json").document["key"]
            tenant = Tenant(found[1], "Acme Studio", key)
            for name, count in (("storyboard-7", 24), ("spring-campaign", 60), ("teaser", 8)):
                items = [
                    {
                        "prompt": drawn.choice(_SCENES),
                        "aspect_ratio": drawn.choice(("16:9", "16:9", "9:16")),
                        "model": drawn.choice(("sora-2", "sora-2", "veo-flash")),
                    }
                    for _ in range(count)
                ]
                made = tenant.post("/v1/batches", {"items": items, "name": name}, status=201)
                tenant.finished(made["batch_id"], seconds_max=120)
                if name == "spring-campaign":
                    shown = made["batch_id"]
            _take(found[1], shown)
            tenant.http.close()
        finally:
            running.process.terminate()
            running.end()


def _take(url: str, batch_id: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_OPTIONS))
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(f"{url}/dashboard/sign-in")
        page.fill("#secret", SECRET)
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Overview')")
        page.goto(f"{url}/dashboard/batches/{batch_id}/failures")
        page.wait_for_selector(".about-item")
        _save(page, "failures")
        page.goto(f"{url}/dashboard/batches/new")
        prompts = "prompt,duration,aspect_ratio\n" + "\n".join(f'"{scene}",10,16:9' for scene in _SCENES)
        page.fill("#prompts", f"{prompts}\n,10,16:9\n")
        page.wait_for_selector("button[value=create]")
        page.wait_for_timeout(800)
        _save(page, "new-batch")
        browser.close()


def _save(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"dashboard-{name}.jpg", type="jpeg", quality=QUALITY)


if __name__ == "__main__":
    main()
