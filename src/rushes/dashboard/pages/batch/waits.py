"""What a batch waits for, in the language that is spoken."""

from collections.abc import Sequence
from typing import assert_never

from rushes.dashboard.pieces import number
from rushes.dashboard.words import tr
from rushes.read.batch_views import Wait, WaitKind


def waits_for(waits: Sequence[Wait]) -> str:
    """All of it in one line; empty where the batch waits for nothing."""
    return "; ".join(_words(wait) for wait in waits)


def _words(wait: Wait) -> str:
    n, provider, limit = number(wait.count), wait.provider, wait.limit or 0
    match wait.kind:
        case WaitKind.RENDERING:
            return tr("{n} rendering", n=n)
        case WaitKind.CANCELLED:
            return tr("{n} cancelled", n=n)
        case WaitKind.EQUAL_ITEMS:
            return tr("{n} waiting for equal items", n=n)
        case WaitKind.PLACE:
            return tr(
                "{n} waiting for a place at {provider} ({max} at a time)",
                n=n,
                provider=provider,
                max=f"{limit:.0f}",
            )
        case WaitKind.TO_BE_SENT if wait.limit:
            return tr(
                "{n} to be sent to {provider} ({rate} a second)", n=n, provider=provider, rate=f"{limit:g}"
            )
        case WaitKind.TO_BE_SENT:
            return tr("{n} to be sent to {provider}", n=n, provider=provider)
        case WaitKind.UNCONFIRMED:
            return tr("{n} unconfirmed, decided by {time}", n=n, time=wait.decided_at)
        case WaitKind.NOT_KNOWN:
            return tr(
                "{n} not known to {provider} yet, decided by {time}",
                n=n,
                provider=provider,
                time=wait.decided_at,
            )
        case WaitKind.LAST_ANSWER:
            return tr("{n} past the deadline, waiting for a last answer", n=n)
        case WaitKind.NO_WORKER:
            return tr("no worker polls {provider}", provider=provider)
        case WaitKind.HELD:
            return tr("held: {reason}", reason=wait.why)
        case other:
            assert_never(other)
