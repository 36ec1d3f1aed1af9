"""Where SQL may stand: writes and hot statements in `store/`, SELECTs in `read/`, nothing elsewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rushes

SOURCES = Path(rushes.__file__).parent
STORE, READ = SOURCES / "store", SOURCES / "read"

ROWS_AND_TRANSACTIONS = frozenset({"Connection", "Row", "make_url"})
"""What a room without SQL takes from SQLAlchemy."""

QUESTIONS = ROWS_AND_TRANSACTIONS | {"ColumnElement", "Select", "bindparam", "func", "select", "text", "true"}
"""What `read/` takes from it."""

FOR_STATEMENTS = frozenset(
    {
        *("Rows", "statement", "update_returning", "for_update", "for_share", "skip_locked", "unindexed"),
        *("lateral", "lease_time", "rows_at_once"),
    }
)
"""Names of `store/database.py` that are for statements."""

_WRITES = re.compile(r"\b(INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|FOR\s+UPDATE)\b")


def broken_rules(source: str, *, may_ask: bool) -> Iterator[str]:
    """What a module outside of `store/` must not do, a line each; with `may_ask` it may hold SELECTs."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module="sqlalchemy"):
                names = {alias.name for alias in node.names}
                if extra := names - (QUESTIONS if may_ask else ROWS_AND_TRANSACTIONS):
                    yield f"line {node.lineno}: takes {sorted(extra)} from sqlalchemy"
            case ast.ImportFrom(module="rushes.store.database"):
                names = {alias.name for alias in node.names} & FOR_STATEMENTS
                if extra := names - ({"Rows", "statement"} if may_ask else set()):
                    yield f"line {node.lineno}: takes {sorted(extra)} from the store"
            case ast.ImportFrom(module="sqlalchemy.exc"):
                pass
            case ast.ImportFrom(module=str(module)) if module.startswith(
                ("sqlalchemy.", "sqlite3", "psycopg")
            ):
                yield f"line {node.lineno}: imports {module}"
            case ast.ImportFrom(module="rushes.store.tables", names=[ast.alias(name="guards")]):
                pass  # what the audit finds amiss
            case ast.ImportFrom(module=str(module)) if module.startswith("rushes.store.tables"):
                if not may_ask:
                    yield f"line {node.lineno}: imports tables"
            case ast.Constant(value=str(text)) if _WRITES.search(text):
                yield f"line {node.lineno}: writes: {text[:40]!r}"
            case ast.Call(
                func=ast.Attribute(attr="insert" | "delete", value=ast.Attribute(value=ast.Name("schema")))
            ):
                yield f"line {node.lineno}: writes a table"
            case _:
                pass


def test_sql_stands_in_the_store_and_questions_in_the_read_model() -> None:
    broken = [
        f"{path.relative_to(SOURCES)} {rule}"
        for path in sorted(SOURCES.rglob("*.py"))
        if not path.is_relative_to(STORE)
        for rule in broken_rules(path.read_text(), may_ask=path.is_relative_to(READ))
    ]
    assert broken == []


def test_only_the_store_asks_which_database_it_is() -> None:
    asking = [
        path.relative_to(STORE).as_posix()
        for path in sorted(STORE.rglob("*.py"))
        if "migrations/versions" not in path.as_posix()
        and re.search(r"\bby_dialect\b|dialect\.name\b|\bis_postgresql\b", path.read_text())
    ]
    assert [name for name in asking if not name.startswith("connections/")] == [
        "database.py",
        "tables/guards.py",
    ]


@pytest.mark.parametrize(
    ("source", "may_ask"),
    [
        ("from sqlalchemy import select", False),
        ("from sqlalchemy import insert", True),
        ("from rushes.store.database import statement", False),
        ("from rushes.store.database import for_update", True),
        ("from rushes.store.tables import schema", False),
        ("SQL = 'INSERT INTO batches (id) VALUES (1)'", True),
        ("connection.execute(schema.batches.insert().values(id=1))", True),
        ("from sqlalchemy.dialects import postgresql", True),
    ],
)
def test_a_broken_rule_is_seen(source: str, may_ask: bool) -> None:
    assert len(list(broken_rules(source, may_ask=may_ask))) == 1
    assert list(broken_rules("from sqlalchemy import Connection", may_ask=may_ask)) == []
