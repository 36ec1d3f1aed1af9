"""An operator's task list in Debian's chromium: how many clicks, keys and seconds each task takes.

What is told as seconds is the service and the browser at work: nobody thinks or reads meanwhile. A text that
is pasted is two keys, a choice in a list one click and one key, a file that is chosen one click.
"""

import base64
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page
from proofs.api_site import free_port

from benchmarks._dashboard import (
    CHROMIUM,
    Service,
    browsing,
    load_average,
    serving,
    set_back,
    signed_in,
)
from benchmarks.report import write_section
from rushes.simulator import SimulatorKnobs, running_simulator

VIDEOS = 20
FAILED = 3
REFUSED_SHARE, SEED = 0.15, 8
"""With this seed the simulator refuses exactly `FAILED` of the prompts."""

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_SCENES = (
    "A lighthouse keeper paints the railing while the fog comes in",
    "A paper boat drifts along a gutter after the rain",
    "Macro: frost grows across a violin string",
    "A night market wakes up, lantern by lantern",
)


class Hands:
    """Does what an operator does, and counts it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.keys = 0

    def click(self, place: Locator) -> None:
        """A click on what can be seen."""
        self.clicks += 1
        place.click()

    def type(self, place: Locator, text: str) -> None:
        """A click into a field, and its text key by key."""
        self.click(place)
        self.keys += len(text)
        self.page.keyboard.type(text)

    def paste(self, place: Locator, text: str) -> None:
        """A click into a field, and Ctrl+V."""
        self.click(place)
        self.keys += 2
        self.page.keyboard.insert_text(text)

    def choose(self, place: Locator, value: str) -> None:
        """One of a list's values."""
        self.clicks += 1
        self.keys += 1
        place.select_option(value)

    def give_file(self, place: Locator, name: str, content: bytes) -> None:
        """A file from the computer."""
        self.clicks += 1
        place.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


Task = Callable[[Hands, Service, Sequence[str]], str]


def run() -> dict[str, Any]:
    """Print the table and write the section `task_list`; returns it, empty where there is no chromium."""
    if CHROMIUM is None:
        print("  skipped: there is no chromium")
        return {}
    prompts = [f"{_SCENES[n % len(_SCENES)]}, take {n}" for n in range(VIDEOS)]
    with tempfile.TemporaryDirectory() as folder:
        with (
            running_simulator(SimulatorKnobs(render_seconds=1.0)) as calm,
            serving(Path(folder), calm.base_url) as service,
            service.account("Acme Studio", 5000) as client,
        ):
            service.finished(client, [{"prompt": prompt} for prompt in prompts[:12]], "autumn")
        set_back(next(Path(folder).rglob("*.db")), _days_to_october())
        port = free_port()
        reached = {"RUSHES_BASE_URL": f"http://127.0.0.1:{port}", "RUSHES_WEBHOOK_SECRET": "of-the-benchmark"}
        knobs = SimulatorKnobs(render_seconds=1.0, input_moderation=REFUSED_SHARE, seed=SEED)
        with (
            running_simulator(knobs) as provider,
            serving(Path(folder), provider.base_url, port=port, **reached) as service,
            browsing() as browser,
            signed_in(browser, service) as context,
        ):
            data: dict[str, Any] = {"load": load_average()}
            page = context.new_page()
            for name, task in TASKS.items():
                page.goto(f"{service.dashboard}/")
                page.wait_for_selector("h1")
                hands, start = Hands(page), time.monotonic()
                learned = task(hands, service, prompts)
                seconds = time.monotonic() - start
                data[name] = {"clicks": hands.clicks, "keys": hands.keys, "seconds": round(seconds, 1)}
                print(
                    f"  {name:46} {hands.clicks:2} clicks {hands.keys:3} keys {seconds:6.1f} s   {learned}",
                    flush=True,
                )
                _until_done(page, service)
    write_section("task_list", data)
    return data


def _days_to_october() -> int:
    """How many days ago the last 15 October was."""
    now = datetime.now(UTC)
    then = now.replace(month=10, day=15)
    return (now - (then if then <= now else then.replace(year=now.year - 1))).days


def _until_done(page: Page, service: Service) -> None:
    """Wait until nothing renders: that is no work of the operator's."""
    page.goto(f"{service.dashboard}/batches")
    page.locator(".status-processing, .status-pending").first.wait_for(state="detached")


# --- the tasks ----------------------------------------------------------------------------------------------


def _make(hands: Hands, service: Service, prompts: Sequence[str]) -> str:
    page = hands.page
    hands.click(page.get_by_role("link", name="New batch"))
    hands.paste(page.get_by_label("Prompts, one a line"), "\n".join(prompts))
    hands.give_file(page.get_by_label("A file for References"), "look.png", PICTURE)
    page.locator(".upload .hint", has_text="look.png").wait_for()
    hands.type(page.get_by_label("Name"), "launch")
    create = page.get_by_role("button", name=f"Create for {10 * len(prompts)} credits")
    create.wait_for()
    price = create.inner_text()
    hands.click(create)
    page.get_by_role("heading", name="launch").wait_for()
    return price


def _why(hands: Hands, service: Service, prompts: Sequence[str]) -> str:
    page = hands.page
    hands.click(page.get_by_role("link", name="launch"))
    hands.click(page.get_by_role("link", name="Failures"))
    row = page.get_by_role("row").nth(1)
    row.wait_for()
    assert row.get_by_role("cell").nth(2).inner_text() == str(FAILED)
    return f"{FAILED} × {row.get_by_role('cell').first.inner_text()}"


def _retry(hands: Hands, service: Service, prompts: Sequence[str]) -> str:
    page = hands.page
    hands.click(page.get_by_role("link", name="launch"))
    hands.click(page.get_by_role("link", name="Failures"))
    hands.click(page.get_by_role("button", name="On another model…").first)
    dialog = page.get_by_role("dialog")
    hands.choose(dialog.get_by_label("With"), "veo-flash")
    retry = dialog.get_by_role("button", name=f"Retry for {15 * FAILED} credits")
    retry.wait_for()
    hands.click(retry)
    said = page.get_by_text("items wait to be retried")
    said.wait_for()
    return said.inner_text()


def _october(hands: Hands, service: Service, prompts: Sequence[str]) -> str:
    page = hands.page
    hands.click(page.get_by_role("link", name="Accounts", exact=True))
    hands.click(page.get_by_role("link", name="Acme Studio"))
    hands.click(page.locator("a.pill", has_text="-10").first)
    page.get_by_role("heading", name="Statement of").wait_for()
    paid = page.locator(".stat").nth(1).inner_text()
    return " ".join(paid.split())


def _pause(hands: Hands, service: Service, prompts: Sequence[str]) -> str:
    page = hands.page
    hands.click(page.get_by_role("button", name="Pause… grsai"))
    hands.keys += len("invoice")
    page.get_by_role("dialog").get_by_label("Reason").wait_for()
    page.keyboard.type("invoice")  # the field has the focus
    hands.keys += 1
    page.keyboard.press("Enter")
    page.locator(".chip", has_text="Paused").wait_for()
    return "grsai: paused"


TASKS: dict[str, Task] = {
    "make a batch of 20 with a picture, price known": _make,
    "find why 3 failed": _why,
    "retry them on another model": _retry,
    "find what a customer paid in October": _october,
    "pause a provider": _pause,
}
