"""One attempt leaves, once: the request goes to the provider, and what is certain of it comes back."""

import asyncio
from dataclasses import dataclass
from typing import Final

from rushes import telemetry
from rushes.domain.task import NotSent, SubmitOutcome, Unknown
from rushes.providers.base import Provider, SubmitRequest
from rushes.providers.http.transport import Departure, departing
from rushes.run.lease import OwnLease
from rushes.run.meters import Meters

HELD_BACK: Final = NotSent("held back")
STOPPED: Final = NotSent("the worker stopped before it was sent")
"""What is not sent for reasons of this worker's own: no trouble of the task's."""

log = telemetry.logger()


@dataclass(frozen=True, slots=True)
class Sent:
    """How a submit ended. It says something of the provider, unless the worker itself cut it short."""

    outcome: SubmitOutcome
    says_of_provider: bool = True


async def send(provider: Provider, request: SubmitRequest, *, lease: OwnLease, meters: Meters) -> Sent:
    """Submit once. Whatever fails, the outcome is known; `Unknown` when the request may have left.

    The lease is asked once more just before the first byte is written. A submit that is cancelled ends with
    its outcome, too.
    """
    departure = Departure(lease.permits_sending)
    try:
        with departing(departure):
            outcome = await provider.submit(request)
    except asyncio.CancelledError:
        if departure.is_waiting:
            return Sent(STOPPED, says_of_provider=False)
        return Sent(Unknown("the worker stopped before the answer came"), says_of_provider=False)
    except Exception as error:  # a provider must not raise; one that does may have sent the task
        log.error(telemetry.PROVIDER_RAISED, provider=provider.name, error=type(error).__name__)
        return Sent(Unknown(f"the provider raised {type(error).__name__}"))
    meters.submitted(provider.name, outcome)
    is_cut_short = isinstance(outcome, NotSent) and departure.is_waiting and not lease.permits_sending()
    return Sent(outcome, says_of_provider=not is_cut_short)
