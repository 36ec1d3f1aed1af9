"""Operators and sessions on both databases: who is let in, as what, and until when."""

import pytest
from sqlalchemy import Connection, text

from rushes.domain.errors import InputError, NotFound
from rushes.domain.operators import SESSION_IDLE_SECONDS, SESSION_SECONDS_MAX, Role, SignedIn
from rushes.store import action_log, operators
from rushes.store.database import Database

SECRET = "the-installations-own-secret"
NOW = 1_800_000_000_000


def sign_in(database: Database, name: str, secret: str, token: str, now_ms: int = NOW) -> SignedIn | None:
    """A session under the token, if the secret is right."""
    return database.run(
        operators.sign_in,
        name=name,
        secret=secret,
        installation_secret=SECRET,
        token=token,
        place="192.0.2.1",
        now_ms=now_ms,
    )


def who(database: Database, token: str, now_ms: int = NOW, secret: str = SECRET) -> SignedIn | None:
    """Whose session it is now."""
    found = database.run_reading(operators.signed_in, token, installation_secret=secret, now_ms=now_ms)
    return None if found is None else found[0]


def create(database: Database, name: str, role: Role, secret: str) -> None:
    """An operator."""
    database.run(operators.create, name, role, secret=secret, now_ms=NOW)


def test_the_installations_secret_is_the_owners_until_there_is_an_operator(database: Database) -> None:
    assert sign_in(database, "", "wrong", "t0") is None
    opened = sign_in(database, "", SECRET, "t1")
    assert opened is not None
    assert (opened.name, opened.role) == (None, Role.OWNER)
    assert who(database, "t1") == opened
    create(database, "ann", Role.OPERATOR, "anns-secret")
    assert who(database, "t1") is None
    assert sign_in(database, "", SECRET, "t2") is None
    assert sign_in(database, "ann", SECRET, "t2") is None
    assert sign_in(database, "bob", "anns-secret", "t2") is None
    found = sign_in(database, "ann", "anns-secret", "t2")
    assert found is not None
    assert (found.name, found.role) == ("ann", Role.OPERATOR)


def test_a_session_ends_by_idling_by_age_by_signing_out_and_by_another_secret(database: Database) -> None:
    for token in ("idle", "old", "out", "changed"):
        assert sign_in(database, "", SECRET, token) is not None
    idle_ms = SESSION_IDLE_SECONDS * 1000
    assert who(database, "idle", NOW + idle_ms - 1) is not None
    assert who(database, "idle", NOW + idle_ms) is None
    at = NOW
    while at < NOW + SESSION_SECONDS_MAX * 1000 - idle_ms // 2:
        at += idle_ms // 2
        assert who(database, "old", at) is not None, at - NOW
        database.run(operators.touch, "old", now_ms=at)
    assert who(database, "old", NOW + SESSION_SECONDS_MAX * 1000) is None
    database.run(operators.sign_out, "out")
    assert who(database, "out") is None
    assert who(database, "changed", secret="another-installation-secret") is None
    assert who(database, "changed") is not None
    assert who(database, "never") is None


def test_a_revoked_operator_is_out_at_once_and_the_name_is_free(database: Database) -> None:
    create(database, "ann", Role.OWNER, "first-secret")
    create(database, "bob", Role.VIEWER, "bobs-secret")
    assert sign_in(database, "ann", "first-secret", "t") is not None
    with pytest.raises(InputError, match="already"):
        create(database, "ann", Role.VIEWER, "x")
    assert database.run(operators.revoke, "ann", now_ms=NOW) is Role.OWNER
    assert who(database, "t") is None
    assert sign_in(database, "ann", "first-secret", "t2") is None
    with pytest.raises(NotFound, match="no operator"):
        database.run(operators.revoke, "ann", now_ms=NOW)
    create(database, "ann", Role.VIEWER, "second-secret")
    found = sign_in(database, "ann", "second-secret", "t3")
    assert found is not None
    assert found.role is Role.VIEWER
    rows = database.run_reading(operators.list_all)
    assert [(row["name"], row["role"], row["sessions"]) for row in rows] == [
        ("ann", "owner", 0),
        ("ann", "viewer", 1),
        ("bob", "viewer", 0),
    ]


@pytest.mark.parametrize("name", ["", " ann", "a" * 65, "a\nb", "\u202eann"])
def test_a_name_that_is_none_is_refused(database: Database, name: str) -> None:
    with pytest.raises(InputError):
        create(database, name, Role.OWNER, "s")


def test_a_role_allows_what_those_below_it_do() -> None:
    allowed = {(role, needed) for role in Role for needed in Role if role.allows(needed)}
    viewer, operator, owner = Role
    assert allowed == {
        (viewer, viewer),
        (operator, viewer),
        (operator, operator),
        (owner, viewer),
        (owner, operator),
        (owner, owner),
    }


def test_no_secret_or_token_is_stored_in_clear(database: Database) -> None:
    create(database, "ann", Role.OWNER, "anns-very-own-secret")
    assert sign_in(database, "ann", "anns-very-own-secret", "the-token") is not None
    rows = [*database.run_reading(rows_of, "operators"), *database.run_reading(rows_of, "operator_sessions")]
    assert len(rows) == 2
    assert not [row for row in rows if "anns-very" in row or "the-token" in row or SECRET in row]


def rows_of(connection: Connection, table: str) -> list[str]:
    """The table's rows as text."""
    return [str(tuple(row)) for row in connection.execute(text(f"SELECT * FROM {table}"))]


def test_sign_ins_and_refused_ones_are_in_the_log_of_actions(database: Database) -> None:
    assert sign_in(database, "anything", SECRET, "t1") is not None
    assert sign_in(database, "the-secret-in-the-wrong-field", "x", "t2") is None
    create(database, "ann", Role.VIEWER, "anns-secret")
    assert sign_in(database, "ann", "anns-secret", "t3") is not None
    assert sign_in(database, "ann", "wrong", "t4") is None
    assert sign_in(database, "another-secret\0", "wrong", "t5") is None
    logged = database.run_reading(action_log.newest, limit=10)
    assert [(row["operator"], row["after"]["session"]) for row in reversed(logged)] == [
        ("operator", "opened"),
        ("operator", "refused"),
        ("ann", "opened"),
        ("ann", "refused"),
        ("operator", "refused"),
    ]
    assert {(row["action"], row["subject"], row["place"], row["at_ms"]) for row in logged} == {
        ("operator.sign-in", "dashboard", "192.0.2.1", NOW)
    }
    assert "secret" not in str(logged)
