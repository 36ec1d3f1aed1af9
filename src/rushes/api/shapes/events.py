"""The shape of events, for the OpenAPI document: a stream and a webhook carry the same ones.

`engine.events` makes them; the tests hold what is sent against these models.
"""

from typing import Annotated, Any, Final

from pydantic import Field

from rushes.api.shapes.models import BatchCounts, ItemFacts
from rushes.api.shapes.requests import Closed
from rushes.domain.input.event_filter import EventType

Truncated = Annotated[
    list[str],
    Field([], description="Fields that are null because the event would have had more than 20 kB."),
]


class BatchEventData(BatchCounts):
    """The batch as it was when the event was sent, with the status that the event tells of."""

    truncated: Truncated


class VideoEventData(ItemFacts):
    """The item without its prompt, as it was when the event was sent."""

    batch_id: str
    truncated: Truncated


class Event(Closed):
    """What happened to a batch or to one of its videos, and when."""

    type: EventType
    timestamp: str
    data: VideoEventData | BatchEventData


class StreamedEvent(Closed):
    """One event of a stream."""

    id: str = Field(pattern="^[0-9]+$", description="The event's number in the batch.")
    event: EventType
    retry: int = Field(
        default=2000, ge=0, description="Milliseconds to wait before coming back; in the first event."
    )
    data: str = Field(description="An `Event`.", json_schema_extra={"contentMediaType": "application/json"})


_EXAMPLE: Final = {
    "type": "video.succeeded",
    "timestamp": "2026-11-23T12:01:37.250Z",
    "data": {
        "item_id": "bat_5f1c0a9d3e7b24680f13579a-0",
        "index": 0,
        "custom_id": "boat",
        "status": "succeeded",
        "progress": 100,
        "model": "sora-2",
        "alias": None,
        "model_choice": None,
        "held_reason": None,
        "follows": None,
        "waits_for": None,
        "video_url": "https://file.example.com/video/1.mp4",
        "expires_at": "2026-11-23T14:01:37.250Z",
        "content_url": "https://rushes.example.com/v1/videos/bat_5f1c0a9d3e7b24680f13579a-0/content",
        "thumbnail_url": None,
        "verdict": None,
        "verdict_reasons": None,
        "verdict_score": None,
        "verdict_by": None,
        "error": None,
        "failure_type": None,
        "attempt": 1,
        "metadata": None,
        "deadline": None,
        "created_at": "2026-11-23T12:00:00.000Z",
        "completed_at": "2026-11-23T12:01:37.250Z",
        "archive": None,
        "batch_id": "bat_5f1c0a9d3e7b24680f13579a",
    },
}
_HEADERS: Final = {
    "webhook-id": "The same on every retry: an event may come more than once.",
    "webhook-timestamp": "When it was sent, in seconds since 1970.",
    "webhook-signature": "`v1,…`: verify it with the account's secret and any library of Standard Webhooks.",
}


def webhooks_section(tag: str) -> dict[str, Any]:
    """The document's `webhooks`: what is posted to a batch's `webhook_url`."""
    post = {
        "tags": [tag],
        "security": [],
        "operationId": "event",
        "summary": "Take an event",
        "description": "What the service posts to a batch's `webhook_url`. Anything but 2xx within 20 seconds"
        " is a failure, a redirect too, and is sent again.",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Event"}, "example": _EXAMPLE}
            },
        },
        "responses": {
            "2XX": {"description": "The event was taken."},
            "410": {"description": "Send nothing to this address again."},
        },
    }
    return {"event": {"post": post}}
