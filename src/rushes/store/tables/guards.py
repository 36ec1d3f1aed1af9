"""Whether the database still refuses what it must, and whether its rows kept to that.

All of it is derived from `schema`: its constraints, its triggers, its columns. A guard that is missing,
disabled or emptied is a fault even while no row breaks it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Connection,
    Constraint,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    text,
)
from sqlalchemy.schema import Column

from rushes.store.connections.dialects import by_dialect
from rushes.store.connections.integrity import (
    failed_integrity_checks,
    failed_integrity_checks_until,
    takes_any_type,
    whole_table,
)
from rushes.store.tables import schema

FAULTS_PER_CHECK_MAX = 100
"""Rows that one check names, so that one broken table does not bury the rest of the report."""

_DECLARED = (CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint)

# words that PostgreSQL writes otherwise than we do, or adds, without a change of meaning
_NOISE = frozenset({"and", "any", "array", "between", "bigint", "constraint", "in", "text"})


@dataclass(frozen=True, slots=True)
class RowFault:
    """Rows that break a rule of the schema: the table, their key, and what is wrong."""

    table: str
    key: dict[str, Any]
    message: str


# --- the guards themselves ------------------------------------------------------------------------------


def missing_columns(connection: Connection) -> list[str]:
    """Tables and columns that `schema` declares and the database does not have, a line each."""
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    missing: list[str] = []
    for table in schema.metadata.sorted_tables:
        if table.name not in present:
            missing.append(f"table {table.name} is missing")
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        missing += [
            f"column {table.name}.{column.name} is missing"
            for column in table.columns
            if column.name not in columns
        ]
    return missing


def missing_guards(connection: Connection) -> list[str]:
    """What `schema` declares and the database does not enforce, a line each; all columns must be there."""
    trigger_faults = by_dialect(
        connection, sqlite=_sqlite_trigger_faults, postgresql=_postgresql_trigger_faults
    )
    return [
        *_columns_without_guard(connection),
        *_missing_constraints(connection),
        *trigger_faults(connection),
    ]


def _columns_without_guard(connection: Connection) -> Iterator[str]:
    inspector = inspect(connection)
    for table in schema.metadata.sorted_tables:
        nullable = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if nullable[column.name] and not column.nullable and not column.primary_key:
                yield f"column {table.name}.{column.name} takes NULL"
        unique = {index["name"] for index in inspector.get_indexes(table.name) if index["unique"]}
        for index in table.indexes:
            if index.unique and index.name not in unique:
                yield f"unique index {index.name} of {table.name} is missing"


def _missing_constraints(connection: Connection) -> Iterator[str]:
    enforced = by_dialect(connection, sqlite=_sqlite_constraints, postgresql=_postgresql_constraints)(
        connection
    )
    for table in schema.metadata.sorted_tables:
        for constraint in _constraints(table):
            name = str(constraint.name)
            found = enforced.get((table.name, name))
            if found is None:
                yield f"constraint {name} of {table.name} is missing or not valid"
            elif found != _definition(connection, constraint):
                yield f"constraint {name} of {table.name} was altered"


def _constraints(table: Table) -> list[Constraint]:
    declared = [constraint for constraint in table.constraints if isinstance(constraint, _DECLARED)]
    return sorted(declared, key=lambda constraint: str(constraint.name))


def _definition(connection: Connection, constraint: Constraint) -> str:
    """What the constraint says, in the form in which `_missing_constraints` compares."""
    dialect = connection.dialect
    sql = dialect.ddl_compiler(dialect, None).process(constraint)  # type: ignore[arg-type]
    return by_dialect(
        connection, sqlite=_squeezed(sql), postgresql=_words(sql, without={str(constraint.name)})
    )


def _squeezed(sql: str) -> str:
    """SQL without the spaces, quotes and capitals in which equal definitions may differ."""
    return re.sub(r'[\s"]', "", sql).lower()


def _words(sql: str, *, without: Iterable[str] = ()) -> str:
    """The names, literals and key words of a definition, sorted: PostgreSQL stores it in words of its own."""
    found = set(re.findall(r"\w+", sql.lower()))
    return " ".join(sorted(found - _NOISE - {name.lower() for name in without}))


def _sqlite_constraints(connection: Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    tables: dict[str, str] = {row[0]: row[1] for row in rows}
    enforced: dict[tuple[str, str], str] = {}
    for table in schema.metadata.sorted_tables:
        stored = _squeezed(tables.get(table.name) or "")
        for constraint in _constraints(table):
            name = str(constraint.name)
            definition = _definition(connection, constraint)
            if definition in stored:
                enforced[table.name, name] = definition
            elif f"constraint{name}" in stored:
                enforced[table.name, name] = "altered"
    return enforced


def _postgresql_constraints(connection: Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute(
        text(
            "SELECT c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k"
            " JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_index i ON i.indexrelid = k.conindid"
            " WHERE c.relnamespace = current_schema()::regnamespace AND k.convalidated"
            " AND (k.contype NOT IN ('p', 'u') OR (i.indisvalid AND i.indisready AND i.indisunique))"
        )
    )
    return {(row[0], row[1]): _words(row[2]) for row in rows}


def _sqlite_trigger_faults(connection: Connection) -> Iterator[str]:
    stored = {
        row[0]: _squeezed(row[1])
        for row in connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    }
    for statement in schema.sqlite_triggers():
        name = statement.split()[2]
        if name not in stored:
            yield f"trigger {name} is missing"
        elif stored[name] != _squeezed(statement):
            yield f"trigger {name} was altered"


def _postgresql_trigger_faults(connection: Connection) -> Iterator[str]:
    here = connection.scalar(text("SELECT current_schema()")) or ""
    functions = {
        row[0]: _squeezed(row[1])
        for row in connection.execute(
            text("SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace")
        )
    }
    triggers: dict[str, str] = {}
    for row in connection.execute(
        text(
            "SELECT t.tgname, c.relname, t.tgenabled, pg_get_triggerdef(t.oid) FROM pg_trigger t"
            " JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = current_schema()::regnamespace"
        )
    ):
        # O: fires for ordinary sessions, A: always; D and R would let an ordinary session pass
        if row[2] in ("O", "A"):
            triggers[row[0]] = _words(row[3], without={here})
        elif row[1] in schema.metadata.tables:
            yield f"trigger {row[0]} of {row[1]} is disabled"
    for statement in schema.postgresql_triggers():
        kind, name = statement.split()[1:3]
        name = name.rstrip("()")
        if kind == "FUNCTION":
            stored, declared = functions.get(name), _squeezed(statement.split("$$")[1])
        else:
            stored, declared = triggers.get(name), _words(statement)
        if stored is None:
            yield f"{kind.lower()} {name} is missing or disabled"
        elif stored != declared:
            yield f"{kind.lower()} {name} was altered"


# --- rows that a lost guard has let in ------------------------------------------------------------------


def damage(connection: Connection) -> list[str]:
    """What SQLite's own `integrity_check` finds: damaged pages, indexes that disagree with their table."""
    return failed_integrity_checks(connection, FAULTS_PER_CHECK_MAX)


