"""Files of requests that tenants upload, and which batch was made from which."""

import zlib
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from rushes.domain.errors import InputError, NotFound
from rushes.store.database import statement
from rushes.store.tables.request_files import file_batches, request_files

FILES_PER_ACCOUNT_MAX: Final = 100
BYTES_PER_ACCOUNT_MAX: Final = 512 * 1024 * 1024
"""Of the files as they came."""

_c = request_files.c
_FACTS: Final = (_c.public_id, _c.file_name, _c.bytes, _c.created_at_ms, _c.expires_at_ms)


def add(
    connection: Connection,
    account_id: int,
    *,
    public_id: str,
    file_name: str,
    size_bytes: int,
    compressed: bytes,
    expires_at_ms: int,
    now_ms: int,
) -> None:
    """Keep a file. Raises `InputError` when the account keeps as many as it may."""
    kept = connection.execute(
        select(func.count(), func.coalesce(func.sum(_c.bytes), 0)).where(
            _c.account_id == account_id, _c.expires_at_ms > now_ms
        )
    ).one()
    if kept[0] >= FILES_PER_ACCOUNT_MAX or kept[1] + size_bytes > BYTES_PER_ACCOUNT_MAX:
        raise InputError(
            f"the account keeps {kept[0]} files of {kept[1]} bytes, and may keep {FILES_PER_ACCOUNT_MAX} of"
            f" {BYTES_PER_ACCOUNT_MAX}; delete some",
            field="file",
        )
    connection.execute(
        insert(request_files).values(
            public_id=public_id,
            account_id=account_id,
            file_name=file_name,
            bytes=size_bytes,
            content=compressed,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
    )


def facts_of(connection: Connection, account_id: int, public_id: str, *, now_ms: int) -> dict[str, Any]:
    """A file without its content. Raises `NotFound`."""
    row = connection.execute(
        select(*_FACTS).where(
            _c.public_id == public_id, _c.account_id == account_id, _c.expires_at_ms > now_ms
        )
    ).first()
    if row is None:
        raise NotFound("there is no such file")
    return dict(row._mapping)


def content_of(connection: Connection, account_id: int, public_id: str, *, now_ms: int) -> tuple[str, bytes]:
    """A file's name, and its bytes as they came. Raises `NotFound`."""
    facts = facts_of(connection, account_id, public_id, now_ms=now_ms)
    compressed = connection.scalar(select(_c.content).where(_c.public_id == public_id))
    return facts["file_name"], zlib.decompress(bytes(compressed or b""))


def page(
    connection: Connection, account_id: int, *, limit: int, after: str | None, ascending: bool, now_ms: int
) -> tuple[list[dict[str, Any]], bool]:
    """Files without their content, and whether there are more. Raises `NotFound` for the cursor."""
    query = select(*_FACTS).where(_c.account_id == account_id, _c.expires_at_ms > now_ms)
    if after is not None:
        cursor = connection.scalar(select(_c.id).where(_c.public_id == after, _c.account_id == account_id))
        if cursor is None:
            raise NotFound("there is no such file")
        query = query.where(_c.id > cursor if ascending else _c.id < cursor)
    query = query.order_by(_c.id if ascending else _c.id.desc()).limit(limit + 1)
    rows = [dict(row._mapping) for row in connection.execute(query)]
    return rows[:limit], len(rows) > limit


def remove(connection: Connection, account_id: int, public_id: str) -> None:
    """Delete a file; batches that were made from it go on. Raises `NotFound`."""
    found = connection.execute(
        delete(request_files).where(_c.public_id == public_id, _c.account_id == account_id)
    )
    if not found.rowcount:
        raise NotFound("there is no such file")


def remove_expired(connection: Connection, now_ms: int) -> int:
    """Delete what nobody can see any more; returns how many."""
    expired = statement("DELETE FROM request_files WHERE expires_at_ms <= :now")
    return connection.execute(expired, {"now": now_ms}).rowcount


def remove_of_account(connection: Connection, account_id: int, batch_id: int | None = None) -> int:
    """Delete the account's files, or the one that a batch was made from; returns how many."""
    query = delete(request_files).where(_c.account_id == account_id)
    if batch_id is not None:
        of_batch = select(file_batches.c.input_file_id).where(file_batches.c.batch_id == batch_id)
        query = query.where(_c.public_id.in_(of_batch))
    return connection.execute(query).rowcount


def note_batch(connection: Connection, batch_id: int, *, input_file_id: str, completion_window: str) -> None:
    """The batch was made from this file."""
    connection.execute(
        insert(file_batches).values(
            batch_id=batch_id, input_file_id=input_file_id, completion_window=completion_window
        )
    )
