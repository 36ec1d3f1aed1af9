"""`rushes demo`: a batch from prompts to settled videos, with nothing but this package."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from rushes.cli import ExitCode
from rushes.cli.options import Json
from rushes.cli.show import print_json, print_line, say

if TYPE_CHECKING:
    from rushes.providers.simulator import SimulatorKnobs
    from rushes.settings import Settings

DEMO_SEED = 62
"""With these prompts: one failure in each model family, of several kinds, and no slow straggler."""
ACCOUNT = "demo"


def demo(
    *,
    data_dir: Annotated[
        Path | None, Parameter(help="Keep the demo's database (demo.db) in this folder.")
    ] = None,
    json: Json = False,
) -> int:
    """Run a batch of sample prompts against a simulated service: no key, no set-up, nothing is bought.

    The service is Grsai's protocol over real HTTP on this machine; a few tasks fail its moderation, as
    they do in life, and are refunded.
    """
    from rushes.cli.session import run_async
    from rushes.providers.simulator import running_simulator

    with _folder(data_dir) as folder, running_simulator(_knobs()) as simulator:
        say(f"a simulated video service is at {simulator.base_url}; nothing leaves this machine")
        return run_async(_demo(_settings(folder, simulator.base_url), as_json=json))


@contextlib.contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="rushes-demo-") as folder:
        yield Path(folder)


def _knobs() -> "SimulatorKnobs":
    """A quick service, with enough moderation to see refunds, the same on every run."""
    from rushes.providers.simulator import SimulatorKnobs

    return SimulatorKnobs(
        seed=DEMO_SEED,
        time_scale=0.017,
        output_moderation=0.1,
        input_moderation=0.05,
        violation=0.1,
        error=0.05,
        latency_min_seconds=0.01,
        latency_max_seconds=0.08,
    )


def _settings(folder: Path, host: str) -> "Settings":
    """The demo's own settings: nothing of the user's environment or .env file, so never their key."""
    from rushes.settings import Settings

    return Settings.load(
        {
            "RUSHES_DATA_DIR": str(folder),
            "RUSHES_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
            "RUSHES_POLL_INTERVAL_MIN_SECONDS": "0.25",
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": "0.5",
            "GRSAI_HOST": host,
            "GRSAI_API_KEY": "demo",
        },
        env_file=None,
    )


async def _demo(settings: "Settings", *, as_json: bool) -> int:
    from rushes.cli.audit import audit_line
    from rushes.cli.batch import print_items
    from rushes.cli.demo_prompts import DEMO_PROMPTS
    from rushes.cli.outcome import open_count, summary
    from rushes.cli.progress import progress_display
    from rushes.cli.session import opened, stop_on_signals

    items = [
        {"prompt": prompt, "model": model} for model, prompts in DEMO_PROMPTS.items() for prompt in prompts
    ]
    cost = sum(settings.catalogue().get(item["model"]).credits for item in items)
    async with opened(creates=True, settings=settings) as rushes:
        batch = await rushes.create_batch(items, account=ACCOUNT, grant=cost)
        say(f"{len(items)} prompts for {len(DEMO_PROMPTS)} models accepted, {cost} credits reserved")
        started_at = time.monotonic()
        with stop_on_signals() as stop, progress_display() as progress:
            batch = await rushes.run(batch["batch_id"], stop=stop.event, on_progress=progress.update)
        seconds = time.monotonic() - started_at
        report, files = await rushes.audit(), await rushes.batch_files(batch["batch_id"])
        if as_json:
            print_json(await summary(rushes, batch, seconds) | {"audit": report.as_dict()})
        else:
            print_items(await rushes.items(batch["batch_id"]))
    if open_count(batch) or files["due"]:
        say("rushes: the demo was stopped before its end; start it again")
        return stop.exit_code
    if not as_json:
        print_line(
            f"{batch['succeeded_count']} videos in {seconds:.1f} s, {files['stored']} of them fetched and"
            f" stored; {batch['failed_count']} tasks failed and were refunded"
        )
        settled, refunded = batch["credits_settled"], batch["credits_refunded"]
        print_line(f"reserved = settled + refunded: {batch['credits_reserved']} = {settled} + {refunded}")
        print_line(audit_line(report))
    return ExitCode.DONE if report.ok else ExitCode.ERROR
