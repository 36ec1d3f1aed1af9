"""Uploads by account, the batches that need them, and which may go."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from rushes.domain.catalogue.media import MediaFacts, uploads_in
from rushes.domain.input.uploads import Upload
from rushes.store.database import Rows, skip_locked, statement

_NAMES = Rows(name=str)
_IDS = Rows(id=int)
_COLUMNS = (
    "public_id, sha256, content_type, bytes, width, height, duration_ms, object_key, created_at_ms,"
    " expires_at_ms"
)


def _upload(row: Row[Any]) -> Upload:
    seconds = None if row.duration_ms is None else row.duration_ms / 1000
    facts = MediaFacts(row.content_type, int(row.bytes), row.width, row.height, seconds)
    return Upload(row.public_id, row.sha256, facts, row.object_key, row.created_at_ms, row.expires_at_ms)


def live_uploads(
    connection: Connection, account_id: int, upload_ids: Iterable[str], *, now_ms: int
) -> dict[str, Upload]:
    """Those of the account's uploads that are kept at least until now, by id."""
    rows = connection.execute(
        statement(
            f"SELECT {_COLUMNS} FROM uploads WHERE account_id = :account_id AND removed_at_ms IS NULL"
            f" AND expires_at_ms > :now AND public_id IN (SELECT v.name FROM {_NAMES.sql(connection)})"
        ),
        {
            **_NAMES.parameters(connection, [(each,) for each in sorted(set(upload_ids))]),
            "account_id": account_id,
            "now": now_ms,
        },
    )
    return {row.public_id: _upload(row) for row in rows}


def kept_upload(connection: Connection, upload_id: str) -> Upload | None:
    """The upload if it is still kept: for a task that was accepted with it."""
    row = connection.execute(
        statement(f"SELECT {_COLUMNS} FROM uploads WHERE public_id = :id AND removed_at_ms IS NULL"),
        {"id": upload_id},
    ).first()
    return None if row is None else _upload(row)


def kept_facts(connection: Connection, upload_ids: Iterable[str]) -> dict[str, MediaFacts]:
    """What those of these uploads are that are still kept: for tasks that were accepted with them."""
    rows = connection.execute(
        statement(
            f"SELECT {_COLUMNS} FROM uploads WHERE removed_at_ms IS NULL"
            f" AND public_id IN (SELECT v.name FROM {_NAMES.sql(connection)})"
        ),
        _NAMES.parameters(connection, [(each,) for each in sorted(upload_ids)]),
    )
    return {row.public_id: _upload(row).facts for row in rows}


def add_or_renew(connection: Connection, account_id: int, upload: Upload) -> Upload:
    """Keep the upload until it expires; returns the row as it then is.

    One that is there stays where its bytes are, and expires no sooner than before.
    """
    facts = upload.facts
    row = connection.execute(
        statement(
            f"INSERT INTO uploads (account_id, {_COLUMNS}) VALUES (:account_id, :public_id, :sha256,"
            " :content_type, :bytes, :width, :height, :duration_ms, :object_key, :created, :expires)"
            " ON CONFLICT (public_id) DO UPDATE SET"
            " expires_at_ms = CASE WHEN uploads.expires_at_ms > excluded.expires_at_ms"
            " THEN uploads.expires_at_ms ELSE excluded.expires_at_ms END,"
            " object_key = CASE WHEN uploads.removed_at_ms IS NULL THEN uploads.object_key"
            " ELSE excluded.object_key END, removed_at_ms = NULL"
            f" RETURNING {_COLUMNS}"
        ),
        {
            "account_id": account_id,
            "public_id": upload.upload_id,
            "sha256": upload.sha256,
            "content_type": facts.content_type,
            "bytes": facts.bytes,
            "width": facts.width,
            "height": facts.height,
            "duration_ms": None if facts.duration_seconds is None else round(facts.duration_seconds * 1000),
            "object_key": upload.object_key,
            "created": upload.created_at_ms,
            "expires": upload.expires_at_ms,
        },
    ).one()
    return _upload(row)


def use_in_batch(
    connection: Connection, account_id: int, batch_id: int, upload_ids: Sequence[str], *, now_ms: int
) -> list[str]:
    """Keep these uploads while the batch is open; returns those that are not the account's or expired.

    Locks them, so that whoever removes expired ones waits.
    """
    wanted = sorted(set(upload_ids))
    if not wanted:
        return []
    names = _NAMES.parameters(connection, [(each,) for each in wanted])
    found = connection.execute(
        statement(
            "UPDATE uploads SET used_at_ms = :now WHERE account_id = :account_id AND removed_at_ms IS NULL"
            f" AND expires_at_ms > :now AND public_id IN (SELECT v.name FROM {_NAMES.sql(connection)})"
            " RETURNING id, public_id"
        ),
        {**names, "account_id": account_id, "now": now_ms},
    ).all()
    connection.execute(
        statement(
            "INSERT INTO batch_uploads (batch_id, upload_id)"
            f" SELECT CAST(:batch_id AS bigint), v.id FROM {_IDS.sql(connection)} WHERE 1 = 1"
            " ON CONFLICT (batch_id, upload_id) DO NOTHING"
        ),
        {**_IDS.parameters(connection, [(row.id,) for row in found]), "batch_id": batch_id},
    )
    there = {row.public_id for row in found}
    return [each for each in wanted if each not in there]


