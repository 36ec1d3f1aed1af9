"""The shape of the house: `python -m reference.rooms` prints each room's size and imports.

A room is a folder with Python files. `tests/test_shape.py` holds the limits below; import-linter holds which
room may import which.
"""

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grimp

PACKAGES: Final = ("rushes", "simulation", "reference", "mutation")
FILES_MAX: Final = 16
"""Python files in a room, `__init__.py` included."""

MODULE_LINES_MAX: Final = 450
FUNCTION_LINES_MAX: Final = 60
"""From `def` to the last line, docstring included."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method and its length."""

    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class Module:
    """One file: its dotted name, its length, its docstring, its functions."""

    name: str
    is_package: bool
    lines: int
    docstring: str | None
    functions: tuple[Function, ...]

    @property
    def room(self) -> str:
        """The dotted name of the folder that the file is in."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def longest_function_lines(self) -> int:
        """0 without functions."""
        return max((function.lines for function in self.functions), default=0)


@dataclass(frozen=True, slots=True)
class Room:
    """A folder: its modules, the modules outside that it imports, and those outside that import it."""

    name: str
    modules: tuple[Module, ...]
    imports_out: frozenset[str]
    imports_in: frozenset[str]

    @property
    def purpose(self) -> str:
        """The first line of the docstring of `__init__`; empty without one."""
        texts = [module.docstring for module in self.modules if module.is_package]
        return (texts[0] or "").partition("\n")[0] if texts else ""


def module_at(path: Path, name: str) -> Module:
    """What one source file says of itself."""
    text = path.read_text()
    tree = ast.parse(text)
    functions = tuple(
        Function(f"{name}.{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lines = len(text.splitlines())
    return Module(name, path.name == "__init__.py", lines, ast.get_docstring(tree), functions)


def modules_of(package: str) -> list[Module]:
    """Every module of an importable package, by name."""
    folder = Path(str(importlib.util.find_spec(package).origin)).parent  # type: ignore[union-attr]
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join((package, *(part for part in parts if part != "__init__")))
        found.append(module_at(path, name))
    return found


def import_graph(*packages: str) -> grimp.ImportGraph:
    """Who imports whom, within functions and for type checking too."""
    return grimp.build_graph(*packages, cache_dir=None)


def rooms_of(modules: list[Module], graph: grimp.ImportGraph) -> list[Room]:
    """The modules by their folder, with what crosses its boundary."""
    by_room: dict[str, list[Module]] = {}
    for module in modules:
        by_room.setdefault(module.room, []).append(module)
    rooms = []
    for name, inside in sorted(by_room.items()):
        names = {module.name for module in inside} & graph.modules
        out = {other for one in names for other in graph.find_modules_directly_imported_by(one)}
        into = {other for one in names for other in graph.find_modules_that_directly_import(one)}
        rooms.append(Room(name, tuple(inside), frozenset(out - names), frozenset(into - names)))
    return rooms


def circles_of(graph: grimp.ImportGraph, *, apart: frozenset[str] = frozenset()) -> list[tuple[str, ...]]:
    """The shortest ways on which modules import themselves through others, none through those `apart`."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for module in sorted(graph.modules - apart):
        for imported in sorted(graph.find_modules_directly_imported_by(module) - apart):
            back = graph.find_shortest_chain(imported, module)
            if back and not apart.intersection(back):
                found.setdefault(frozenset(back), (module, *back))
    return sorted(found.values())


def main() -> None:
    """Print the table of rooms, and a sum for each package."""
    graph = import_graph(*PACKAGES)
    print(f"{'room':38} {'files':>5} {'lines':>6} {'longest file':>12} {'function':>8} {'in':>4} {'out':>4}")
    for package in PACKAGES:
        modules = modules_of(package)
        for room in rooms_of(modules, graph):
            lines = [module.lines for module in room.modules]
            function = max(module.longest_function_lines for module in room.modules)
            print(
                f"{room.name:38} {len(lines):5} {sum(lines):6} {max(lines):12} {function:8}"
                f" {len(room.imports_in):4} {len(room.imports_out):4}"
            )
        print(f"{package + ', in all':38} {len(modules):5} {sum(module.lines for module in modules):6}\n")
    for circle in circles_of(graph, apart=frozenset({"rushes"})):
        print("circle:", " → ".join(circle))


if __name__ == "__main__":
    main()
