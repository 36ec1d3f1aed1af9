"""The library's front door: `Rushes`, which the command line stands on.

Each name is imported when it is first used: a command that only looks (`reading`) starts without the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushes.library.opened import DEFAULT_ACCOUNT
    from rushes.library.rushes import Rushes
    from rushes.library.work import KEY_REFUSED_SECONDS, WATCH_SECONDS

__all__ = ["DEFAULT_ACCOUNT", "KEY_REFUSED_SECONDS", "WATCH_SECONDS", "Rushes"]

_HOME = {"DEFAULT_ACCOUNT": "opened", "Rushes": "rushes"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'work')}"), name)
