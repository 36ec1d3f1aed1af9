"""What a batch waits for and what holds items, in the language that is spoken."""

from collections.abc import Sequence
from typing import assert_never

from rushes.dashboard.pieces import number
from rushes.dashboard.words import tr
from rushes.read.batch_views import Wait, WaitKind
from rushes.read.holding import Hold, HoldKind


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
            return tr("held: {reason}", reason=hold_words(wait.hold) if wait.hold else "")
        case other:
            assert_never(other)


def hold_words(hold: Hold) -> str:
    """Why tasks are held; what an operator or a provider wrote is left as it is."""
    provider, model, said = hold.provider, hold.model, hold.said
    match hold.kind:
        case HoldKind.UNLISTED:
            return tr("{model} is not in the catalogue", model=model)
        case HoldKind.RETIRED:
            return tr("{model} was retired on {day}", model=model, day=said)
        case HoldKind.DISABLED:
            return tr("{model} is disabled by the operator", model=model)
        case HoldKind.PAUSED if hold.operator:
            return tr(
                "{provider} was paused by {who}: {reason}", provider=provider, who=hold.operator, reason=said
            )
        case HoldKind.PAUSED:
            return tr("{provider} is paused", provider=provider)
        case HoldKind.NO_WORKER:
            words = tr("no worker serves {provider}", provider=provider)
            return f"{words}: {said}" if said else words
        case HoldKind.NOT_POLLED:
            return tr("no worker polls {provider}", provider=provider)
        case HoldKind.PROVIDER:
            words = tr("{provider} is {state}", provider=provider, state=hold.state)
            return f"{words}: {said or tr('no reason given')}"
        case other:
            assert_never(other)
