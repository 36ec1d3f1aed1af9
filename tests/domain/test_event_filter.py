"""Which events a webhook gets."""

import pytest

from rushes.domain.errors import InputError
from rushes.domain.input.event_filter import EVENT_TYPES, read_event_filter, types_in


@pytest.mark.parametrize(
    ("asked", "stored", "types"),
    [
        (None, None, list(EVENT_TYPES)),
        (["*"], None, list(EVENT_TYPES)),
        (["video.failed", "*"], None, list(EVENT_TYPES)),
        (
            ["video.failed", "batch.failed", "video.failed"],
            "video.failed,batch.failed",
            ["batch.failed", "video.failed"],
        ),
        (["video.*"], "video.*", ["video.succeeded", "video.failed", "video.stored", "video.lost"]),
    ],
)
def test_a_filter_is_a_list_of_types_and_groups(asked: object, stored: str | None, types: list[str]) -> None:
    assert read_event_filter(asked, field="events") == stored
    assert types_in(stored) == types


@pytest.mark.parametrize(
    ("asked", "field", "problem"),
    [
        ("*", "events", "must be a list of event types"),
        ([], "events", "names no event; leave it out for all events"),
        (
            ["video.failed", "video.fail"],
            "events[1]",
            'there is no event "video.fail"; did you mean "video.failed"',
        ),
        (["zzz"], "events[0]", 'there is no event "zzz"$'),
        ([5], "events[0]", "there is no event 5"),
    ],
)
def test_anything_else_is_refused_with_its_place(asked: object, field: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        read_event_filter(asked, field="events")
    assert caught.value.field == field
