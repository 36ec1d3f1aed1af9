"""Every class that a page writes has a style, or is one that only the script looks for."""

import ast
import re
from pathlib import Path

from rushes import dashboard

FOLDER = Path(dashboard.__file__).parent
PREFIXES = {"amount-", "fill-", "is-", "series-"}
"""Starts of classes whose end is a value."""


def classes_of_pages() -> dict[str, set[str]]:
    """Each word of a `class_=` in the code of the pages, with the files that it stands in."""
    found: dict[str, set[str]] = {}
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.keyword) or node.arg != "class_":
                continue
            names = {id(part.slice) for part in ast.walk(node.value) if isinstance(part, ast.Subscript)}
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in names:
                    for word in part.value.split():
                        found.setdefault(word, set()).add(path.name)
    return found


def test_every_class_of_a_page_has_a_style() -> None:
    files = [FOLDER / "assets" / f"dashboard.{kind}" for kind in ("css", "js")]
    known = {
        word for path in files for word in re.findall(r"\.([a-zA-Z][\w-]*)", path.read_text(encoding="utf-8"))
    }
    written = classes_of_pages()
    assert len(written) > 100
    assert {word: files for word, files in written.items() if word not in known | PREFIXES} == {}
