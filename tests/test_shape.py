"""The house keeps its shape: no drawer, no long file or function, no circle, a purpose for every room."""

import ast
import re
from pathlib import Path

import pytest
from reference.rooms import (
    FILES_MAX,
    FUNCTION_LINES_MAX,
    MODULE_LINES_MAX,
    PACKAGES,
    Module,
    circles_of,
    import_graph,
    module_at,
    modules_of,
    rooms_of,
)

SOURCE = Path(__file__).parent.parent / "src" / "rushes"
KEPT_AS_WRITTEN = "rushes.store.migrations.versions"
"""One file for each change of the schema, never edited again: their length and number are as they are."""


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return [module for package in PACKAGES for module in modules_of(package)]


def test_no_room_is_a_drawer_and_each_says_its_purpose(modules: list[Module]) -> None:
    rooms = rooms_of(modules, import_graph(*PACKAGES))
    assert {room.name for room in rooms} >= {"rushes.run", "rushes.domain.catalogue.families", "simulation"}
    ours = [room for room in rooms if not room.name.startswith(KEPT_AS_WRITTEN)]
    full = {room.name for room in ours if len(room.modules) > FILES_MAX}
    assert full == set()
    assert [room.name for room in rooms if not room.purpose] == []


def test_no_module_and_no_function_is_long(modules: list[Module]) -> None:
    ours = [module for module in modules if not module.room.startswith(KEPT_AS_WRITTEN)]
    assert {module.name for module in ours if module.lines > MODULE_LINES_MAX} == set()
    functions = [function for module in ours for function in module.functions]
    assert {one.name for one in functions if one.lines > FUNCTION_LINES_MAX} == set()


def test_no_module_imports_itself_through_others() -> None:
    # `rushes` itself names the library's classes, and imports each only when it is asked for
    assert circles_of(import_graph(*PACKAGES), apart=frozenset({"rushes"})) == []


def test_a_circle_a_long_function_and_a_missing_purpose_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "crooked"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "one.py").write_text('"""One."""\n\nfrom crooked import two\n\nX = two\n')
    (room / "two.py").write_text("def f() -> object:\n    from crooked.three import Y\n\n    return Y\n")
    (room / "three.py").write_text("from crooked.one import X\n\nY = X\n")
    monkeypatch.syspath_prepend(tmp_path)
    graph = import_graph("crooked")
    assert [set(circle) for circle in circles_of(graph)] == [{"crooked.one", "crooked.two", "crooked.three"}]
    (found,) = rooms_of(modules_of("crooked"), graph)
    assert found.purpose == ""
    assert len(found.modules) == 4
    function = module_at(room / "two.py", "crooked.two").functions[0]
    assert (function.name, function.lines) == ("crooked.two.f", 4)


def test_no_docstring_only_points_elsewhere() -> None:
    pointing = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and re.fullmatch(r"See `[\w.]+`\.?", ast.get_docstring(node) or "")
    ]
    assert pointing == []