def renew_used(connection: Connection, account_id: int, batch_id: int, *, until_ms: int) -> None:
    """Keep the batch's uploads at least until then."""
    connection.execute(
        statement(
            "UPDATE uploads SET expires_at_ms = :until WHERE account_id = :account_id"
            " AND expires_at_ms < :until AND removed_at_ms IS NULL"
            " AND id IN (SELECT upload_id FROM batch_uploads WHERE batch_id = :batch_id)"
        ),
        {"until": until_ms, "account_id": account_id, "batch_id": batch_id},
    )


def gone_of_batch(connection: Connection, batch_id: int, *, now_ms: int) -> list[str]:
    """The batch's uploads that were removed, or are about to be: without them its items cannot be retried.

    An open batch keeps those that have expired meanwhile.
    """
    return list(
        connection.scalars(
            statement(
                "SELECT u.public_id FROM batch_uploads n JOIN uploads u ON u.id = n.upload_id"
                " JOIN batches b ON b.id = n.batch_id WHERE n.batch_id = :batch_id AND (u.removed_at_ms"
                " IS NOT NULL OR u.expires_at_ms <= :now AND b.finalized_at_ms IS NOT NULL)"
                " ORDER BY u.public_id"
            ),
            {"batch_id": batch_id, "now": now_ms},
        )
    )


# --- retention ------------------------------------------------------------------------------------------

_IS_NEEDED = (
    "EXISTS (SELECT 1 FROM batch_uploads n JOIN batches b ON b.id = n.batch_id"
    " WHERE n.upload_id = uploads.id AND b.finalized_at_ms IS NULL)"
)


def mark_removed_if_expired(connection: Connection, *, now_ms: int, limit: int) -> int:
    """Uploads that no open batch needs are given to nobody from now on; returns how many."""
    return connection.execute(
        statement(
            "UPDATE uploads SET removed_at_ms = :now WHERE removed_at_ms IS NULL AND expires_at_ms <= :now"
            f" AND NOT {_IS_NEEDED} AND id IN (SELECT id FROM uploads WHERE removed_at_ms IS NULL"
            f" AND expires_at_ms <= :now AND NOT {_IS_NEEDED} ORDER BY expires_at_ms"
            f" LIMIT :limit{skip_locked(connection)})"
        ),
        {"now": now_ms, "limit": limit},
    ).rowcount


def removed_uploads(connection: Connection, *, limit: int) -> list[tuple[int, str]]:
    """Removed uploads whose bytes may still be there: id and object key."""
    rows = connection.execute(
        statement(
            "SELECT id, object_key FROM uploads WHERE removed_at_ms IS NOT NULL AND object_key <> ''"
            " ORDER BY id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [(int(row[0]), str(row[1])) for row in rows]


def forget_bytes(connection: Connection, removed: Iterable[tuple[int, str]]) -> None:
    """Their bytes are deleted. A row goes too when no batch names it; one that came back is left alone."""
    for upload, object_key in removed:
        parameters = {"id": upload, "key": object_key}
        connection.execute(
            statement(
                "DELETE FROM uploads WHERE id = :id AND object_key = :key AND removed_at_ms IS NOT NULL"
                " AND NOT EXISTS (SELECT 1 FROM batch_uploads b WHERE b.upload_id = uploads.id)"
            ),
            parameters,
        )
        connection.execute(
            statement(
                "UPDATE uploads SET object_key = '' WHERE id = :id AND object_key = :key"
                " AND removed_at_ms IS NOT NULL"
            ),
            parameters,
        )


def uploads_of_item(connection: Connection, batch_id: int, item_index: int) -> list[str]:
    """The uploads that an item of the batch names, in any try, and neither its open one nor another item."""
    its = connection.scalars(
        statement("SELECT options FROM video_tasks WHERE batch_id = :batch_id AND item_index = :item_index"),
        {"batch_id": batch_id, "item_index": item_index},
    )
    named = {each for options in its for each in uploads_in(msgspec.json.decode(options))}
    shared = statement(
        "SELECT 1 FROM video_tasks WHERE batch_id = :batch_id AND options LIKE :named"
        " AND (item_index <> :item_index OR status IN ('pending', 'processing')) LIMIT 1"
    )
    of_batch = {"batch_id": batch_id, "item_index": item_index}
    return [
        each for each in sorted(named) if not connection.scalar(shared, of_batch | {"named": f"%{each}%"})
    ]


def expire_uploads(
    connection: Connection,
    account_id: int,
    batch_id: int | None,
    upload_ids: Iterable[str] | None = None,
    *,
    now_ms: int,
) -> int:
    """Let the account's uploads expire now, or those that only this batch of it used; returns how many.

    With `upload_ids` only those among these.
    """
    of_batch = (
        ""
        if batch_id is None
        else " AND id IN (SELECT upload_id FROM batch_uploads WHERE batch_id = :batch_id) AND NOT EXISTS"
        " (SELECT 1 FROM batch_uploads o WHERE o.upload_id = uploads.id AND o.batch_id <> :batch_id)"
    )
    among = ""
    names: Mapping[str, Any] = {}
    if upload_ids is not None:
        among = f" AND public_id IN (SELECT v.name FROM {_NAMES.sql(connection)})"
        names = _NAMES.parameters(connection, [(each,) for each in upload_ids])
    return connection.execute(
        statement(
            "UPDATE uploads SET expires_at_ms = :now WHERE account_id = :account_id"
            f" AND removed_at_ms IS NULL AND expires_at_ms > :now{of_batch}{among}"
        ),
        {
            **names,
            "now": now_ms,
            "account_id": account_id,
            **({} if batch_id is None else {"batch_id": batch_id}),
        },
    ).rowcount
