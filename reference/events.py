"""The page of every event: those of batches with their documents, and those of the log with their fields."""

import ast
import json
from typing import Any

from reference.markdown import Undocumented, code, explained, table
from reference.source import assigned_docstrings, calls
from rushes import telemetry
from rushes.domain.task import BatchStatus, TaskStatus
from rushes.read.events import EVENT_BYTES_MAX, event_document
from rushes.store.tables import schema

AT_MS = 1_795_435_200_000
BATCH_ID = "bat_5f1c0a9d3e7b24680f13579a"

INTRODUCTION = f"""# Events

## Of a batch

They are stored with the batch, in the transaction that makes them true. `GET /v1/batches/{{id}}/events`
streams them, and a batch's webhook gets each at least once, signed as [Standard
Webhooks](https://www.standardwebhooks.com/) and at most {EVENT_BYTES_MAX:,} bytes long: what makes one
longer (a long URL, `metadata`, an error) is null there, and `data.truncated` names it.

"""

LOG = """## In the log

Logs go to stderr: on a terminal as lines for people, elsewhere as JSON lines with `event`, `level` and
these fields.

"""


def page() -> str:
    """The page. Raises `Undocumented` for an event without an explanation, and for one that nothing sends."""
    meanings = assigned_docstrings("telemetry.py")
    names = {
        key: name
        for key, name in vars(telemetry).items()
        if key.isupper() and isinstance(name, str) and not key.startswith("METRIC_")
    }
    stored = {key: name for key, name in names.items() if name.startswith(("batch.", "video."))}
    logged = {key: name for key, name in names.items() if key not in stored}

    def meaning(key: str) -> str:
        return explained(meanings.get(key), names[key], f"a string under `{key}` in telemetry.py")

    levels, fields = _logged()
    if unused := logged.keys() - levels.keys():
        raise Undocumented(f"events in telemetry.py that nothing logs: {', '.join(sorted(unused))}")
    stored_rows = [(code(name), meaning(key)) for key, name in stored.items()]
    logged_rows = [
        (
            code(name),
            ", ".join(sorted(levels[key])),
            ", ".join(code(field) for field in sorted(fields[key])),
            meaning(key),
        )
        for key, name in logged.items()
    ]
    return "".join(
        (
            INTRODUCTION,
            table(("Event", "When"), stored_rows),
            "The `data` of a `batch.*` event is the batch:\n\n",
            _document(telemetry.BATCH_PARTIAL, batch_document()),
            "That of a `video.*` event is the item, without its prompt:\n\n",
            _document(telemetry.VIDEO_SUCCEEDED, video_document()),
            LOG,
            table(("Event", "Level", "Fields", "When"), logged_rows),
        )
    )


def batch_document() -> dict[str, Any]:
    """A `batch.*` event, made by the code that makes them."""
    return event_document(telemetry.BATCH_PARTIAL, AT_MS, _batch_row(), None)


def video_document() -> dict[str, Any]:
    """A `video.*` event, made by the code that makes them."""
    task = dict.fromkeys(column.name for column in schema.video_tasks.c) | {
        "item_index": 0,
        "is_deleted": False,
        "custom_id": "boat",
        "status": TaskStatus.SUCCEEDED.value,
        "progress": 100,
        "model": "sora-2",
        "video_url": "https://file.example.com/video/1.mp4",
        "attempt": 1,
        "created_at_ms": AT_MS - 97_250,
        "completed_at_ms": AT_MS,
    }
    task |= dict.fromkeys(("verdict", "verdict_reasons", "verdict_score", "verdict_by"))
    return event_document(telemetry.VIDEO_SUCCEEDED, AT_MS, _batch_row(), task)


def _batch_row() -> dict[str, Any]:
    return dict.fromkeys(column.name for column in schema.batches.c) | {
        "public_id": BATCH_ID,
        "request_id": "order-1742",
        "status": BatchStatus.PARTIAL.value,
        "total_count": 2,
        "succeeded_count": 1,
        "failed_count": 1,
        "processing_count": 0,
        "pending_count": 0,
        "cost_per_video": 10,
        "credits_reserved": 20,
        "credits_settled": 10,
        "credits_refunded": 10,
        "created_at_ms": AT_MS - 97_250,
        "completed_at_ms": AT_MS,
    }


def _document(event_type: str, document: dict[str, Any]) -> str:
    assert document["type"] == event_type
    return f"```json\n{json.dumps(document, indent=2)}\n```\n\n"


def _logged() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Constant → levels, and constant → fields, of every `log.level(telemetry.CONSTANT, field=…)`."""
    levels: dict[str, set[str]] = {}
    fields: dict[str, set[str]] = {}
    for call in calls():
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[first, *_]):
                pass
            case _:
                continue
        for node in ast.walk(first):
            match node:
                case ast.Attribute(value=ast.Name(id="telemetry"), attr=key):
                    levels.setdefault(key, set()).add(level)
                    fields.setdefault(key, set()).update(word.arg for word in call.keywords if word.arg)
                case _:
                    pass
    return levels, fields
