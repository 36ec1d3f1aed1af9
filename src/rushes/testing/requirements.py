"""What the checks of the suite require, and the faults that they make."""

from collections.abc import Iterator

from rushes.domain.task import (
    SUCCEEDED_WITHOUT_VIDEO_URL,
    Failed,
    NoAnswer,
    PollResult,
    Processing,
    Succeeded,
)
from rushes.providers.answers import MESSAGE_CHARACTERS_MAX
from rushes.providers.http.transport import RESPONSE_BYTES_MAX
from rushes.simulator.message import Delivery
from rushes.testing.case import Replies
from rushes.testing.service import HANG_SECONDS, Service
from rushes.testing.spoiled import Spoiled, Spoiling


def require(condition: bool, message: str) -> None:
    """An assertion that explains itself without pytest's help, for it is outside the author's tests."""
    if not condition:
        raise AssertionError(message)


def other_id(remote_task_id: str) -> str:
    """An id of the same form that is another task's."""
    last = remote_task_id[-1:]
    return remote_task_id[:-1] + ("1" if last != "1" else "2")


def faults(replies: Replies, service: Service) -> Iterator[str]:
    """Sets the service up for one fault of the network after the other; gives their names."""
    service.say(replies, delivery=Delivery.RESET)
    yield "a reset"
    service.say(replies, delivery=Delivery.CUT)
    yield "a body cut short"
    service.say(replies, padding_bytes=RESPONSE_BYTES_MAX + 1)
    yield "a body far too long"
    service.say(replies, delay_seconds=HANG_SECONDS)
    yield "a hang"


def require_kept(text: str) -> None:
    """The text is one that rushes keeps: printable, not empty, not too long."""
    require(text.isprintable(), f"a message that is no printable line: {text[:80]!r}")
    require(0 < len(text) <= MESSAGE_CHARACTERS_MAX, f"a message of {len(text)} characters")


def may_come_of_a_success(each: Spoiled, result: PollResult, url: str) -> bool:
    """Whether a strict reader may say this of a success that was spoiled at one place."""
    match result:
        case NoAnswer():
            return True
        case Succeeded(video_url=video_url):
            return video_url == url
        case Failed(error_message=message):
            nothing_there = each.kind in (Spoiling.LEFT_OUT, Spoiling.EMPTIED)
            return nothing_there and message == SUCCEEDED_WITHOUT_VIDEO_URL
        case Processing():
            return each.kind is Spoiling.LEFT_OUT
