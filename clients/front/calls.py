"""What each program calls, and whether it works: a line of a table for each."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from clients.front import node

PROGRAMS: Final = Path(__file__).parent / "programs"
TYPESCRIPT: Final = Path(__file__).parent.parent / "typescript"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client; `why` says why it does not work."""

    client: str
    name: str
    why: str | None


@dataclass(frozen=True, slots=True)
class Ground:
    """Where programs run: the interpreter with the Python clients, Node's folder, and their environment."""

    python: Path
    node: Path | None
    work: Path
    environment: Mapping[str, str]


def of_python(ground: Ground, client: str, program: str) -> list[Call]:
    """The calls of a program in Python."""
    return _calls(client, [str(ground.python), str(PROGRAMS / program)], PROGRAMS, ground)


def of_node(ground: Ground, client: str, program: str) -> list[Call]:
    """The calls of a program for Node."""
    assert ground.node is not None
    for name in ("_report.mjs", program):  # Node looks for packages from where the program lies
        shutil.copy(PROGRAMS / name, ground.node)
    return _calls(client, ["node", program], ground.node, ground)


def _calls(client: str, command: Sequence[str], folder: Path, ground: Ground) -> list[Call]:
    try:
        printed = node.run(command, folder, ground.environment)
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return [Call(client, "run", said[-1][:300] if said else "it ended with an error")]
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith('{"call"')]
    return [Call(client, line["call"], line["why"]) for line in lines] or [Call(client, "run", "no call")]


def step(client: str, name: str, act: Callable[[], object]) -> Call:
    """One step as a call."""
    try:
        act()
    except (OSError, subprocess.SubprocessError, AssertionError) as error:
        said = f"{getattr(error, 'stdout', '') or ''}\n{getattr(error, 'stderr', '') or ''}".strip()
        return Call(client, name, (said or str(error))[-600:].replace("\n", " | "))
    return Call(client, name, None)


# --- generators -----------------------------------------------------------------------------------------


def of_redocly(ground: Ground) -> list[Call]:
    """The document by redocly's recommended rules: no error."""
    assert ground.node is not None
    command = [str(ground.node / "node_modules/.bin/redocly"), "lint", str(ground.work / "openapi.json")]
    return [step("redocly", "lint", lambda: node.run(command, ground.work))]


def of_openapi_typescript(ground: Ground) -> list[Call]:
    """Types from the document, and a program that needs them, compiled."""
    assert ground.node is not None
    folder = ground.node / "types"
    folder.mkdir(exist_ok=True)
    shutil.copy(PROGRAMS / "smallest.ts", folder)
    bin_, document = ground.node / "node_modules/.bin", str(ground.work / "openapi.json")
    generate = [str(bin_ / "openapi-typescript"), document, "-o", "schema.ts"]
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"]
    return [
        step("openapi-typescript", "generate", lambda: node.run(generate, folder)),
        step(
            "openapi-typescript",
            "compile the smallest batch (tsc)",
            lambda: node.run([str(bin_ / "tsc"), *options, "smallest.ts"], folder),
        ),
    ]


def of_openapi_python_client(ground: Ground) -> list[Call]:
    """A package made from the document without a warning, and three calls of it."""
    package = ground.work / "generated"
    bin_ = ground.python.parent
    command = [str(bin_ / "openapi-python-client"), "generate", "--path", str(ground.work / "openapi.json")]
    command += ["--output-path", str(package), "--overwrite", "--fail-on-warning"]
    environment = {"PATH": f"{bin_}:{Path(sys.executable).parent}:/usr/bin:/bin"}  # it formats with ruff
    made = step("openapi-python-client", "generate", lambda: node.run(command, ground.work, environment))
    if made.why is not None:
        return [made]
    own = Ground(ground.python, ground.node, ground.work, {**ground.environment, "GENERATED": str(package)})
    return [made, *of_python(own, "openapi-python-client", "generated_python.py")]


def of_own_typescript(ground: Ground) -> list[Call]:
    """rushes' own client for Node: generated types, built, tested, packed."""
    assert ground.node is not None
    folder = ground.node / "rushes-client"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TYPESCRIPT, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    bin_, document = ground.node / "node_modules/.bin", str(ground.work / "openapi.json")
    steps: list[tuple[str, list[str]]] = [
        ("generate", [str(bin_ / "openapi-typescript"), document, "-o", "src/schema.ts"]),
        ("build", [str(bin_ / "tsc")]),
        (
            "test: create, watch, resume, download, verify webhooks",
            ["node", "--test", "test/client.test.mjs"],
        ),
        ("npm pack", ["npm", "pack"]),
    ]
    client = "rushes-client (TypeScript)"
    return [
        step(client, name, partial(node.run, command, folder, ground.environment)) for name, command in steps
    ]
