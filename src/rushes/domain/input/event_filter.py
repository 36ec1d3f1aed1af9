"""Which events a webhook gets: their types, or groups of them."""

from typing import Final, Literal, TypeAlias, get_args

from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError

EventType: TypeAlias = Literal[
    "batch.processing",
    "batch.succeeded",
    "batch.partial",
    "batch.failed",
    "batch.cancelled",
    "video.succeeded",
    "video.failed",
    "video.stored",
    "video.lost",
]
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)

GROUPS: Final = ("batch.*", "video.*")
ALL: Final = "*"


def read_event_filter(value: object, *, field: str) -> str | None:
    """A list of types and groups as it is stored; None, for all, when there is none or `*` is in it.

    Raises `InputError`.
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise InputError(f"must be a list of event types, not {quoted(value)}", field=field)
    if not value:
        raise InputError("names no event; leave it out for all events", field=field)
    known = frozenset((*EVENT_TYPES, *GROUPS, ALL))
    for index, name in enumerate(value):
        if not isinstance(name, str) or name not in known:
            suggestion = nearest(str(name), known)
            hint = f"; did you mean {quoted(suggestion)}?" if suggestion else ""
            raise InputError(f"there is no event {quoted(name)}{hint}", field=f"{field}[{index}]")
    return None if ALL in value else ",".join(dict.fromkeys(value))


def types_in(stored: str | None) -> list[str]:
    """The types that a stored filter lets through."""
    names = GROUPS if stored is None else stored.split(",")
    return [kind for kind in EVENT_TYPES if kind in names or f"{kind.partition('.')[0]}.*" in names]
