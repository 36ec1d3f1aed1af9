"""Operators and their sessions. Of secrets and session tokens only hashes are stored."""

import hashlib
import hmac
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from rushes.domain.errors import InputError, NotFound
from rushes.domain.operators import (
    TOUCH_SECONDS,
    UNNAMED_OPERATOR,
    Role,
    SignedIn,
    checked_name,
    session_ends_at_ms,
)
from rushes.store import action_log
from rushes.store.database import statement
from rushes.store.tables import schema

OPERATORS_MAX = 1000


def hashed(secret: str) -> str:
    """What is stored of a secret or token. They are random, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


FORMS_KEPT_MS = 30 * 86_400_000
"""Longer than any session, in which a form could be sent again."""


def take_form(connection: Connection, token: str, *, now_ms: int) -> bool:
    """Whether the form with this token does something for the first time; noted by the act's transaction."""
    table = schema.sent_forms
    connection.execute(delete(table).where(table.c.sent_at_ms < now_ms - FORMS_KEPT_MS))
    taken = connection.scalar(
        statement(
            "INSERT INTO sent_forms (token_hash, sent_at_ms) VALUES (:hash, :now)"
            " ON CONFLICT (token_hash) DO NOTHING RETURNING 1"
        ),
        {"hash": hashed(token), "now": now_ms},
    )
    return taken is not None


# --- operators ------------------------------------------------------------------------------------------


def create(connection: Connection, name: str, role: Role, *, secret: str, now_ms: int) -> None:
    """Store a new operator. Raises `InputError` for a name that is none or in use."""
    table = schema.operators
    in_use = InputError(f'there is an operator "{name}" already; revoke it first', field="name")
    if connection.scalar(select(table.c.id).where(table.c.name == name, table.c.revoked_at_ms.is_(None))):
        raise in_use
    values = {"name": checked_name(name), "role": role.value, "secret_hash": hashed(secret)}
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(**values, created_at_ms=now_ms))
    except IntegrityError:  # made by another process at the same moment
        raise in_use from None


def list_all(connection: Connection) -> list[dict[str, Any]]:
    """Operators by name, revoked ones too, each with its open sessions' count and last use."""
    table, sessions = schema.operators, schema.operator_sessions
    rows = connection.execute(select(table).order_by(table.c.name, table.c.id).limit(OPERATORS_MAX))
    seen = {
        operator_id: (count, last)
        for operator_id, count, last in connection.execute(
            select(sessions.c.operator_id, func.count(), func.max(sessions.c.seen_at_ms)).group_by(
                sessions.c.operator_id
            )
        )
    }
    found = []
    for row in rows:
        count, last = seen.get(row.id, (0, None))
        found.append({**row._mapping, "sessions": count, "seen_at_ms": last})
    return found


