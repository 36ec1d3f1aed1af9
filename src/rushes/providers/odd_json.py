"""Answers that are JSON but for one odd value: a NaN, a number too large, half of a surrogate pair.

Services write them where they tell a cost, a progress or a time, and a strict reader refuses the whole answer
for it. What is refused is read once more without them: see `read_over_oddities`.

A fast reader takes the last of two values of one name. What an answer decides for good is looked at for that:
see `contradiction_in`.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from rushes.providers.answers import UNDECODABLE
from rushes.providers.base import Provider

T = TypeVar("T")

UNREADABLE_VALUE: Final[list[list[object]]] = [[]]
"""Stands where an odd value stood. No field that is read strictly takes it, so that it never is an id, a
status or a URL; a field that is read as far as it can be says nothing with it."""

_DIGITS_MAX: Final = 400
"""Digits of a whole number that is still read as one: a gateway's id may be long."""

_DECIDING: Final = frozenset(
    {"id", "task_id", "request_id", "name", "done", "status", "task_status", "state", "code"}
)
"""How services name what says which task an answer is about, and how it stands."""

_MAY_DECIDE: Final = re.compile(f'"(?:{"|".join(sorted(_DECIDING))})"|"\\w*"(?=\\s*:\\s*\\{{)'.encode())
"""These names, and those of objects, in the quotes in which they stand where no character is escaped."""


def read_over_oddities(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` makes of the body, or else of the body without odd values.

    Raises what `read` raises for a body that is no JSON at all, or that has nothing odd in it.
    """
    try:
        return read(body)
    except UNDECODABLE:
        plain = without_oddities(body)
        if plain is None:
            raise
        return read(plain)


def without_oddities(body: bytes) -> bytes | None:
    """The JSON with `UNREADABLE_VALUE` for each odd value; None for what has none, or is no JSON."""
    found: list[object] = []

    def odd(value: object) -> Any:
        found.append(value)
        return UNREADABLE_VALUE

    def whole(text: str) -> Any:
        return odd(text) if len(text) > _DIGITS_MAX else int(text)

    def fraction(text: str) -> Any:
        value = float(text)
        return value if math.isfinite(value) else odd(text)

    def plain(value: Any) -> Any:
        match value:
            case str() if not _is_text(value):
                return odd(value)
            case list():
                return [plain(each) for each in value]
            case dict():
                found.extend(name for name in value if not _is_text(name))
                return {name: plain(each) for name, each in value.items() if _is_text(name)}
            case _:
                return value

    try:
        text = body.decode("utf-8", errors="surrogateescape")
        read = plain(json.loads(text, parse_int=whole, parse_float=fraction, parse_constant=odd))
        return json.dumps(read).encode() if found else None
    except (ValueError, RecursionError):
        return None


def _is_text(text: str) -> bool:
    """Whether all of it is valid Unicode."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def contradiction_in(body: bytes) -> str | None:
    """Why the JSON says two things about its task: an object in it has a name of `_DECIDING`, or that of an
    object with such names, twice, with different values. None where it does not, or is no JSON.
    """
    names = _MAY_DECIDE.findall(body)
    if len(names) == len(set(names)) and b"\\u" not in body:
        return None  # what is said twice stands there twice: most answers end here
    found: list[str] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for name, value in members:
            before = read.setdefault(name, value)
            if before != value and (name in _DECIDING or dict in (type(before), type(value))):
                found.append(name)
            read[name] = value
        return read

    try:
        text = body.decode("utf-8", errors="surrogateescape")
        json.loads(text, object_pairs_hook=pairs, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return f'the answer says two things as its "{found[0]}"' if found else None


def task_of_callback(provider: Provider, body: bytes) -> str | None:
    """The remote task id that a callback's body names, odd values in it or not; None when it names none, or
    contradicts itself.
    """
    if contradiction_in(body) is not None:
        return None
    named = provider.remote_task_id_of_callback(body)
    if named is None and (plain := without_oddities(body)) is not None:
        named = provider.remote_task_id_of_callback(plain)
    return named
