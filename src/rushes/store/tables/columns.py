"""What columns of all tables share."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, MetaData, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only numbers rows by itself in a column declared INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")


def one_of(column: str, values: Any, *, nullable: bool = False) -> CheckConstraint:
    """The column has one of these values."""
    names = ", ".join(f"'{value}'" for value in values)
    condition = f"{column} IN ({names})"
    return CheckConstraint(f"{column} IS NULL OR {condition}" if nullable else condition, name=column)


def count(name: str) -> Column[int]:
    """A number that starts at 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))
