"""Whether each provider that has a key can be reached and takes the key, without buying anything."""

import asyncio
from dataclasses import dataclass
from typing import Final

from rushes.domain.task import NoAnswer
from rushes.provider_wiring import try_providers
from rushes.providers.answers import NO_SUCH_ID
from rushes.providers.base import Checkable, Provider
from rushes.providers.http.reach import Step, reach
from rushes.providers.http.way_out import WayOut
from rushes.settings import Settings

MADE_UP_ID: Final = "rushes-doctor"
"""A remote task that is asked about where a provider has no check of its own: a free request with the key."""

_KEY_REFUSED: Final = frozenset({401, 402, 403})


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """One provider's steps; the last one failed unless it is `ok`."""

    provider: str
    steps: list[Step]

    @property
    def ok(self) -> bool:
        """Whether every step went well."""
        return all(step.ok for step in self.steps)


async def check_providers(settings: Settings) -> list[ProviderCheck]:
    """Every provider with a key, all at once, over the way that its requests take."""
    providers, _ = try_providers(settings)
    try:
        return list(
            await asyncio.gather(*(_check(settings, name, provider) for name, provider in providers.items()))
        )
    finally:
        await providers.close()


async def _check(settings: Settings, name: str, provider: Provider) -> ProviderCheck:
    host = settings.provider_account(name).host
    steps = await reach(WayOut(proxies=settings.proxies), host) if host else []
    if all(step.ok for step in steps):
        steps.append(await key_step(provider))
    return ProviderCheck(name, steps)


async def key_step(provider: Provider) -> Step:
    """Whether the service takes the key: by the provider's own check, or by a question that is free."""
    if isinstance(provider, Checkable):
        refusal = await provider.check()
        return Step("key", refusal is None, "accepted" if refusal is None else refusal)
    match await provider.poll_remote_task(MADE_UP_ID):
        case NoAnswer(http_status=status, error=error) if status in _KEY_REFUSED:
            return Step("key", False, f"refused: {error}")
        case NoAnswer(error=NO_SUCH_ID.error, http_status=None):
            return Step("key", True, "not checked: the service has no free request for it")
        case NoAnswer(http_status=None, error=error):
            return Step("key", False, f"no answer: {error}")
        case NoAnswer(http_status=status, error=error) if status is not None and status >= 500:
            return Step("key", False, f"the service is unwell: {error}")
        case NoAnswer(error=error):
            return Step("key", True, f"not refused (asked about a task that is not there: {error})")
        case _:
            return Step("key", True, "not refused (asked about a task that is not there)")
