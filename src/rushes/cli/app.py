"""Every command by its name."""

from collections.abc import Callable
from typing import Any

from cyclopts import App

from rushes import __version__
from rushes.cli import audit, batch, demo, models, operate, poll, run, serve, sim, work
from rushes.cli.archive import app as archive_app
from rushes.cli.credits import app as credits_app
from rushes.cli.keys import app as keys_app

app = App(
    name="rushes",
    help="Runs batches of remote AI-video tasks to completion and settles prepaid credits exactly.",
    help_epilogue=(
        "Every command takes --json. Exit codes: 0 done, 1 error, 2 usage, 4 not authorised, "
        "5 finished but some tasks failed or videos are lost, 130 and 143 ended by a signal. "
        "Settings come from the environment and a .env file: see `rushes doctor`."
    ),
    version=__version__,
    help_format="markdown",
    result_action="return_value",
)

_COMMANDS: tuple[App | Callable[..., Any], ...] = (
    demo.demo,
    run.run,
    batch.app,
    archive_app,
    credits_app,
    keys_app,
    serve.serve,
    work.worker,
    work.tick,
    audit.app,
    poll.poll,
    models.app,
    sim.sim,
    operate.doctor,
    operate.migrate,
)

for place, command in enumerate(_COMMANDS):
    if isinstance(command, App):
        command.sort_key, command.help_epilogue = place, ""
        app.command(command)
    else:
        app.command(command, sort_key=place, help_epilogue="")
