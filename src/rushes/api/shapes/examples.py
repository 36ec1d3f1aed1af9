"""Examples for the OpenAPI document: one answer of each kind, and what common parameters mean.

The tests hold each example against its model. A model without one is left without.
"""

from collections.abc import Mapping
from typing import Any, Final

from rushes.api.shapes.tenant_examples import TENANT_EXAMPLES
from rushes.api.shapes.verdict_examples import VERDICT_EXAMPLES

_BATCH_ID: Final = "bat_5f1c0a9d3e7b24680f13579a"
_VIDEO_ID: Final = "video_5f1c0a9d3e7b24680f13579a"
_CREATED: Final = "2026-11-23T12:00:00.000Z"
_ENDED: Final = "2026-11-23T12:01:37.250Z"

_BATCH: Final[dict[str, Any]] = {
    "batch_id": _BATCH_ID,
    "request_id": "order-1742",
    "name": "Spring campaign",
    "metadata": {"team": "north"},
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
    "eta_reason": "2 rendering; 1 to be sent to grsai",
}
_ITEM: Final[dict[str, Any]] = {
    "item_id": f"{_BATCH_ID}-0",
    "index": 0,
    "custom_id": "boat",
    "status": "succeeded",
    "progress": 100,
    "prompt": "a paper boat on a puddle",
    "model": "sora-2",
    "options": {"aspect_ratio": "9:16", "duration": 10},
    "alias": None,
    "model_choice": None,
    "held_reason": None,
    "follows": None,
    "waits_for": None,
    "last_submit": None,
    "last_poll": None,
    "video_url": "https://rushes.example.com/files/17-video-1795442400-5b0c7a1e",
    "expires_at": "2026-11-23T14:00:00.000Z",
    "content_url": f"https://rushes.example.com/v1/videos/{_BATCH_ID}-0/content",
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
    "further_files": [],
    "error": None,
    "failure_type": None,
    "attempt": 1,
    "verdict": "accepted",
    "verdict_reasons": [],
    "verdict_score": None,
    "verdict_by": "gate",
    "reused_from": None,
    "near_equal": None,
    "metadata": None,
    "deadline": None,
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
    "endpoint_id": None,
    "url": "https://example.com/hooks/rushes",
    "status": "delivered",
    "attempts": 1,
    "http_status": 204,
    "error": None,
    "created_at": _ENDED,
    "delivered_at": _ENDED,
    "next_attempt_at": None,
}

_FILE: Final[dict[str, Any]] = {
    "id": "file-5f1c0a9d3e7b24680f13579a",
    "object": "file",
    "bytes": 1742,
    "created_at": 1795435200,
    "expires_at": 1798027200,
    "filename": "requests.jsonl",
    "purpose": "batch",
    "status": "processed",
}
_FILE_BATCH: Final[dict[str, Any]] = {
    "id": _BATCH_ID,
    "object": "batch",
    "endpoint": "/v1/videos",
    "status": "completed",
    "errors": None,
    "input_file_id": "file-5f1c0a9d3e7b24680f13579a",
    "completion_window": "24h",
    "output_file_id": f"file-output-{_BATCH_ID}",
    "error_file_id": None,
    "created_at": 1795435200,
    "in_progress_at": 1795435200,
    "expires_at": 1795521600,
    "finalizing_at": None,
    "completed_at": 1795435297,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 2, "completed": 2, "failed": 0},
    "metadata": None,
}


def _page_of(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [one],
        "first_id": one["id"],
        "last_id": one["id"],
        "has_more": False,
    }


_MODEL: Final[dict[str, Any]] = {
    "id": "sora-2",
    "object": "model",
    "created": 0,
    "owned_by": "grsai",
    "shutdown_date": None,
    "rushes": {
        "provider": "grsai",
        "price": "10",
        "price_rule": {"per_video": 10},
        "options": [
            {"name": "duration", "takes": "10 or 15", "values": [10, 15], "default": None},
        ],
        "inputs": [{"name": "references", "takes": "one image", "values": None, "default": None}],
        "typical_seconds": 90.0,
        "available": True,
        "why_not": None,
        "alias_of": None,
        "sunset_at": None,
    },
}

