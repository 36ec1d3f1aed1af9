"""The dashboard as one ASGI application with a start and an end, for `rushes.service` to mount."""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from nicegui import ui
from starlette.types import ASGIApp

from rushes import telemetry
from rushes.dashboard import accounts, batch, batches, deliveries, overview, workers
from rushes.dashboard.downloads import add_downloads
from rushes.dashboard.gate import Gate
from rushes.dashboard.parts import DashboardParts
from rushes.domain.errors import SettingsError

RECONNECT_SECONDS: Final = 10.0
"""How long a page waits for its connection to come back before it loads itself anew."""

_FAVICON: Final = Path(__file__).with_name("favicon.svg")

_made: list["Dashboard"] = []

log = telemetry.logger()


class Dashboard:
    """The pages behind their gate. NiceGUI keeps its state in its module, so a process has one at most."""

    def __init__(self, parts: DashboardParts) -> None:
        if _made:
            raise SettingsError("this process has a dashboard already")
        _made.append(self)
        theirs = logging.getLogger("nicegui")
        theirs.addHandler(_Lines())
        theirs.propagate = False
        self._shell = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        add_downloads(self._shell, parts)
        for module in (overview, batches, batch, accounts, workers, deliveries):
            module.add_page(parts)
        ui.run_with(
            self._shell,
            title="rushes",
            favicon=_FAVICON,
            dark=None,
            language="en-US",
            reconnect_timeout=RECONNECT_SECONDS,
            tailwind=False,
            show_welcome_message=False,
        )
        self.app: ASGIApp = Gate(self._shell, parts)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it, pages live."""
        async with self._shell.router.lifespan_context(self._shell):
            yield


class _Lines(logging.Handler):
    """What NiceGUI says becomes lines of our log, which may be JSON; its own handlers write plain text."""

    def emit(self, record: logging.LogRecord) -> None:
        """A defect comes with its traceback, in the same line."""
        log.warning(telemetry.DASHBOARD_SAID, said=self.format(record))
