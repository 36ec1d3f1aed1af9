"""rushes: runs batches of remote AI-video tasks to completion and settles prepaid credits exactly.

The names below are the library; each is imported when it is first used, so that `import rushes` and
`rushes --help` stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushes.client import AsyncClient, Client
    from rushes.domain.catalogue.catalogue import Catalogue
    from rushes.domain.catalogue.families import DEFAULT_CATALOGUE
    from rushes.domain.catalogue.model import Model
    from rushes.domain.errors import InsufficientCredits, RushesError
    from rushes.domain.task import (
        TRANSITIONS,
        BatchStatus,
        Failed,
        FailureType,
        NoAnswer,
        PollResult,
        Processing,
        Succeeded,
        TaskStatus,
    )
    from rushes.library import Rushes
    from rushes.settings import Settings

__version__ = "0.2.0"

__all__ = [
    "DEFAULT_CATALOGUE",
    "TRANSITIONS",
    "AsyncClient",
    "BatchStatus",
    "Catalogue",
    "Client",
    "Failed",
    "FailureType",
    "InsufficientCredits",
    "Model",
    "NoAnswer",
    "PollResult",
    "Processing",
    "Rushes",
    "RushesError",
    "Settings",
    "Succeeded",
    "TaskStatus",
]

_HOME = {
    "AsyncClient": "rushes.client",
    "DEFAULT_CATALOGUE": "rushes.domain.catalogue.families",
    "Catalogue": "rushes.domain.catalogue.catalogue",
    "Client": "rushes.client",
    "InsufficientCredits": "rushes.domain.errors",
    "Model": "rushes.domain.catalogue.model",
    "Rushes": "rushes.library",
    "RushesError": "rushes.domain.errors",
    "Settings": "rushes.settings",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "rushes.domain.task")), name)