ANSWER_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    **VERDICT_EXAMPLES,
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
    "Model": _MODEL,
    "ProviderState": {
        "ok": True,
        "provider": "grsai",
        "paused": True,
        "reason": "its prices changed",
        "changed": True,
    },
    "File": _FILE,
    "FileList": _page_of(_FILE),
    "DeletedFile": {"id": _FILE["id"], "object": "file", "deleted": True},
    "FileBatch": _FILE_BATCH,
    "FileBatchList": _page_of(_FILE_BATCH),
    "ModelList": {"object": "list", "data": [_MODEL]},
    "ItemPage": {"ok": True, "items": [_ITEM], "total": 1, "limit": 100, "offset": 0},
    "CancelledBatch": {"ok": True, "batch_id": _BATCH_ID, "status": "cancelled", "credits_refunded": 10},
    "CancelledItem": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "item_id": f"{_BATCH_ID}-1",
        "status": "failed",
        "credits_refunded": 10,
    },
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
                "last_submit": None,
                "last_poll": None,
                "video_url": "https://file.example.com/video/1.mp4",
                "verdict": None,
                "verdict_reasons": None,
                "verdict_score": None,
                "verdict_by": None,
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
        "repairs": [],
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
        "credits_max": 40,
        "available_credits": 980,
        "sufficient": True,
        "cost_per_video": 10,
        "models": [{"model": "sora-2", "count": 4, "credits_per_video": 10, "credits": 40}],
        "items": [{"index": index, "model": "sora-2", "credits": 10} for index in range(4)],
        "duplicates": [{"index": 3, "same_as": 1}],
        "bought_before": [],
        "reuse_saves_credits": 10,
        "accept": {
            "n_max": 3,
            "credits_max": None,
            "expected_credits": 49.6,
            "expected_accepted": 4.0,
            "models": [
                {
                    "model": "sora-2",
                    "items": 4,
                    "clips": 50,
                    "accepted": 40,
                    "credits_per_item": 12.4,
                    "chance": 0.992,
                    "chance_interval": [0.9635, 0.9986],
                }
            ],
        },
        "expected_finish": {
            "p50_seconds": 97,
            "p95_seconds": 190,
            "p50_at": _ENDED,
            "p95_at": "2026-11-23T12:03:10.000Z",
        },
        "finish_seconds": {"p50": 97, "p95": 190},
    },
    "Balance": {
        "ok": True,
        "account": "default",
        "available": 980,
        "reserved": 20,
        "total": 1000,
        "lots": [{"kind": "permanent", "remaining": 980, "expires_at": None}],
        "further_lots": 0,
        "further_credits": 0,
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
    "WebhookSecret": {
        "ok": True,
        "secret": "whsec_…",
        "version": 1,
        "older_secrets": [],
        "previous_until": None,
    },
    **TENANT_EXAMPLES,
    "Upload": {
        "ok": True,
        "upload_id": "upl_5f1c0a9d3e7b24680f13579a5f1c0a9d",
        "content_type": "image/png",
        "bytes": 48213,
        "width": 1280,
        "height": 720,
        "duration_seconds": None,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "expires_at": "2026-12-23T12:00:00.000Z",
    },
    "Healthy": {"ok": True},
    "Ready": {"ok": True, "database": "ok", "schema_revision": "0006", "live_worker": True},
    "CallbackTaken": {"success": True},
}

PARAMETER_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "limit": "How many at most.",
    "upload_id": "An upload's id.",
    "token": "What the link ends with.",
    "offset": "How many to leave out first.",
    "status": "Only those with this status.",
    "order": "By the time of their making; of items, by their index.",
    "created_after": "Only those made after this date or time; UTC unless it names a zone.",
    "created_before": "Only those made before this date or time; UTC unless it names a zone.",
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
