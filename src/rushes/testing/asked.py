"""What the suite requires of a provider that can find a submit by its key, or drop a task that waits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rushes.domain.task import Accepted, CancelRefused, CancelTaken, NeverTaken, NoAnswer
from rushes.providers.base import Cancellable, Findable, Provider
from rushes.testing.case import CancelCase, FindCase, ProviderCase, Replies, Reply
from rushes.testing.requirements import faults, other_id, require
from rushes.testing.service import Service, carries_credentials, provider_at
from rushes.testing.spoiled import GARBAGE, Spoiling, cut, spoiled

SUBMIT_KEY: Final = "bat_0123456789abcdef01234567-12-0-1"
"""The key that samples of found submits name."""

_NO_ANSWERS: Final = (401, 403, 408, 429, 500, 502, 503, 599)
_ODD_IDS: Final = ("", "\ud800", "a/../b?c=1#d", "../../x", ".", "..", "a b\r\nx: y", "x" * 5000)


async def require_finds(case: ProviderCase, find: FindCase, service: Service, provider: Provider) -> None:
    """The key goes with the submit, and by it the service's task is found, or known not to be there."""
    require(isinstance(provider, Findable), "it has no `find`")
    assert isinstance(provider, Findable)
    service.say(case.accepted)
    await provider.submit(replace(case.request, submit_key=SUBMIT_KEY))
    (sent,) = service.requests
    require(SUBMIT_KEY.encode() in sent.body, "the submit key does not go with the submit")
    service.say(find.found)
    found = await provider.find(SUBMIT_KEY)
    require(found == Accepted(case.remote_task_id), f"a submit that the service has is {found}")
    keyed = all(carries_credentials(case, asked) for asked in service.requests)
    require(keyed, "it asks without the key")
    service.say(find.never_taken)
    never = await provider.find(SUBMIT_KEY)
    require(never == NeverTaken(), f"a submit that the service never took is {never}")
    service.say(find.found)
    other = await provider.find(other_id(SUBMIT_KEY))
    require(isinstance(other, NoAnswer), f"an answer about another key is {other}")
    await _require_no_guess(case, find, service, provider)


async def _require_no_guess(case: ProviderCase, find: FindCase, service: Service, provider: Findable) -> None:
    """What is not said in the service's own words is no answer: a wrong one buys a video twice, or none."""
    for status in _NO_ANSWERS:
        service.say([Reply(b"", status)])
        result = await provider.find(SUBMIT_KEY)
        require(isinstance(result, NoAnswer), f"HTTP {status} to a find is {result}")
    for name, body in GARBAGE.items():
        service.say([Reply(body)])
        result = await provider.find(SUBMIT_KEY)
        require(isinstance(result, NoAnswer), f"{name} as the answer to a find is {result}")
    for each in cut(find.found):
        service.say(each.replies)
        result = await provider.find(SUBMIT_KEY)
        require(isinstance(result, NoAnswer), f"of a found submit, {each.what} is {result}")
    for each in spoiled(find.found, but=case.remote_task_id):
        service.say(each.replies)
        result = await provider.find(SUBMIT_KEY)
        is_own = isinstance(result, Accepted) and (
            result == Accepted(case.remote_task_id)
            or (each.kind is Spoiling.RETYPED and result.remote_task_id.endswith("5"))
        )
        is_empty = isinstance(result, NeverTaken) and each.kind is Spoiling.EMPTIED
        require(is_own or is_empty or isinstance(result, NoAnswer), f"{each.what} is {result}")
    for fault in faults(find.found, service):
        result = await provider.find(SUBMIT_KEY)
        require(isinstance(result, NoAnswer), f"{fault} of a find is {result}")
    async with provider_at(case, "http://127.0.0.1:1") as nowhere:
        assert isinstance(nowhere, Findable)
        result = await nowhere.find(SUBMIT_KEY)
        require(isinstance(result, NoAnswer), f"a refused connection is {result}")


async def require_cancels(
    case: ProviderCase, cancel: CancelCase, service: Service, provider: Provider
) -> None:
    """A task that waits is dropped; one that renders or has ended is left alone, and nothing is guessed."""
    require(isinstance(provider, Cancellable), "it has no `cancel`")
    assert isinstance(provider, Cancellable)
    service.say(cancel.taken)
    taken = await provider.cancel(case.remote_task_id)
    require(taken == CancelTaken(), f"the cancel of a task that waits is {taken}")
    require(len(service.requests) == len(cancel.taken), f"it took {len(service.requests)} requests")
    depths = {asked.path.count("/") for asked in service.requests}
    left_alone: Sequence[Replies] = (*cancel.refused, case.running, case.succeeded, case.failed)
    for number, replies in enumerate(left_alone):
        service.say(replies)
        result = await provider.cancel(case.remote_task_id)
        require(isinstance(result, CancelRefused), f"sample {number + 1} of no cancel is {result}")
    for before in range(len(cancel.taken)):
        for status in _NO_ANSWERS:
            service.say([*cancel.taken[:before], Reply(b"", status)])
            result = await provider.cancel(case.remote_task_id)
            require(isinstance(result, NoAnswer), f"HTTP {status} to request {before + 1} is {result}")
    for fault in faults(cancel.taken, service):
        result = await provider.cancel(case.remote_task_id)
        if cancel.taken[-1].body == b"" and result == CancelTaken():
            continue  # an answer without a body can be no shorter
        require(isinstance(result, NoAnswer), f"{fault} of a cancel is {result}")
    if len(cancel.taken) > 1:
        for name, body in GARBAGE.items():
            service.say([Reply(body)])
            result = await provider.cancel(case.remote_task_id)
            require(not isinstance(result, CancelTaken), f"{name} of how it stands is {result}")
            require(len(service.requests) == 1, f"{name} of how it stands, and it is cancelled")
    for odd in _ODD_IDS:
        service.say(cancel.taken)
        await provider.cancel(odd)
        for asked in service.requests:
            strayed = asked.path.count("/") not in depths or "c=1" in asked.query
            require(not strayed, f"the id {odd[:20]!r} leads to {asked.path}?{asked.query}")
