"""Examples for the OpenAPI document: one answer of each kind, and what common parameters mean.

The tests hold each example against its model. A model without one is left without.
"""

from collections.abc import Mapping
from typing import Any, Final

_BATCH_ID: Final = "bat_5f1c0a9d3e7b24680f13579a"
_VIDEO_ID: Final = "video_5f1c0a9d3e7b24680f13579a"
_CREATED: Final = "2026-11-23T12:00:00.000Z"
_ENDED: Final = "2026-11-23T12:01:37.250Z"

_BATCH: Final[dict[str, Any]] = {
    "batch_id": _BATCH_ID,
    "request_id": "order-1742",
    "status": "processing",
    "total_count": 2,
    "succeeded_count": 1,
    "failed_count": 0,
    "processing_count": 1,
    "pending_count": 0,
    "cost_per_video": 10,
    "credits_reserved": 20,
    "credits_settled": 10,
    "credits_refunded": 0,
    "created_at": _CREATED,
    "completed_at": None,
    "eta_seconds": 97.2,
}
_ITEM: Final[dict[str, Any]] = {
    "item_id": f"{_BATCH_ID}-0",
    "index": 0,
    "custom_id": "boat",
    "status": "succeeded",
    "progress": 100,
    "prompt": "a paper boat on a puddle",
    "model": "sora-2",
    "alias": None,
    "held_reason": None,
    "video_url": "https://rushes.example.com/files/17-video-1795442400-5b0c7a1e",
    "thumbnail_url": "https://rushes.example.com/files/17-thumbnail-1795442400-90cf2d4b",
    "archive": {
        "state": "stored",
        "reason": None,
        "bytes": 2483120,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "width": 1280,
        "height": 704,
        "duration_seconds": 10.0,
        "stored_at": _ENDED,
        "spritesheet_url": "https://rushes.example.com/files/17-spritesheet-1795442400-1d7e60aa",
    },
    "error": None,
    "failure_type": None,
    "attempt": 1,
    "metadata": None,
    "created_at": _CREATED,
    "completed_at": _ENDED,
}
_VIDEO: Final[dict[str, Any]] = {
    "id": _VIDEO_ID,
    "object": "video",
    "status": "in_progress",
    "progress": 42,
    "model": "sora-2",
    "prompt": "a paper boat on a puddle",
    "seconds": "10",
    "size": "1280x720",
    "created_at": 1795435200,
    "completed_at": None,
    "expires_at": None,
    "remixed_from_video_id": None,
    "error": None,
}
_DELIVERY: Final[dict[str, Any]] = {
    "delivery_id": f"msg_{_BATCH_ID}_2",
    "type": "video.succeeded",
    "batch_id": _BATCH_ID,
    "url": "https://example.com/hooks/rushes",
    "status": "delivered",
    "attempts": 1,
    "http_status": 204,
    "error": None,
    "created_at": _ENDED,
    "delivered_at": _ENDED,
    "next_attempt_at": None,
}

