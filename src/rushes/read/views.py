"""Rows as the world sees them: the field names of the HTTP API, for every front end."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rushes.domain.archive import ArchiveState
from rushes.domain.margin import Valuation
from rushes.domain.notation import iso_time
from rushes.domain.task import SUBMIT_OUTCOME_UNKNOWN, TIMEOUT, BatchStatus, TaskStatus
from rushes.domain.trouble import kind_of, neutral
from rushes.files.links import duration_seconds, lasting_links
from rushes.read.batch_views import batch_view as batch_view
from rushes.read.margins import item_margin
from rushes.store.acceptance.choices import decode_chosen

EXPORT_FIELDS = (
    "index",
    "item_id",
    "custom_id",
    "prompt",
    "model",
    "status",
    "error",
    "failure_type",
    "attempt",
    "remote_task_id",
    "video_url",
    "credits",
    "verdict",
    "verdict_reasons",
    "content_url",
    "archive_path",
    "sha256",
    "bytes",
    "width",
    "height",
    "duration_seconds",
    "expires_at",
    "further_paths",
)
"""The columns of a batch's export, in order."""

EXPORT_COLUMNS = ("id", "batch_id", "item_index", *EXPORT_FIELDS[2 : EXPORT_FIELDS.index("verdict")])
"""What `export_view` and those who fetch its rows read of a task's row."""

EXPORT_FILE_COLUMNS = (
    "state",
    "link_dies_at_ms",
    "video_key",
    "sha256",
    "bytes",
    "width",
    "height",
    "duration_ms",
)
"""What it reads of the row of a task's file; no column of a task's row has such a name."""

_NOTHING_STORED = dict.fromkeys(("archive_path", "sha256", "bytes", "width", "height", "duration_seconds"))

OPERATOR_EXPORT_FIELDS = (
    *EXPORT_FIELDS,
    "trouble",
    "expected_cost",
    "actual_cost",
    "cost_currency",
    "provider_cost",
    "provider_cost_unit",
    "margin",
    "margin_currency",
)
"""The same for operators: also the words of the last answer that was not understood, and the money."""

OPEN_BATCH_STATUSES = frozenset({BatchStatus.PENDING.value, BatchStatus.PROCESSING.value})


def runs_on(processing_count: int) -> str:
    """What a cancelled batch still has at the provider, as the end of a sentence; empty when nothing."""
    match processing_count:
        case 0:
            return ""
        case 1:
            return "; 1 task is at the provider, runs on, and may be charged"
        case count:
            return f"; {count:,} tasks are at the provider, run on, and may be charged"


def item_id(batch_public_id: str, item_index: int) -> str:
    """The public name of an item; it stays the same when the item is retried."""
    return f"{batch_public_id}-{item_index}"


_TROUBLED_STATUSES = frozenset({TaskStatus.PENDING.value, TaskStatus.PROCESSING.value})
_ENDED_IN_TROUBLE = frozenset({TIMEOUT, SUBMIT_OUTCOME_UNKNOWN})


def trouble_view(row: Mapping[str, Any], *, to_operator: bool) -> dict[str, dict[str, Any] | None]:
    """`last_submit` and `last_poll`: why a task waits, or waited until it timed out or was given up.

    Each is None, or `kind, reason, count, since, at` of the last answer that was not understood, with how
    many there were in a row: `last_poll` of polls, `last_submit` of submits, where the task has no remote id
    yet. Operators read the words
    of the answer, tenants a neutral sentence.
    """
    found: dict[str, dict[str, Any] | None] = {"last_submit": None, "last_poll": None}
    if row["trouble_at_ms"] is None:
        return found
    if row["status"] in _TROUBLED_STATUSES or row["error"] in _ENDED_IN_TROUBLE:
        question = "last_submit" if row["remote_task_id"] is None else "last_poll"
        kind = row["trouble_kind"]
        found[question] = {
            "kind": kind,
            "reason": row["trouble_reason"] if to_operator else neutral(kind),
            "count": row["trouble_count"],
            "since": iso_time(row["trouble_since_ms"]),
            "at": iso_time(row["trouble_at_ms"]),
        }
    return found


def ended_submit(reason: str, at_ms: int, to_operator: bool) -> dict[str, Any]:
    """`last_submit` of an attempt that was given up, in the form of `trouble_view`."""
    kind = kind_of(reason)
    at = iso_time(at_ms)
    said = reason if to_operator else neutral(kind)
    return {"kind": kind, "reason": said, "count": 1, "since": at, "at": at}


def trouble_text(item: Mapping[str, Any]) -> str | None:
    """An item's `last_submit` or `last_poll` in one line, for tables and exports; None without either."""
    found = item["last_submit"] or item["last_poll"]
    if found is None:
        return None
    question = "submit" if item["last_submit"] else "poll"
    times = "once" if found["count"] == 1 else f"{found['count']:,} times"
    return f"{question}: {found['reason']} ({times}, last {found['at']})"


