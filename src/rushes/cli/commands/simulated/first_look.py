"""What `rushes serve --demo` shows: sample accounts and batches, over a simulated provider."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rushes.cli.commands.simulated.demo_prompts import DEMO_PROMPTS
from rushes.cli.commands.simulated.demo_settings import demo_settings

if TYPE_CHECKING:
    from rushes.library import Rushes
    from rushes.settings import Settings

ACCOUNTS: Final = ("atelier", "studio")
CREDITS: Final = 2_000
TIME_SCALE: Final = 0.05
"""Renders take a twentieth of their usual time: long enough to watch, short enough to see the end."""


class FirstLook(NamedTuple):
    """The settings of the demonstration, and the secret that signs in to its dashboard."""

    settings: "Settings"
    dashboard_secret: str


@contextmanager
def first_look(host: str, port: int) -> Iterator[FirstLook]:
    """Settings over a simulated provider and a database in a temporary folder; both end with the `with`."""
    from rushes.simulator import PRESETS, parse_knobs, running_simulator

    knobs = parse_knobs([f"time_scale={TIME_SCALE}"], PRESETS["realistic"])
    secret = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="rushes-demo-") as folder, running_simulator(knobs) as simulator:
        settings = demo_settings(
            Path(folder),
            simulator.base_url,
            poll_interval_seconds=(0.5, 2),
            time_scale=TIME_SCALE,
            RUSHES_DASHBOARD_SECRET=secret,
            RUSHES_WEBHOOK_SECRET=secrets.token_urlsafe(24),
            **({"RUSHES_BASE_URL": f"http://{host}:{port}"} if port else {}),
        )
        yield FirstLook(settings, secret)


async def add_sample_data(rushes: "Rushes") -> str:
    """Two accounts with credits and a batch for each model; returns an API key of the first account."""
    from rushes.service import create_key

    for account in ACCOUNTS:
        await rushes.grant(CREDITS, account=account, description="demo")
    for number, (model, prompts) in enumerate(DEMO_PROMPTS.items()):
        account = ACCOUNTS[number % len(ACCOUNTS)]
        await rushes.create_batch(list(prompts), account=account, model=model, retries=number % 2)
    key: str = (await create_key(rushes, account=ACCOUNTS[0], name="demo"))["key"]
    return key
