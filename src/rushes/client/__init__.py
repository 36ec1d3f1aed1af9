"""A Python client of the HTTP API: `Client`, and `AsyncClient` for asyncio.

It needs nothing of the service's own machinery, only the errors that both share.
"""

from rushes.client.answers import (
    AcceptedBatch,
    Balance,
    Batch,
    CancelledBatch,
    Delivery,
    Event,
    Item,
    LedgerEntry,
    Quote,
    RetriedItem,
)
from rushes.client.asynchronous import AsyncClient
from rushes.client.errors import (
    ClientClosed,
    RateLimited,
    ServiceRefused,
    ServiceUnreachable,
    StillRunning,
    UnexpectedAnswer,
)
from rushes.client.synchronous import Client
from rushes.domain.downloads import DownloadedFile, Manifest

__all__ = [
    "AcceptedBatch",
    "AsyncClient",
    "Balance",
    "Batch",
    "CancelledBatch",
    "Client",
    "ClientClosed",
    "Delivery",
    "DownloadedFile",
    "Event",
    "Item",
    "LedgerEntry",
    "Manifest",
    "Quote",
    "RateLimited",
    "RetriedItem",
    "ServiceRefused",
    "ServiceUnreachable",
    "StillRunning",
    "UnexpectedAnswer",
]
