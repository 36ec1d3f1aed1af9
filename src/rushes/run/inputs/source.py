"""What gives a worker's submits their files, and the one that knows URLs only."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, TypeAlias

from rushes.domain.catalogue.media import same_input
from rushes.domain.catalogue.model import Model
from rushes.domain.task import Rejected, Throttled
from rushes.providers.base import Provider
from rushes.providers.inputs import InputFile, Inputs

NotReady: TypeAlias = Throttled | Rejected
"""A submit that cannot leave: for now, or ever."""


class InputSource(Protocol):
    """Where a worker's submits get their files from."""

    def opened(
        self, provider: Provider, model: Model, options: Mapping[str, Any]
    ) -> contextlib.AbstractAsyncContextManager[Inputs | NotReady]:
        """The files for a submit, for as long as it takes; or why it cannot be made."""
        ...


def urls_of(model: Model, options: Mapping[str, Any]) -> Inputs:
    """The files at URLs among a task's options."""
    return {
        same_input(name): tuple(InputFile(url=url) for url in urls)
        for name, urls in model.media_of(options).items()
    }


class UrlsOnly:
    """For workers that have no uploads: tests, and the simulation."""

    @contextlib.asynccontextmanager
    async def opened(
        self, provider: Provider, model: Model, options: Mapping[str, Any]
    ) -> AsyncIterator[Inputs | NotReady]:
        """The URLs."""
        yield urls_of(model, options)
