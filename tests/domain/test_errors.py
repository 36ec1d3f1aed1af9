"""The tree of errors is the one that `domain/errors.py` draws, and each answers "may I retry?"."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import rushes
from rushes.domain import errors
from rushes.domain.errors import RushesError

SIGNALS = {
    "AboutAnotherTask",
    "BrokenAnswer",
    "BrokenStream",
    "NoCredentials",
    "ProxyRefused",
    "SentTwice",
    "TransportError",
}
"""Exceptions outside the tree that leave their module; each becomes an outcome before a caller sees it."""


def drawn() -> dict[str, tuple[str | None, bool]]:
    """Name → parent and whether the drawing says retryable."""
    found: dict[str, tuple[str | None, bool]] = {}
    path: list[str] = []
    for line in str(errors.__doc__).splitlines():
        branch = re.fullmatch(r" {4}([│├└─ ]*)(\w+) {2,}.*?( {2,}retryable)?", line)
        if branch is None:
            continue
        depth = len(branch[1]) // 4
        del path[depth:]
        assert branch[2] not in found, f"{branch[2]} is drawn twice"
        found[branch[2]] = (path[-1] if path else None, branch[3] is not None)
        path.append(branch[2])
    return found


def exceptions() -> Iterator[type[BaseException]]:
    for module in pkgutil.walk_packages(rushes.__path__, "rushes."):
        if not module.name.startswith("rushes.store.migrations.") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
        for inner in kind.__subclasses__():
            yield inner
            yield from below(inner)

    yield from (kind for kind in set(below(BaseException)) if kind.__module__.startswith("rushes."))


def test_the_drawing_is_the_tree() -> None:
    tree: dict[str, tuple[str | None, bool]] = {"RushesError": (None, False)}
    for kind in exceptions():
        if issubclass(kind, RushesError) and kind is not RushesError:
            (parent,) = (base for base in kind.__bases__ if issubclass(base, RushesError))
            assert kind.__name__ not in tree, f"two errors are called {kind.__name__}"
            tree[kind.__name__] = (parent.__name__, kind.retryable)
    assert drawn() == tree


def test_what_is_outside_the_tree_does_not_reach_a_caller() -> None:
    outside = {kind.__name__ for kind in exceptions() if not issubclass(kind, RushesError)}
    assert {name for name in outside if not name.startswith("_")} == SIGNALS


def test_every_code_stands_for_one_class_and_what_derives_from_it() -> None:
    owners: dict[str, type[RushesError]] = {}
    for kind in sorted(exceptions(), key=lambda kind: len(kind.__mro__)):
        if issubclass(kind, RushesError) and "code" in vars(kind):
            assert owners.setdefault(kind.code, kind) is kind
            assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.code)
    assert len(owners) > 25