def revoke(connection: Connection, name: str, *, now_ms: int) -> Role:
    """Revoke the operator and end its sessions; returns the role it had. Raises `NotFound`."""
    table = schema.operators
    row = connection.execute(
        update(table)
        .where(table.c.name == name, table.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
        .returning(table.c.id, table.c.role)
    ).first()
    if row is None:
        raise NotFound(f'there is no operator "{name}"; see `rushes operators list`')
    connection.execute(
        delete(schema.operator_sessions).where(schema.operator_sessions.c.operator_id == row.id)
    )
    return Role(row.role)


def are_there(connection: Connection) -> bool:
    """Whether operators sign in by name: then the installation's secret alone is not enough."""
    table = schema.operators
    return connection.scalar(select(table.c.id).where(table.c.revoked_at_ms.is_(None)).limit(1)) is not None


# --- sessions -------------------------------------------------------------------------------------------


def sign_in(
    connection: Connection,
    *,
    name: str,
    secret: str,
    installation_secret: str,
    token: str,
    place: str,
    logs_refusal: bool = True,
    now_ms: int,
) -> SignedIn | None:
    """Open a session under the token; None when the secret is wrong. Both are acts in the log of actions, a
    refused one if `logs_refusal`.

    Without operators the installation's secret signs in as owner, whatever the name.
    """
    operator_id: int | None
    shown: str | None
    if are_there(connection):
        named = _named(connection, name)
        if named is None or not hmac.compare_digest(named.secret_hash, hashed(secret)):
            if logs_refusal:
                # a name that is nobody's is not written down: it may be a secret in the wrong field
                _log_sign_in(connection, name if named else UNNAMED_OPERATOR, place, "refused", now_ms)
            return None
        operator_id, role, shown = named.id, Role(named.role), name
    elif hashed(secret) == hashed(installation_secret):
        operator_id, role, shown = None, Role.OWNER, None
    else:
        if logs_refusal:
            _log_sign_in(connection, UNNAMED_OPERATOR, place, "refused", now_ms)
        return None
    _log_sign_in(connection, shown or UNNAMED_OPERATOR, place, "opened", now_ms)
    ends_at_ms = session_ends_at_ms(created_at_ms=now_ms, seen_at_ms=now_ms)
    connection.execute(
        delete(schema.operator_sessions).where(schema.operator_sessions.c.expires_at_ms <= now_ms)
    )
    connection.execute(
        insert(schema.operator_sessions).values(
            token_hash=hashed(token),
            operator_id=operator_id,
            secret_hash=hashed(installation_secret),
            place=place,
            created_at_ms=now_ms,
            seen_at_ms=now_ms,
            expires_at_ms=ends_at_ms,
        )
    )
    return SignedIn(shown, role, ends_at_ms)


def _named(connection: Connection, name: str) -> Any:
    """The operator of this name, if one was not revoked."""
    if not name.isprintable():  # a database may refuse such text
        return None
    table = schema.operators
    return connection.execute(
        select(table.c.id, table.c.role, table.c.secret_hash).where(
            table.c.name == name, table.c.revoked_at_ms.is_(None)
        )
    ).first()


def _log_sign_in(connection: Connection, operator: str, place: str, outcome: str, now_ms: int) -> None:
    action_log.record(
        connection,
        action_log.Actor(operator, place),
        "operator.sign-in",
        "dashboard",
        after={"session": outcome},
        now_ms=now_ms,
    )


def signed_in(
    connection: Connection, token: str, *, installation_secret: str, now_ms: int
) -> tuple[SignedIn, bool] | None:
    """Whose session the token is, and whether its use is to be stored by `touch`; None when it is over.

    It is over when it was signed out, was idle or open for too long, its operator was revoked, the
    installation's secret has changed, or it was opened with that secret and there are operators now.
    """
    sessions, table = schema.operator_sessions, schema.operators
    row = connection.execute(
        select(sessions, table.c.name, table.c.role, table.c.revoked_at_ms)
        .join_from(sessions, table, table.c.id == sessions.c.operator_id, isouter=True)
        .where(sessions.c.token_hash == hashed(token))
    ).first()
    if row is None or row.expires_at_ms <= now_ms or row.secret_hash != hashed(installation_secret):
        return None
    is_due = now_ms - row.seen_at_ms >= TOUCH_SECONDS * 1000
    if row.operator_id is not None:
        if row.revoked_at_ms is not None:
            return None
        return SignedIn(row.name, Role(row.role), row.expires_at_ms), is_due
    if are_there(connection):
        return None
    return SignedIn(None, Role.OWNER, row.expires_at_ms), is_due


def touch(connection: Connection, token: str, *, now_ms: int) -> None:
    """The session was used now: its idle time starts anew."""
    sessions = schema.operator_sessions
    row = connection.execute(
        select(sessions.c.created_at_ms).where(sessions.c.token_hash == hashed(token))
    ).first()
    if row is not None:
        ends = session_ends_at_ms(created_at_ms=row.created_at_ms, seen_at_ms=now_ms)
        connection.execute(
            update(sessions)
            .where(sessions.c.token_hash == hashed(token), sessions.c.seen_at_ms < now_ms)
            .values(seen_at_ms=now_ms, expires_at_ms=ends)
        )


def sign_out(connection: Connection, token: str) -> None:
    """End the session, in every tab and process."""
    sessions = schema.operator_sessions
    connection.execute(delete(sessions).where(sessions.c.token_hash == hashed(token)))
