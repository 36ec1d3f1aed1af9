"""The shapes of answers about an account: its keys, its usage, its event log."""

from typing import Annotated, Any, Literal

from pydantic import Field

from rushes.api.shapes.models import Count, Ok
from rushes.api.shapes.requests import Closed
from rushes.domain.input.event_filter import EventType


class Key(Closed):
    """An API key, without what would let anyone use it."""

    key_id: Count
    name: str
    shown: Annotated[str, Field(description="Its first characters.")]
    scope: Literal["read", "submit", "admin"]
    rate_limit_per_min: Count | None
    credits_per_day_max: Count | None
    made_by_key_id: Annotated[
        Count | None,
        Field(description="The key that made it, whose cap holds for both; an operator's has none."),
    ]
    created_at: str
    last_used_at: Annotated[str | None, Field(description="About when it was last used, by the minute.")]
    revoked_at: str | None
    is_this: Annotated[bool, Field(description="Whether it is the key that asks.")]


class KeyList(Closed):
    """Keys, newest first."""

    ok: Ok
    data: list[Key]


class NewKeyAnswer(Key):
    """A new key: the only time that `key` is seen."""

    ok: Ok
    key: str


class RevokedKey(Closed):
    """A key that works no more, in every process within two seconds."""

    ok: Ok
    key_id: Count
    revoked: Literal[True]


class Used(Closed):
    """Tries, and their credits: kept for successes, given back for failures, held for what is open."""

    tries: Count
    succeeded: Count
    failed: Count
    open: Count
    credits_settled: Count
    credits_refunded: Count
    credits_held: Count


class UsageRow(Used):
    """The same of a day (UTC), a model or a key; null where it was not asked for."""

    day: str | None
    model: str | None
    key_id: Count | None


class Usage(Closed):
    """What the batches that were made in a time came to."""

    ok: Ok
    from_: Annotated[str, Field(alias="from")]
    to: str
    rows: list[UsageRow]
    total: Used


class AccountEvent(Closed):
    """An event of the account's log; `id` is its position."""

    id: Count
    batch_id: str
    type: EventType
    timestamp: str
    data: dict[str, Any]


class EventPage(Closed):
    """Events in their order; `last_id` is what to ask for next as `after`."""

    ok: Ok
    data: list[AccountEvent]
    has_more: bool
    last_id: Count
