"""The path of a newcomer to each family, as docs/providers.md has it: tried from an empty folder.

The commands are those of the page, word for word; the keys and hosts are a simulator's.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushes.simulator import all_wires
from tests.cli.conftest import NewSimulator
from tests.cli.process import QUICK, Ended, Shell

PAGE = (Path(__file__).parent.parent.parent / "docs" / "providers.md").read_text()
SECTIONS = re.findall(r"^## (.+?)\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
PATHS = {
    title: re.sub(r" +#.*", "", block).strip().splitlines()
    for title, section in SECTIONS
    for block in re.findall(r"```sh\n(export .*?)```", section, re.DOTALL)
}
"""The commands of each family's section that starts with a key."""

FAMILIES = {"ark", "dashscope", "minimax", "xai", "kling", "vertex", "replicate"}


def exports(base_url: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for wire in all_wires():
        found |= wire.exports(base_url, "a-newcomer-s-key")
    return found


def test_every_family_has_such_a_path() -> None:
    variables = {line.split("=")[0] for lines in PATHS.values() for line in lines if "export" in line}
    stems = {name.removeprefix("export ").split("_")[0].lower() for name in variables}
    assert stems >= FAMILIES


@pytest.mark.parametrize("title", PATHS)
def test_the_commands_of_the_page_lead_to_a_first_video(
    title: str, new_simulator: NewSimulator, tmp_path: Path
) -> None:
    simulator = new_simulator()
    found = exports(simulator.base_url)
    lines = PATHS[title]
    keys = [line.removeprefix("export ").split("=")[0] for line in lines if line.startswith("export ")]
    hosts = {name: value for name, value in found.items() if name.split("_")[:-1] == keys[0].split("_")[:-1]}
    stem = keys[0].split("_")[0]
    hosts |= {name: value for name, value in found.items() if name.startswith(stem) and "HOST" in name}
    given = {name: found[name] for name in keys}
    folder = tmp_path / "empty"
    folder.mkdir()
    shell = Shell(folder, {**QUICK, **hosts, **given, "GRSAI_API_KEY": ""})
    *_, show, run = ended_by(shell, [line for line in lines if not line.startswith("export ")])
    assert re.search(r"\bcredits\b", show.stdout), "it says the price"
    assert re.search(r"^prompt|^duration|seconds", show.stdout, re.MULTILINE), "and what the model takes"
    assert "succeeded" in run.stdout + run.stderr
    assert simulator.report().deliveries == 1
    balance = shell.call("credits", "balance", "--json").document
    assert balance["available"] < 1000
    assert balance["reserved"] == 0


def ended_by(shell: Shell, lines: list[str]) -> Iterator[Ended]:
    for line in lines:
        command, *words = shlex.split(line)
        if command == "echo":
            text, arrow, name = words
            assert arrow == ">"
            shell.write(name, text + "\n")
            continue
        assert command == "rushes", line
        ended = shell.call(*words)
        assert ended.code == 0, (line, ended)
        yield ended
