"""The commands that a reader copies: those of every page are understood, those of the helps run."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cyclopts import CoercionError, CycloptsError, MissingArgumentError

from rushes.cli.app import COMMANDS, app_with
from rushes.cli.examples import EXAMPLES
from rushes.cli.options import spread_values
from rushes.simulator import SimulatorThread
from tests.cli.conftest import NewSimulator
from tests.cli.process import Shell

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "reference" not in page.parts and page.name != "CHANGELOG.md"
)
BLOCK = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"\s*(?:\$ )?(?:[A-Z_]+=(?:\$\()?\S*? ?)?(rushes [a-z-].*)")
FOR_THE_SHELL = set("|;&<>)")

NOT_RUN = {
    *("serve", "mcp", "worker", "sim"),  # they run until they are stopped
    *(
        "batch cancel",
        "batch adopt",
        "batch judge",
        "batch join",
        "keys revoke",
        "erase",
    ),  # of what is not in this state, or not there
    *("batch provenance", "audit anchor", "audit reconcile", "record"),  # with files and hosts of others
    *("init", "completion", "backup"),  # they write where a test should not
}
ELSEWHERE = (
    "--item 3 7",
    "/mnt/nas",
    "--online",
    "runway",
    "--resume",
    "keys judge",
    "archive prune --json",
    "operators revoke",
)
DONE = (0, 5)
"""5: finished, and some tasks failed."""

whole_app = app_with(COMMANDS)


def commands_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each line that is a command of ours, and its arguments: without what the shell does with it."""
    for block in BLOCK.findall(text):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            found = COMMAND.fullmatch(line)
            if found is not None:
                yield line.strip(), arguments_of(found[1])


def arguments_of(command: str) -> list[str]:
    """What comes after `rushes`, up to a pipe, a redirection or the like."""
    words = shlex.shlex(command, posix=True, punctuation_chars="".join(FOR_THE_SHELL))
    words.whitespace_split, words.commenters = True, "#"
    found: list[str] = []
    for word in words:
        if set(word) <= FOR_THE_SHELL:
            break
        found.append(word)
    return found[1:]


def test_there_are_commands_on_many_pages() -> None:
    with_commands = {page.name for page in PAGES if [*commands_of(page.read_text())]}
    assert {"README.md", "README.zh-CN.md", "tutorial.md", "operations.md", "run.md"} <= with_commands
    assert len(with_commands) > 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    for line, arguments in commands_of(page.read_text()):
        _, bound, _ = whole_app.parse_args(spread_values(arguments), exit_on_error=False, print_error=False)
        assert bound is not None, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_within_a_sentence_is_understood(page: Path) -> None:
    """Where it stands for all of its kind, arguments may be left out (`rushes batch show`) or be `ID`."""
    for command in re.findall(r"`(rushes [a-z][^`\n]*)`", BLOCK.sub("", page.read_text())):
        arguments = [word for word in arguments_of(command) if word != "…"]
        try:
            whole_app.parse_args(spread_values(arguments), exit_on_error=False, print_error=False)
        except (MissingArgumentError, CoercionError):
            continue


def test_a_command_that_is_not_there_is_noticed() -> None:
    (_, arguments), *_ = commands_of("```sh\n$ rushes batch sohw last --itmes | less\n```\n")
    assert arguments == ["batch", "sohw", "last", "--itmes"]
    with pytest.raises(CycloptsError):
        whole_app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_the_examples_of_the_helps_run_against_the_simulator(
    new_simulator: NewSimulator, shell_at: Callable[[SimulatorThread], Shell]
) -> None:
    shell = shell_at(new_simulator(output_moderation=0.2, seed=1))
    shell.write("prompts.csv", "prompt,model\n" + "".join(f"take {n},sora-2\n" for n in range(14)))
    shell.write("prompts.txt", "a boat\na kite\n")
    shell.write("list.txt", "a harbour\na forest\n")
    film = b'{"prompt": "the first shot"}\n{"prompt": "the second"}\n'
    assert shell.call("run", "prompts.csv", "--grant", "5000", "--account", "acme").code in DONE
    assert shell.call("run", "prompts.csv", "--grant", "5000").code in DONE
    batch_id = shell.call("batch", "list", "--json").document["data"][0]["batch_id"]
    ran = 0
    for name, examples in EXAMPLES.items():
        for example in examples:
            if name in NOT_RUN or any(words in example for words in ELSEWHERE):
                continue
            command = example[example.index("rushes ") :].replace("bat_1a2b", batch_id[:16])
            ended = shell.call(*arguments_of(command), stdin=film)
            assert ended.code in DONE, (example, ended)
            ran += 1
            if into := re.search(r" > (\w+\.json)$", example):
                shell.write(into[1], ended.stdout)
    assert ran > 80
