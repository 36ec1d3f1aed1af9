"""How often each branch of the engine is met: what a simulation never reaches it cannot judge.

The functions of the modules in `ROOMS` get new code, compiled from their own source with a counter at the start
of each branch. Nothing else of them changes: a run has the same log with it. `python -m simulation --reach`
prints the table, `--write FILE` puts it between the marks in a page.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from rushes.money import settle
from rushes.run import adopt, commit, nudges, shares, tick, unconfirmed, upkeep, worker
from rushes.run.lane import claim, fairness, lane, poll, send
from simulation.exempt import EXEMPT

ROOMS: dict[str, tuple[ModuleType, ...]] = {
    "dispatch": (claim, fairness, lane, send),
    "poll": (poll,),
    "settle": (commit, settle),
    "adopt": (adopt, shares, unconfirmed),
    "callbacks": (nudges,),
    "upkeep": (worker, tick, upkeep),
}
"""Which modules' branches are counted, and the name of their part: the only place that names them."""

MET_MIN = 50
"""How often each branch must be met in 100,000 tasks."""

MARKS = ("<!-- reach: made by python -m simulation --reach -->", "<!-- reach: end -->")

_COUNTS = "__reach__"
_TEXT_MAX = 90


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch. `where` is the function, `what` its condition and the way that is taken."""

    room: str
    where: str
    what: str

    @property
    def name(self) -> str:
        """The function and the branch, without the module: it stays the same when modules move."""
        return f"{self.where}: {self.what}"


class Reach:
    """Counters in the branches of all functions of `rooms`, from now on."""

    def __init__(self, rooms: dict[str, tuple[ModuleType, ...]]) -> None:
        self.branches: list[Branch] = []
        self._counts: list[int] = []
        counted = [
            each
            for room, modules in rooms.items()
            for module in modules
            for each in self._counted(room, module)
        ]
        # what runs meanwhile in other threads finds its counter from the first moment on
        self._counts.extend([0] * len(self.branches))
        for function, code in counted:
            function.__code__ = code

    def take(self) -> list[int]:
        """How often each branch was met since the last call, in the order of `branches`."""
        counts = list(self._counts)
        self._counts[:] = [0] * len(counts)
        return counts

    def _counted(self, room: str, module: ModuleType) -> Iterator[tuple[FunctionType, CodeType]]:
        """The module's functions and their code with counters, which stand in its globals already."""
        file = module.__file__
        assert file is not None
        tree = ast.parse(Path(file).read_bytes())
        _Counting(room, self.branches).visit(tree)
        whole = compile(ast.fix_missing_locations(tree), file, "exec")
        module.__dict__[_COUNTS] = self._counts
        codes = {(code.co_qualname, code.co_firstlineno): code for code in _codes(whole)}
        for function in _functions(module):
            old = function.__code__
            new = codes.get((old.co_qualname, old.co_firstlineno))
            if old.co_filename == file and new is not None:
                yield function, new


@cache
def installed() -> Reach:
    """The counters of this operating-system process."""
    return Reach(ROOMS)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _functions(owner: ModuleType | type) -> Iterator[FunctionType]:
    for value in list(vars(owner).values()):
        for one in (value, *(getattr(value, name, None) for name in ("__func__", "fget", "__wrapped__"))):
            if isinstance(one, FunctionType):
                yield one
        if isinstance(value, type) and isinstance(owner, ModuleType) and value.__module__ == owner.__name__:
            yield from _functions(value)


