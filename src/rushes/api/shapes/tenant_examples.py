"""Examples of the answers about what a tenant steers: endpoints, keys, usage, events, results."""

from collections.abc import Mapping
from typing import Any, Final

_BATCH_ID: Final = "bat_5f1c0a9d3e7b24680f13579a"
_CREATED: Final = "2026-11-23T12:00:00.000Z"
_ENDED: Final = "2026-11-23T12:01:37.250Z"

_ENDPOINT: Final[dict[str, Any]] = {
    "endpoint_id": "we_5f1c0a9d3e7b24680f13579a",
    "url": "https://example.com/hooks/rushes",
    "events": ["video.stored", "batch.*"],
    "description": "the shop",
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "created_at": _CREATED,
}

_KEY: Final[dict[str, Any]] = {
    "key_id": 7,
    "name": "the shop",
    "shown": "rsh_4fK2aQ9x…",
    "scope": "submit",
    "rate_limit_per_min": 600,
    "credits_per_day_max": 1000,
    "made_by_key_id": 1,
    "created_at": _CREATED,
    "last_used_at": None,
    "revoked_at": None,
    "is_this": False,
}
_USED: Final[dict[str, Any]] = {
    "tries": 3,
    "succeeded": 2,
    "failed": 1,
    "open": 0,
    "credits_settled": 20,
    "credits_refunded": 10,
    "credits_held": 0,
}
_MANIFEST_FILE: Final[dict[str, Any]] = {
    "item_id": f"{_BATCH_ID}-0",
    "index": 0,
    "custom_id": "boat",
    "status": "succeeded",
    **dict.fromkeys(("file_name", "content_url", "archive_path", "content_type", "sha256", "bytes")),
    **dict.fromkeys(("width", "height", "duration_seconds", "expires_at", "reason")),
}

TENANT_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    "BatchManifest": {
        "ok": True,
        "batch_id": _BATCH_ID,
        "status": "partial",
        "total_count": 2,
        "stored_count": 1,
        "missing_count": 1,
        "limit": 10000,
        "offset": 0,
        "files": [
            {
                **_MANIFEST_FILE,
                "file_name": f"{_BATCH_ID}-0.mp4",
                "content_url": f"https://rushes.example.com/v1/videos/{_BATCH_ID}-0/content",
                "archive_path": f"default/{_BATCH_ID}/0-17-9f86d081884c7d65.mp4",
                "content_type": "video/mp4",
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "bytes": 2483120,
                "width": 1280,
                "height": 704,
                "duration_seconds": 10.0,
            },
            {
                **_MANIFEST_FILE,
                "item_id": f"{_BATCH_ID}-1",
                "index": 1,
                "custom_id": None,
                "status": "failed",
                "reason": "output_moderation",
            },
        ],
    },
    "EventPage": {
        "ok": True,
        "data": [
            {
                "id": 17,
                "batch_id": _BATCH_ID,
                "type": "batch.processing",
                "timestamp": _CREATED,
                "data": {"batch_id": _BATCH_ID, "status": "processing", "total_count": 2},
            }
        ],
        "has_more": False,
        "last_id": 17,
    },
    "KeyList": {"ok": True, "data": [_KEY]},
    "NewKeyAnswer": {"ok": True, "key": "rsh_…", **_KEY},
    "RevokedKey": {"ok": True, "key_id": 7, "revoked": True},
    "Usage": {
        "ok": True,
        "from": _CREATED,
        "to": _ENDED,
        "rows": [{"day": "2026-11-23", "model": "sora-2", "key_id": None, **_USED}],
        "total": _USED,
    },
    "EndpointAnswer": {
        "ok": True,
        "endpoint": _ENDPOINT,
        "secret": "whsec_…",
        "older_secrets": [],
        "previous_until": None,
    },
    "EndpointList": {"ok": True, "data": [_ENDPOINT]},
    "DeletedEndpoint": {"ok": True, "endpoint_id": _ENDPOINT["endpoint_id"], "deleted": True},
    "EndpointTest": {
        "ok": True,
        "webhook_id": "msg_test_5f1c0a9d3e7b2468",
        "delivered": True,
        "http_status": 204,
        "error": None,
        "duration_ms": 31,
    },
    "EndpointReplayed": {"ok": True, "endpoint_id": _ENDPOINT["endpoint_id"], "replayed": 3},
}