ANSWER_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    "AcceptedBatch": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "request_id": "order-1742",
        "status": "pending",
        "total_count": 2,
        "cost_per_video": 10,
        "required_credits": 20,
        "available_credits": 980,
        "idempotent_replay": False,
    },
    "Batch": {"ok": True, **_BATCH},
    "BatchPage": {"ok": True, "data": [_BATCH], "has_more": False},
    "ItemPage": {"ok": True, "items": [_ITEM], "total": 1, "limit": 100, "offset": 0},
    "CancelledBatch": {"ok": True, "batch_id": _BATCH_ID, "status": "cancelled", "credits_refunded": 10},
    "RetriedItem": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "item_id": f"{_BATCH_ID}-1",
        "status": "pending",
        "required_credits": 10,
        "available_credits": 970,
    },
    "ItemAttempts": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "item_id": f"{_BATCH_ID}-0",
        "attempts": [
            {
                "index": 0,
                "try": 1,
                "attempt": 1,
                "status": "succeeded",
                "model": "sora-2",
                "provider": "grsai",
                "api_model": "sora-2",
                "remote_task_id": "5-2b0c7a1e",
                "credits": 10,
                "error": None,
                "failure_type": None,
                "video_url": "https://file.example.com/video/1.mp4",
                "created_at": _CREATED,
                "dispatched_at": _CREATED,
                "completed_at": _ENDED,
            }
        ],
    },
    "BatchRerolls": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "policy": {"max": 2, "reasons": ["output_moderation", "timeout"]},
        "rerolls_count": 1,
        "credits_used": 10,
        "stopped_at": None,
        "tries_ended": 2,
        "tries_passed": 1,
        "pass_rate": 0.5,
    },
    "PassRates": {
        "ok": True,
        "since": _CREATED,
        "tries": 2,
        "is_cut_short": False,
        "models": [
            {
                "model": "sora-2",
                "tries": 2,
                "passed": 1,
                "failed": 1,
                "pass_rate": 0.5,
                "failures": {"output_moderation": 1},
                "credits_settled": 10,
            }
        ],
        "prompts": [{"prompt": "a paper boat on a puddle", "tries": 2, "passed": 1, "pass_rate": 0.5}],
    },
    "QuoteAnswer": {
        "ok": True,
        "total_count": 4,
        "required_credits": 40,
        "available_credits": 980,
        "sufficient": True,
        "cost_per_video": 10,
        "models": [{"model": "sora-2", "count": 4, "credits_per_video": 10, "credits": 40}],
        "expected_finish": {
            "p50_seconds": 97,
            "p95_seconds": 190,
            "p50_at": _ENDED,
            "p95_at": "2026-11-23T12:03:10.000Z",
        },
    },
    "Balance": {
        "ok": True,
        "account": "default",
        "available": 980,
        "reserved": 20,
        "total": 1000,
        "lots": [{"kind": "permanent", "remaining": 980, "expires_at": None}],
    },
    "LedgerPage": {
        "ok": True,
        "entries": [
            {
                "id": 2,
                "type": "reserve",
                "delta": -20,
                "balance_after": 980,
                "batch_id": _BATCH_ID,
                "item_id": None,
                "description": "",
                "created_at": _CREATED,
            }
        ],
        "total": 1,
        "limit": 100,
        "offset": 0,
    },
    "Video": _VIDEO,
    "VideoPage": {
        "object": "list",
        "data": [_VIDEO],
        "first_id": _VIDEO_ID,
        "last_id": _VIDEO_ID,
        "has_more": False,
    },
    "DeletedVideo": {"id": _VIDEO_ID, "object": "video.deleted", "deleted": True},
    "DeliveryPage": {"ok": True, "data": [_DELIVERY], "has_more": False},
    "DeliveryAnswer": {"ok": True, "delivery": {**_DELIVERY, "status": "pending", "delivered_at": None}},
    "WebhookSecret": {"ok": True, "secret": "whsec_…"},
    "Healthy": {"ok": True},
    "Ready": {"ok": True, "database": "ok", "schema_revision": "0006", "live_worker": True},
    "CallbackTaken": {"success": True},
}

PARAMETER_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "limit": "How many at most.",
    "offset": "How many to leave out first.",
    "status": "Only those with this status.",
    "order": "By the time of their making.",
    "format": "The kind of file.",
    "days": "How far to look back.",
    "provider": "The provider's name.",
}
"""For parameters that have no description of their own."""


def add_examples(document: dict[str, Any]) -> None:
    """Put them into an OpenAPI document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                description = PARAMETER_DESCRIPTIONS.get(parameter["name"])
                if description is not None:
                    parameter.setdefault("description", description)
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    name = str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
                    if name in ANSWER_EXAMPLES:
                        content.setdefault("example", ANSWER_EXAMPLES[name])