def item_view(
    row: Mapping[str, Any],
    *,
    batch_public_id: str,
    held_reason: str | None = None,
    to_operator: bool = False,
) -> dict[str, Any]:
    """A task's row as `GET /v1/batches/{id}/items` answers it."""
    return {
        "item_id": item_id(batch_public_id, row["item_index"]),
        "index": row["item_index"],
        "custom_id": row["custom_id"],
        "status": row["status"],
        "progress": row["progress"],
        "prompt": row["prompt"],
        "model": row["model"],
        "alias": row["alias"],
        "model_choice": None if (chosen := decode_chosen(row["choice"])) is None else chosen.reason,
        "held_reason": held_reason,
        "follows": row["follows_custom_id"],
        "waits_for": row["follows_custom_id"] if _waits_for_frame(row) else None,
        **trouble_view(row, to_operator=to_operator),
        "video_url": row["video_url"],
        "thumbnail_url": None,
        "error": row["error"],
        "failure_type": row["failure_type"],
        "attempt": row["attempt"],
        **verdict_view(row),
        "reused_from": row.get("reused_from"),
        "near_equal": row.get("near_equal"),
        "metadata": None if row["metadata"] is None else msgspec.json.decode(row["metadata"]),
        "deadline": iso_time(row["deadline_at_ms"]),
        "created_at": iso_time(row["created_at_ms"]),
        "completed_at": iso_time(row["completed_at_ms"]),
    }


def _waits_for_frame(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == TaskStatus.PENDING and row["waits_for_frame"])


def verdict_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the clip can be used, why not, and who says so; all None without a verdict."""
    return {name: row[name] for name in ("verdict", "verdict_reasons", "verdict_score", "verdict_by")}


def export_view(
    row: Mapping[str, Any],
    kept: Mapping[str, Any] | None,
    beside: Sequence[Mapping[str, Any]] = (),
    *,
    batch_public_id: str,
    base: str = "",
) -> dict[str, Any]:
    """A task's row, and what is kept of its video and of the files `beside` it, with the `EXPORT_FIELDS`."""
    own_id = item_id(batch_public_id, row["item_index"])
    links = lasting_links(row, kept, item_id=own_id, base=base)
    is_stored = kept is not None and kept["state"] == ArchiveState.STORED and not row["is_deleted"]
    facts = _stored_facts(kept) if kept is not None and is_stored else _NOTHING_STORED
    return {
        "index": row["item_index"],
        "item_id": own_id,
        "custom_id": row["custom_id"],
        "prompt": row["prompt"],
        "model": row["model"],
        "status": row["status"],
        "error": row["error"],
        "failure_type": row["failure_type"],
        "attempt": row["attempt"],
        "remote_task_id": row["remote_task_id"],
        "video_url": links["video_url"],
        "credits": row["credits"],
        "verdict": row["verdict"],
        "verdict_reasons": None if row["verdict_reasons"] is None else ", ".join(row["verdict_reasons"]),
        "content_url": links["content_url"],
        **facts,
        "expires_at": links["expires_at"],
        "further_paths": _further_paths(row, kept, beside) if beside else None,
    }


def _stored_facts(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "archive_path": stored["video_key"],
        "sha256": stored["sha256"],
        "bytes": stored["bytes"],
        "width": stored["width"],
        "height": stored["height"],
        "duration_seconds": duration_seconds(stored),
    }


def _further_paths(
    row: Mapping[str, Any], kept: Mapping[str, Any] | None, beside: Sequence[Mapping[str, Any]]
) -> str | None:
    """Where the files that came besides the video lie in the archive, `|` between them."""
    if row["is_deleted"] or (kept is not None and kept["state"] == ArchiveState.REMOVED):
        return None
    return "|".join(file["object_key"] for file in beside if file["object_key"] is not None) or None


def operator_export_view(
    row: Mapping[str, Any],
    kept: Mapping[str, Any] | None,
    beside: Sequence[Mapping[str, Any]] = (),
    *,
    batch_public_id: str,
    base: str = "",
    valuation: Valuation,
    given_back: Mapping[int, int],
) -> dict[str, Any]:
    """The same with the `OPERATOR_EXPORT_FIELDS`; `video_url` is the provider's own.

    `given_back` are the credits that came back, by the row's id.
    """
    exported = export_view(row, kept, beside, batch_public_id=batch_public_id, base=base)
    trouble = trouble_text(trouble_view(row, to_operator=True))
    margin = item_margin(row, valuation, given_back=given_back.get(row["id"], 0))
    return exported | {"video_url": row["video_url"], "trouble": trouble} | margin
