"""The README's picture of a terminal: commands that are really run, against the simulator, drawn as SVG.

`python -m reference.terminal_picture` writes docs/images/run.svg. Of the lines that show progress only the
first and the last are kept; nothing else is left out or changed.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from rushes.simulator import SimulatorKnobs, running_simulator

OUT = Path(__file__).parent.parent / "docs" / "images" / "run.svg"
COLUMNS = 108

PROMPTS = (
    "prompt,model",
    "a paper boat on a puddle after the rain,sora-2",
    "a kite over the sea seen from below,sora-2",
    "一只橘猫在窗边看雨,veo-flash",
    "a lighthouse keeper winding a clock,veo-flash",
)
COMMANDS = (
    "cat prompts.csv",
    "rushes run prompts.csv --out videos",
    "ls videos",
    "rushes audit",
)

_PROGRESS = re.compile(r"^\d+/\d+ done · ")
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def without_middle(lines: Iterable[str]) -> list[str]:
    """The lines, of each run of progress lines only the first and the last."""
    kept: list[str] = []
    for line in lines:
        is_progress = bool(_PROGRESS.match(line))
        if is_progress and len(kept) > 1 and all(_PROGRESS.match(one) for one in kept[-2:]):
            kept[-1] = line
        else:
            kept.append(line)
    return kept


def recorded(folder: Path, environment: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Each command with what it printed, both streams. Raises `CalledProcessError`."""
    found = []
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        found.append((command, without_middle(done.stdout.rstrip().splitlines())))
    return found


def draw(session: list[tuple[str, list[str]]]) -> str:
    """The session as an SVG that loads no font from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        for number, (command, lines) in enumerate(session):
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            for line in lines:
                console.print(Text(line, style="bold cyan" if line.startswith("reserved ") else ""))
            if number + 1 < len(session):
                console.print()
        svg = console.export_svg(title="rushes", theme=MONOKAI, unique_id="rushes")
    return _FONT.sub("", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas")


def main() -> None:
    """Run, draw, write."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("RUSHES_", "GRSAI_"))
    }
    with (
        tempfile.TemporaryDirectory() as name,
        running_simulator(SimulatorKnobs(time_scale=0.03)) as simulator,
    ):
        folder = Path(name)
        (folder / "prompts.csv").write_text("\n".join(PROMPTS) + "\n")
        environment = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
            "COLUMNS": str(COLUMNS),
            "GRSAI_HOST": simulator.base_url,
            "GRSAI_API_KEY": "any",
            "RUSHES_POLL_INTERVAL_MAX_SECONDS": "1",
        }
        OUT.write_text(draw(recorded(folder, environment)))


if __name__ == "__main__":
    main()
