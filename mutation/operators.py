"""Every mutant of a source text: one small change to its syntax tree, written back into the text.

Only the bodies of functions are changed. Left alone are annotations, defaults, decorators, texts, log lines and
`assert_never`: changing them changes nothing that a test should notice.
"""

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
_WITHOUT_EFFECT = ("log", "logger", "assert_never")


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the bytes from `start` to `end` are replaced. `line` counts from 1; `what` names the operator."""

    start: int
    end: int
    replacement: str
    line: int
    what: str

    def apply(self, source: bytes) -> bytes:
        """The changed text."""
        return source[: self.start] + self.replacement.encode() + source[self.end :]


def changes(source: bytes) -> list[Change]:
    """All changes of a source text, in the order in which they stand there."""
    tree = ast.parse(source)
    finder = _Finder(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and id(node) not in finder.nested:
            finder.look_into(node)
    unique = dict.fromkeys(finder.found)
    return sorted(unique, key=lambda change: (change.start, change.end, change.replacement))


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.found: list[Change] = []
        self.nested: set[int] = set()
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def look_into(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Find the changes of a function's body, and of the functions in it."""
        for statement in function.body:
            self._visit(statement)

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.nested.add(id(node))
            self.look_into(node)
            return
        if _is_text(node) or (isinstance(node, ast.Expr) and _is_without_effect(node.value)):
            return
        self._change(node)
        for child in _children(node):
            self._visit(child)

    def _change(self, node: ast.AST) -> None:
        match node:
            case ast.expr():
                self._change_expression(node)
            case ast.stmt():
                self._change_statement(node)
            case ast.comprehension():
                for condition in node.ifs:
                    self._replace(condition, "True", "condition dropped")
            case ast.match_case(guard=ast.expr() as guard):
                self._replace(guard, "True", "condition dropped")
            case _:
                pass

    def _change_expression(self, node: ast.expr) -> None:
        match node:
            case ast.Compare(ops=[operator]):
                for other in _COMPARISONS.get(type(operator), ()):
                    self._rewrite(node, "comparison", ops=[other()])
            case ast.BoolOp(op=operator, values=values):
                swapped = ast.Or() if isinstance(operator, ast.And) else ast.And()
                self._rewrite(node, "and/or", op=swapped)
                for dropped in values:
                    left = [value for value in values if value is not dropped]
                    kept = left[0] if len(left) == 1 else ast.BoolOp(operator, left)
                    self._replace(node, f"({ast.unparse(kept)})", "operand dropped")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._replace(node, f"({ast.unparse(operand)})", "not dropped")
            case ast.BinOp(op=operator) if type(operator) in _ARITHMETIC and not _joins_text(node):
                self._rewrite(node, "arithmetic", op=_ARITHMETIC[type(operator)]())
            case ast.Constant(value=bool() as value):
                self._replace(node, str(not value), "constant")
            case ast.Constant(value=int() | float() as value):
                self._replace(node, repr(value + 1), "constant")
            case ast.Call(func=ast.Name(id=name) as function) if name in _NAMES:
                self._replace(function, _NAMES[name], "function")
            case ast.IfExp(test=test):
                self._force(test)
            case _:
                pass

    def _change_statement(self, node: ast.stmt) -> None:
        match node:
            case ast.If(test=test) | ast.While(test=test):
                self._force(test)
            case ast.Expr() | ast.Delete() | ast.Raise():
                self._replace(node, "pass", "statement dropped")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                self._replace(node, "pass", "assignment dropped")
            case ast.AugAssign(op=operator):
                self._replace(node, "pass", "assignment dropped")
                if type(operator) in _ARITHMETIC:
                    self._rewrite(node, "arithmetic", op=_ARITHMETIC[type(operator)]())
            case ast.Continue():
                self._replace(node, "break", "loop")
            case ast.Break():
                self._replace(node, "continue", "loop")
            case _:
                pass

    def _force(self, test: ast.expr) -> None:
        if any(isinstance(part, ast.NamedExpr) for part in ast.walk(test)) or isinstance(test, ast.Constant):
            return
        for value in ("True", "False"):
            self._replace(test, value, "condition forced")

    def _rewrite(self, node: ast.expr | ast.stmt, what: str, **fields: object) -> None:
        other = deepcopy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        self._replace(node, ast.unparse(other), what)

    def _replace(self, node: ast.expr | ast.stmt, replacement: str, what: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        if self._source[start:end].decode() != replacement:
            self.found.append(Change(start, end, replacement, node.lineno, what))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield node.value
        return
    if isinstance(node, ast.Lambda):
        yield node.body
        return
    yield from ast.iter_child_nodes(node)


def _is_text(node: ast.AST) -> bool:
    """Texts, put together or not, and docstrings: what they say is no behavior."""
    if isinstance(node, ast.Expr):
        node = node.value
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _joins_text(node: ast.BinOp) -> bool:
    return any(_is_text(part) for part in (node.left, node.right))


def _is_without_effect(node: ast.expr) -> bool:
    """Whether it is a call of a logger, or one that only the type checker needs."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    while isinstance(function, ast.Attribute):
        function = function.value
    return isinstance(function, ast.Name) and function.id in _WITHOUT_EFFECT


def is_another_program(source: bytes, change: Change) -> bool:
    """Whether the text after the change is still Python, and not the same program."""
    try:
        after = ast.parse(change.apply(source))
    except SyntaxError:
        return False
    return ast.dump(after) != ast.dump(ast.parse(source))


def lines_of(source: bytes, change: Change) -> range:
    """The lines of the innermost statement around the change, without the statements in it: one that executes none
    of them does not come by the change."""
    line = change.line
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(source)):  # what stands in a statement comes after it
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            within = [*getattr(node, "body", ()), *(case.pattern for case in getattr(node, "cases", ()))]
            end = min((part.lineno - 1 for part in within), default=node.end_lineno or node.lineno)
            found = range(node.lineno, max(end, line) + 1)
    return found
