"""Every command by its name. Only those are imported that a command line may mean."""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from cyclopts import App

from rushes import __version__
from rushes.cli.examples import EXAMPLES

COMMANDS = {
    "demo": "simulated.demo:demo",
    "init": "starting:init",
    "run": "running.run:run",
    "quote": "quote:quote",
    "batch": "batches.batch:app",
    "archive": "archive:app",
    "credits": "credits:app",
    "caps": "caps:app",
    "keys": "keys:app",
    "operators": "operators:app",
    "providers": "providers.pauses:app",
    "serve": "serve:serve",
    "mcp": "assistant:mcp",
    "worker": "work:worker",
    "tick": "work:tick",
    "audit": "audit:app",
    "poll": "providers.poll:poll",
    "record": "simulated.record:record",
    "models": "models.models:app",
    "sim": "simulated.sim:sim",
    "doctor": "operate:doctor",
    "migrate": "operate:migrate",
    "backup": "retention.backup:backup",
    "prune": "retention.prune:prune",
    "erase": "retention.erase:erase",
    "completion": "starting:completion",
}
"""Where each command is, below `rushes.cli.commands`, in the order of the help."""


COMPLETES = "__complete"
"""What the scripts of `rushes completion` call with the words so far, for values that only rushes knows."""


def app_for(arguments: list[str]) -> App:
    """The application with the command that is meant; with all of them where help is, or none is known."""
    words = arguments[1:] if arguments[:1] == [COMPLETES] else arguments
    return app_with([words[0]] if words and words[0] in COMMANDS else COMMANDS)


def app_with(names: Collection[str]) -> App:
    """The application with these commands."""
    app = App(
        name="rushes",
        help="Runs batches of remote AI-video tasks to completion and settles prepaid credits exactly.",
        help_epilogue=(
            "Every command but mcp takes --json. Exit codes: 0 done, 1 error, 2 usage, 4 not authorised, "
            "5 finished but some tasks failed or videos are lost, 129, 130 and 143 ended by a signal. "
            "Settings come from the environment and a .env file: see `rushes doctor`."
        ),
        version=__version__,
        version_flags=["--version", "-V"],
        help_format="markdown",
        result_action="return_value",
    )
    for place, name in enumerate(COMMANDS):
        if name in names:
            module, _, attribute = COMMANDS[name].partition(":")
            command = getattr(import_module(f"rushes.cli.commands.{module}"), attribute)
            if isinstance(command, App):
                command.sort_key, command.help_epilogue = place, ""
                _show_examples(command, name)
                app.command(command)
            else:
                app.command(command, sort_key=place, help_epilogue=examples_text(name))
    return app


def _show_examples(group: App, name: str) -> None:
    if group.default_command is not None:
        group.help_epilogue = examples_text(name)
    for inner in group:
        if not inner.startswith("-"):
            group[inner].help_epilogue = examples_text(f"{name} {inner}")


def examples_text(name: str) -> str:
    """The command's examples for its help."""
    examples = EXAMPLES.get(name, ())
    return "\n".join(["Examples:", "", "```text", *examples, "```"]) if examples else ""


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return app_with(COMMANDS)