class _Counting(ast.NodeTransformer):
    """Puts a counter at the start of each branch."""

    def __init__(self, room: str, branches: list[Branch]) -> None:
        self._room, self._branches = room, branches
        self._where: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        """Names what is in it."""
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return node
        return self._within(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """The function itself is a branch."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        """The function itself is a branch."""
        return self._function(node)

    def _function(self, node: Any) -> Any:
        self._within(node, "called")
        return node

    def _within(self, node: Any, what: str | None = None) -> Any:
        self._where.append(node.name)
        if what is not None:
            number = self._number(what)
        self.generic_visit(node)
        if what is not None:
            at = 1 if ast.get_docstring(node, clean=False) is not None else 0
            node.body.insert(at, self._counter(number))
        self._where.pop()
        return node

    def visit_If(self, node: ast.If) -> Any:
        """Both ways, also the one that is not written down."""
        text = f"if {ast.unparse(node.test)}"
        yes = self._number(f"{text}: yes")
        no = self._number(f"{text}: no")
        self.generic_visit(node)
        node.body.insert(0, self._counter(yes))
        node.orelse.insert(0, self._counter(no))
        return node

    def visit_While(self, node: ast.While) -> Any:
        """A turn of the loop."""
        return self._counted(node, f"while {ast.unparse(node.test)}: a turn")

    def visit_For(self, node: ast.For) -> Any:
        """A turn of the loop."""
        return self._counted(node, f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}: a turn")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        """The error was raised."""
        return self._counted(node, f"except {ast.unparse(node.type) if node.type else ''}".rstrip())

    def visit_match_case(self, node: ast.match_case) -> Any:
        """The pattern matched; a case that only the type checker needs is no branch."""
        if _is_unreachable(node.body):
            return node
        guard = f" if {ast.unparse(node.guard)}" if node.guard is not None else ""
        return self._counted(node, f"case {ast.unparse(node.pattern)}{guard}")

    def _counted(self, node: Any, what: str) -> Any:
        number = self._number(what)
        self.generic_visit(node)
        node.body.insert(0, self._counter(number))
        return node

    def _number(self, what: str) -> int:
        if len(what) > _TEXT_MAX:
            half = _TEXT_MAX // 2
            what = f"{what[:half]} … {what[-half:]}"
        self._branches.append(Branch(self._room, ".".join(self._where), what))
        return len(self._branches) - 1

    @staticmethod
    def _counter(number: int) -> ast.stmt:
        [statement] = ast.parse(f"{_COUNTS}[{number}] += 1").body
        return statement


def _is_unreachable(body: Sequence[ast.stmt]) -> bool:
    match body:
        case [ast.Expr(value=ast.Call(func=ast.Name(id="assert_never")))]:
            return True
        case _:
            return False


# --- the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reached:
    """What was met in so many tasks."""

    branches: Sequence[Branch]
    counts: Sequence[int]
    tasks: int

    @property
    def needed(self) -> float:
        """How often each branch must have been met."""
        return MET_MIN * self.tasks / 100_000

    def missed(self) -> list[tuple[Branch, int]]:
        """Branches that were met too seldom, and for which that is not exempted."""
        pairs = zip(self.branches, self.counts, strict=True)
        return [(branch, n) for branch, n in pairs if n < self.needed and branch.name not in EXEMPT]

    def stale_exemptions(self) -> list[str]:
        """Exemptions of branches that are not there any more."""
        return sorted(set(EXEMPT) - {branch.name for branch in self.branches})

    def table(self) -> str:
        """All branches and their counts, in Markdown."""
        lines = [
            f"Branches met in {self.tasks:,} tasks; each must be met {MET_MIN} times in 100,000.",
            "",
            "| part | branches | met often enough | exempt | seldom |",
            "|---|---:|---:|---:|---:|",
        ]
        for room in dict.fromkeys(branch.room for branch in self.branches):
            mine = [(b, n) for b, n in zip(self.branches, self.counts, strict=True) if b.room == room]
            often = sum(n >= self.needed for _, n in mine)
            exempt = sum(n < self.needed and b.name in EXEMPT for b, n in mine)
            lines.append(f"| {room} | {len(mine)} | {often} | {exempt} | {len(mine) - often - exempt} |")
        for room in dict.fromkeys(branch.room for branch in self.branches):
            lines += ["", f"| {room}: branch | met |", "|---|---:|"]
            for branch, n in zip(self.branches, self.counts, strict=True):
                if branch.room == room:
                    why = f" ({EXEMPT[branch.name]})" if n < self.needed and branch.name in EXEMPT else ""
                    text = branch.what.replace("|", "\\|")
                    lines.append(f"| `{branch.where}` · `{text}`{why} | {n:,} |")
        return "\n".join(lines)


def put_into(page: Path, table: str) -> None:
    """Replace what stands between the marks in a page. Raises `ValueError` when it has no marks."""
    text = page.read_text()
    start, end = (text.find(mark) for mark in MARKS)
    if start < 0 or end < start:
        raise ValueError(f"{page} has no line {MARKS[0]!r} before a line {MARKS[1]!r}")
    page.write_text(f"{text[:start]}{MARKS[0]}\n\n{table}\n\n{text[end:]}")
