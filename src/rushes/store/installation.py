"""Facts about this installation: what its migrations wrote down, whether it has one user, when its books were
proved.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Connection, text

from rushes.store import action_log
from rushes.store.action_log import Actor
from rushes.store.database import statement

WEAK_SECRETS: Final = "weak_secrets"
"""There when the database was in use before secrets had to be strong: weak ones then start until 0.3."""

BOOKS_PROVED: Final = "books_proved"
"""The last proof of the books, as JSON."""

ONE_USER: Final = "one_user"
"""There while every credit was granted by `rushes run` itself; a grant by an operator removes it."""


def takes_weak_secrets(connection: Connection) -> bool:
    """Whether it was in use before secrets had to be strong."""
    return _is_fact(connection, WEAK_SECRETS)


def has_one_user(connection: Connection, account_id: int) -> bool:
    """Whether it has never had tenants: no API key was made, there is no other account, and no operator has
    granted credits.
    """
    others = connection.scalar(
        statement(
            "SELECT EXISTS (SELECT 1 FROM api_keys) OR EXISTS (SELECT 1 FROM accounts WHERE id <> :id)"
        ),
        {"id": account_id},
    )
    if others:
        return False
    if _is_fact(connection, ONE_USER):
        return True
    return not connection.scalar(text("SELECT EXISTS (SELECT 1 FROM credit_lots)"))


def note_one_user(connection: Connection) -> None:
    """Write down that the first credits were granted by `rushes run`."""
    connection.execute(
        statement(
            "INSERT INTO installation_facts (name, value) VALUES (:name, 'yes') ON CONFLICT (name) DO NOTHING"
        ),
        {"name": ONE_USER},
    )


def note_operator(connection: Connection) -> None:
    """Write down that an operator grants credits: what there is, is meant to be all that may be spent."""
    connection.execute(statement("DELETE FROM installation_facts WHERE name = :name"), {"name": ONE_USER})


@dataclass(frozen=True, slots=True)
class Proof:
    """What the last proof of the books found, when, and who asked for it."""

    at_ms: int
    violations: int
    batches: int
    tasks: int
    operator: str


def note_proof(connection: Connection, proof: Proof, actor: Actor, *, now_ms: int) -> None:
    """Write down what a proof found, in place of the last one, and that it was made."""
    facts = asdict(proof)
    connection.execute(
        statement(
            "INSERT INTO installation_facts (name, value) VALUES (:name, :value)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": BOOKS_PROVED, "value": json.dumps(facts)},
    )
    after = {"violations": proof.violations, "batches": proof.batches, "tasks": proof.tasks}
    action_log.record(connection, actor, "books.prove", "books", after=after, now_ms=now_ms)


def last_proof(connection: Connection) -> Proof | None:
    """What the last proof found; None where none was made."""
    value = connection.scalar(
        text("SELECT value FROM installation_facts WHERE name = :name"), {"name": BOOKS_PROVED}
    )
    return None if value is None else Proof(**json.loads(value))


def _is_fact(connection: Connection, name: str) -> bool:
    return bool(
        connection.scalar(text("SELECT COUNT(*) FROM installation_facts WHERE name = :name"), {"name": name})
    )
