"""The page of every command and option, as `--help` tells them."""

import re
from collections.abc import Iterator

from cyclopts import App, Argument

from reference.markdown import explained
from rushes.cli.app import app as rushes_app

INTRODUCTION = """# Command line

Data goes to stdout; progress, logs and errors to stderr. `--json` gives an answer as one JSON document, an
error too: `{"ok": false, "error": "INVALID_INPUT", "message": "…", "line": 3, …}`.

A batch may be named by its id, by the start of it that no other batch has (`bat_1a2b`, or `1a2b`), or by
`last`, the newest. `rushes completion bash` (`zsh`, `fish`) prints what makes the shell complete commands and
options.
"""


def commands(app: App) -> Iterator[tuple[str, App]]:
    """Every command and group below the app: its full name and its app."""
    for name in app:
        if not name.startswith("-"):
            below = app[name]
            yield name, below
            for inner, inner_app in commands(below):
                yield f"{name} {inner}", inner_app


def shown_arguments(command: App) -> list[Argument]:
    """What a user can give it; options that commands share stand in a class, which is no option itself."""
    return [argument for argument in command.assemble_argument_collection() if argument.show]


def page(app: App = rushes_app) -> str:
    """The page. Raises `Undocumented` for a command, argument or option without a help text."""
    for name, command in commands(app):
        explained(command.help, f"`rushes {name}`", "give its function a docstring")
        if command.default_command is None:
            continue
        for argument in shown_arguments(command):
            explained(
                argument.parameter.help, f"`rushes {name}`: {argument.name}", "give its Parameter a help"
            )
    text = app.generate_docs(output_format="markdown")
    text = re.sub(r"## Table of Contents\n.*?(?=\*\*Commands\*\*)", "", text, flags=re.DOTALL)
    text = text.replace("# rushes\n", INTRODUCTION, 1)
    return f"{text.rstrip()}\n\n## Exit codes\n\n{app.help_epilogue}\n"
