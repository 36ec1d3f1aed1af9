"""The shapes of answers about webhooks: deliveries, endpoints and signing secrets."""

from typing import Literal

from rushes.api.shapes.models import Count, Ok
from rushes.api.shapes.requests import Closed


class Delivery(Closed):
    """One event on its way to one webhook; the id is its `webhook-id`."""

    delivery_id: str
    type: str
    batch_id: str
    endpoint_id: str | None
    url: str
    status: Literal["pending", "delivered", "failed", "disabled"]
    attempts: Count
    http_status: int | None
    error: str | None
    created_at: str
    delivered_at: str | None
    next_attempt_at: str | None


class DeliveryAnswer(Closed):
    """A delivery that is sent again."""

    ok: Ok
    delivery: Delivery


class DeliveryPage(Closed):
    """Deliveries, newest first."""

    ok: Ok
    data: list[Delivery]
    has_more: bool


class WebhookSecret(Closed):
    """The account's signing secret, and those that deliveries are signed with as well while it is changed."""

    ok: Ok
    secret: str
    version: int
    older_secrets: list[str]
    previous_until: str | None


class Endpoint(Closed):
    """An address that gets the events of all batches that it asks for."""

    endpoint_id: str
    url: str
    events: list[str] | None
    description: str | None
    enabled: bool
    disabled_reason: Literal["gone", "owner"] | None
    disabled_at: str | None
    created_at: str


class EndpointAnswer(Closed):
    """An endpoint with its signing secret, and those that deliveries are signed with as well for a while."""

    ok: Ok
    endpoint: Endpoint
    secret: str
    older_secrets: list[str]
    previous_until: str | None


class EndpointList(Closed):
    """The account's endpoints, oldest first."""

    ok: Ok
    data: list[Endpoint]


class DeletedEndpoint(Closed):
    """An endpoint that is sent nothing more."""

    ok: Ok
    endpoint_id: str
    deleted: Literal[True]


class EndpointTest(Closed):
    """What the receiver made of a test event; `delivered` for any 2xx."""

    ok: Ok
    webhook_id: str
    delivered: bool
    http_status: int | None
    error: str | None
    duration_ms: Count


class EndpointReplayed(Closed):
    """How many deliveries are sent again."""

    ok: Ok
    endpoint_id: str
    replayed: Count
