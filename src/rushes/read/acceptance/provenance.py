"""Where the clips of a batch come from: for whoever has to disclose that they were made by a model."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from rushes.domain.archive import ArchiveState
from rushes.domain.notation import iso_time
from rushes.read.scope import Scope
from rushes.read.views import item_id
from rushes.store import archive, batches
from rushes.store.acceptance import manifests

STATES: Final = ("valid", "invalid", "unreadable", "none", "not_read")
"""Of a stored clip's own manifest; the last where it was stored without the extra `provenance`."""


def batch_provenance(connection: Connection, scope: Scope, public_id: str) -> dict[str, Any]:
    """`batch_id, made_by_ai, manifests, clips`: every success of the batch, all made by a model.

    `manifests` counts them by the state of their own C2PA manifest. Raises `NotFound`.
    """
    rows = batches.list_items(
        connection, scope.batch_id(connection, public_id), wanted={"status": "succeeded"}
    )
    ids = [row["id"] for row in rows]
    kept, read = archive.files_of(connection, ids), manifests.of_tasks(connection, ids)
    clips = [_clip(row, public_id, kept.get(row["id"]), read.get(row["id"])) for row in rows]
    states = Counter(clip["manifest"]["state"] for clip in clips)
    return {
        "batch_id": public_id,
        "made_by_ai": len(clips),
        "manifests": {state: states[state] for state in STATES},
        "clips": clips,
    }


def _clip(
    row: Mapping[str, Any],
    public_id: str,
    kept: Mapping[str, Any] | None,
    manifest: Mapping[str, Any] | None,
) -> dict[str, Any]:
    is_stored = kept is not None and kept["state"] == ArchiveState.STORED and not row["is_deleted"]
    return {
        "index": row["item_index"],
        "item_id": item_id(public_id, row["item_index"]),
        "custom_id": row["custom_id"],
        "made_by_ai": True,
        "model": row["model"],
        "prompt_sha256": prompt_sha256(row["prompt"]),
        "completed_at": iso_time(row["completed_at_ms"]),
        "sha256": kept["sha256"] if kept is not None and is_stored else None,
        "archive_path": kept["video_key"] if kept is not None and is_stored else None,
        "reused_from": (row["reused_from"] or {}).get("item_id"),
        "manifest": dict(manifest or {"state": "not_read"}),
    }


def prompt_sha256(prompt: str) -> str:
    """The hash of a prompt; of an erased one, which is only a hash by now, that hash."""
    prefix = "erased:sha256:"
    if prompt.startswith(prefix):
        return prompt.removeprefix(prefix)
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