def damage_until(connection: Connection, is_over: Callable[[], bool]) -> list[str] | None:
    """`damage`, or None when `is_over` before all of the file was checked."""
    return failed_integrity_checks_until(connection, is_over, FAULTS_PER_CHECK_MAX)


def unreadable_values(connection: Connection) -> Iterator[RowFault]:
    """Rows that hold another type than their column's; only SQLite takes such values."""
    if not takes_any_type(connection):
        return
    for table in schema.metadata.sorted_tables:
        wrong = " OR ".join(
            f"typeof({column.name}) NOT IN ({types})"
            for column in table.columns
            if (types := _sqlite_types(column)) is not None
        )
        statement = f"SELECT {_key_columns(table)} FROM {whole_table(connection, table.name)} WHERE {wrong}"
        for row in _faulty(connection, statement):
            yield RowFault(table.name, dict(row._mapping), "a value of another type than its column's")


def repeated_keys(connection: Connection) -> Iterator[RowFault]:
    """Keys that more than one row carries, found in the tables themselves and not through their indexes."""
    for table in schema.metadata.sorted_tables:
        for constraint in _constraints(table):
            if not isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
                continue
            names = ", ".join(column.name for column in constraint.columns)
            known = " AND ".join(f"{column.name} IS NOT NULL" for column in constraint.columns)
            statement = (
                f"SELECT {names}, COUNT(*) AS rows_found FROM {whole_table(connection, table.name)}"
                f" WHERE {known} GROUP BY {names} HAVING COUNT(*) > 1 ORDER BY {names}"
            )
            for row in _faulty(connection, statement):
                key = dict(row._mapping)
                count = key.pop("rows_found")
                yield RowFault(table.name, key, f"{count} rows carry this key")


def broken_references(connection: Connection) -> Iterator[RowFault]:
    """Rows whose foreign key leads nowhere."""
    for table in schema.metadata.sorted_tables:
        for constraint in _constraints(table):
            if not isinstance(constraint, ForeignKeyConstraint):
                continue
            pairs = [(element.parent.name, element.column.name) for element in constraint.elements]
            parent = constraint.referred_table.name
            join = " AND ".join(f"p.{there} = c.{here}" for here, there in pairs)
            known = " AND ".join(f"c.{here} IS NOT NULL" for here, _ in pairs)
            keys = _key_columns(table, prefix="c.", also=[here for here, _ in pairs])
            statement = (
                f"SELECT {keys} FROM {table.name} c WHERE {known}"
                f" AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {join}) ORDER BY {keys}"
            )
            for row in _faulty(connection, statement):
                yield RowFault(table.name, dict(row._mapping), f"it refers to no row of {parent}")


def _sqlite_types(column: Column[Any]) -> str | None:
    """The storage classes that the column's values may have in SQLite; None where anything goes."""
    if isinstance(column.type, Integer):
        kind = "'integer'"
    elif isinstance(column.type, Text):
        kind = "'text'"
    else:
        return None
    return f"{kind}, 'null'" if column.nullable else kind


def _key_columns(table: Table, *, prefix: str = "", also: Iterable[str] = ()) -> str:
    names = dict.fromkeys([*(column.name for column in table.primary_key.columns), *also])
    return ", ".join(prefix + name for name in names)


def _faulty(connection: Connection, statement: str) -> list[Row[Any]]:
    return list(connection.execute(text(f"{statement} LIMIT {FAULTS_PER_CHECK_MAX}")))
