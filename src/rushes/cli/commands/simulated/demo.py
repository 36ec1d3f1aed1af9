"""`rushes demo`: a batch from prompts to settled videos, with nothing but this package."""

import contextlib
import json as json_text
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from rushes.cli.commands.running.before import MANIFEST_ENDING, out_folder, refuse_strangers
from rushes.cli.commands.simulated.demo_settings import demo_settings
from rushes.cli.exits import ExitCode
from rushes.cli.options import Json
from rushes.cli.show import print_json, print_line, say
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from rushes.settings import Settings
    from rushes.simulator import SimulatorKnobs

DEMO_SEED = 62
"""With these prompts: one failure in each model family, of several kinds, and no slow straggler."""
TIME_SCALE = 0.017
"""Renders take seconds."""
ACCOUNT = "demo"
PAGE = "index.html"
MARK = ".rushes-demo"
"""A file beside the videos that says which batch a demo has put there: only such a folder is made anew."""


def demo(
    *,
    out: Annotated[
        Path,
        Parameter(help="The folder for the videos and the contact sheet; a demo's is made anew each time."),
    ] = Path("rushes-demo"),
    data_dir: Annotated[
        Path | None, Parameter(help="Keep the demo's database (demo.db) in this folder.")
    ] = None,
    json: Json = False,
) -> int:
    """Run a batch of sample prompts against a simulated service: no key, no set-up, nothing is bought.

    The service is Grsai's protocol over real HTTP on this machine; a few tasks fail its moderation, as
    they do in life, and are refunded. The videos stay in a folder, with a page that shows all of them.
    """
    from rushes.cli.session import run_async
    from rushes.simulator import running_simulator

    _clear(out)
    with out_folder(out), _folder(data_dir) as folder, running_simulator(_knobs()) as simulator:
        say(f"a simulated video service is at {simulator.base_url}; nothing leaves this machine")
        settings = demo_settings(
            folder, simulator.base_url, poll_interval_seconds=(0.25, 0.5), time_scale=TIME_SCALE
        )
        return run_async(_demo(settings, out, as_json=json))


def _clear(out: Path) -> None:
    """Remove what an earlier demo left in the folder. Raises `InputError` where anything else is in it."""
    if not out.is_dir():
        return
    made = _names_made(out)
    found = sorted(out.iterdir())
    refuse_strangers(out, [path.name for path in found if path.name not in made or not path.is_file()])
    for path in sorted(found, key=lambda path: path.name == MARK):  # the mark goes last
        path.unlink()


def _names_made(out: Path) -> set[str]:
    """What the demo that marked the folder has put there: its page, its manifest, and what that names."""
    from rushes.domain.errors import InputError

    try:
        batch_id = (out / MARK).read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return set()
    made, manifest = {MARK, PAGE}, out / f"{batch_id}{MANIFEST_ENDING}"
    try:
        lines = json_text.loads(manifest.read_bytes())["files"]
        made |= {manifest.name, *(line["file"] for line in lines if line["file"])}
    except FileNotFoundError:  # it was stopped before
        pass
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            "is not the manifest that the demo wrote; remove the folder or name another", source=str(manifest)
        ) from None
    return made


@contextlib.contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="rushes-demo-") as folder:
        yield Path(folder)


def _knobs() -> "SimulatorKnobs":
    """A quick service, with enough moderation to see refunds, the same on every run."""
    from rushes.simulator import SimulatorKnobs

    return SimulatorKnobs(
        seed=DEMO_SEED,
        time_scale=TIME_SCALE,
        output_moderation=0.1,
        input_moderation=0.05,
        violation=0.1,
        error=0.05,
        latency_min_seconds=0.01,
        latency_max_seconds=0.08,
    )


async def _demo(settings: "Settings", out: Path, *, as_json: bool) -> int:
    from rushes.cli.commands.audit import audit_line
    from rushes.cli.commands.batches.batch import print_items
    from rushes.cli.commands.batches.sheet import write_sheet
    from rushes.cli.commands.simulated.demo_prompts import DEMO_PROMPTS
    from rushes.cli.outcome import open_count, outcome_now, summary
    from rushes.cli.progress import progress_display
    from rushes.cli.session import opened, stop_on_signals
    from rushes.video_folder import write_text

    items = [
        {"prompt": prompt, "model": model} for model, prompts in DEMO_PROMPTS.items() for prompt in prompts
    ]
    cost = sum(settings.catalogue().get(item["model"]).typical_credits for item in items)
    async with opened(creates=True, settings=settings) as rushes:
        batch = await rushes.create_batch(items, account=ACCOUNT, grant=cost)
        models = counted(len(DEMO_PROMPTS), "model")
        say(f"{counted(len(items), 'prompt')} for {models} accepted, {counted(cost, 'credit')} reserved")
        started_at = time.monotonic()
        with stop_on_signals() as stop, progress_display() as progress:
            batch = await rushes.run(batch["batch_id"], stop=stop.event, on_progress=progress.update)
            seconds = time.monotonic() - started_at
            if not stop.event.is_set():
                write_text(out / MARK, f"{batch['batch_id']}\n")
                await rushes.download(batch["batch_id"], out)
                await write_sheet(rushes, batch["batch_id"], out / PAGE)
        report, files = await rushes.audit(), await rushes.batch_files(batch["batch_id"])
        if as_json:
            ended = await outcome_now(rushes, batch["batch_id"])
            print_json(summary(ended, seconds) | {"audit": report.as_dict()})
        else:
            print_items(await rushes.items(batch["batch_id"]))
    if open_count(batch) or files["due"]:
        say("rushes: the demo was stopped before its end; start it again")
        return stop.exit_code
    if not as_json:
        print_line(
            f"{counted(batch['succeeded_count'], 'video')} in {seconds:.1f} s, {files['stored']} of them"
            f" fetched and stored; {counted(batch['failed_count'], 'task')} failed and refunded"
        )
        settled, refunded = batch["credits_settled"], batch["credits_refunded"]
        print_line(audit_line(report))
        print_line(f"the videos are in {out}, and {out / PAGE} shows them; next: `rushes init`")
        print_line(f"reserved = settled + refunded: {batch['credits_reserved']} = {settled} + {refunded}")
    return ExitCode.DONE if report.ok else ExitCode.ERROR
