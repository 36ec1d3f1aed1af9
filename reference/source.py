"""What only the source text tells: docstrings after assignments, and the arguments of calls."""

import ast
import gc
import importlib.util
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

PACKAGE = Path(str(importlib.util.find_spec("rushes").origin)).parent  # type: ignore[union-attr]


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of `module`, a path under the package such as `run/poll.py`."""
    text = (PACKAGE / module).read_text()
    # what the garbage collector runs while CPython 3.11 makes a tree can upset its count of the depth, which
    # ends in a SystemError (gh-106905)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if was_enabled:
            gc.enable()


def modules(folder: str = "") -> list[str]:
    """Every module under the folder, by its path under the package."""
    return sorted(str(path.relative_to(PACKAGE)) for path in (PACKAGE / folder).rglob("*.py"))


def assigned_docstrings(module: str, class_name: str | None = None) -> dict[str, str]:
    """Name → the string that stands right after its assignment, in the module or in one class of it."""
    body = tree_of(module).body
    if class_name is not None:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == class_name)
    found = {}
    for before, after in pairwise(body):
        match before, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = text
            case _:
                pass
    return found


def calls(folder: str = "") -> Iterator[ast.Call]:
    """Every call in the modules under the folder."""
    for module in modules(folder):
        yield from (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call))


def text_of(node: ast.expr | None) -> str | None:
    """A string literal, with … for what is filled in; None when the text is made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)  # type: ignore[misc]
        case ast.IfExp(body=body):
            return text_of(body)
        case _:
            return None
