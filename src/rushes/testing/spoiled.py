"""Samples that are almost right: what a strict reader must not take for the real thing."""

import copy
import random
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from rushes.testing.case import Replies, Reply


class Spoiling(Enum):
    """What was done to one place of a sample."""

    LEFT_OUT = "left out"
    EMPTIED = "null or empty"
    RETYPED = "of another type"
    REWORDED = "an unheard-of word"


class Spoiled(NamedTuple):
    """A sample with one place changed; `what` says how and where, for people."""

    replies: Replies
    kind: Spoiling
    what: str


_VALUES: tuple[Any, ...] = (True, 5, -1.5, "text", ["text"], [5], {"text": 5}, [[]])
WORD = "unheard-of-word"

GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "null": b"null",
    "a list": b"[]",
    "a number": b"5",
    "a text": b'"succeeded"',
    "an empty object": b"{}",
    "no UTF-8": b"\xff\xfe\x00{",
    "half an object": b'{"id":',
    "deep nesting": b'{"id":' * 50_000 + b"1" + b"}" * 50_000,
    "an event stream": b'data: {"id":"1"}\n\n',
}
"""Bodies that no service means."""


def spoiled(replies: Replies, *, but: str) -> Iterator[Spoiled]:
    """Every place of every reply left out, emptied, retyped, and reworded unless `but` ends in its text."""
    for number, reply in enumerate(replies):
        if isinstance(reply.body, bytes):
            continue
        for path in _paths(reply.body):
            where = f"reply {number + 1}, {''.join(f'[{step!r}]' for step in path)}"
            for kind, body in _changed(reply.body, path, but=but):
                changed = [
                    *replies[:number],
                    Reply(body, reply.status, reply.headers),
                    *replies[number + 1 :],
                ]
                yield Spoiled(changed, kind, f"{where} {kind.value}: {_shown(body, path)}")


ODD: tuple[Any, ...] = (None, "", "0%", "40%", 99.5, 400, -3, "soon", {"text": 5}, [5], True)
"""What services have been seen to write where a number or a text belongs, and worse."""

EXTRAS: tuple[dict[str, Any], ...] = (
    {"progress": "0%"},
    {"progress": 99.5},
    {"progress": None, "created_at": "now"},
    {"no_such_field": {"of": ["any", "form"]}},
)
"""Fields beside an id in an acceptance that take nothing away from it."""


def with_odd(replies: Replies, names: Collection[str]) -> Iterator[Spoiled]:
    """Each field of one of these names left out, and with each of `ODD` in it."""
    for number, reply in enumerate(replies):
        if isinstance(reply.body, bytes):
            continue
        for path in _paths(reply.body):
            if path[-1] not in names:
                continue
            where = f"reply {number + 1}, {''.join(f'[{step!r}]' for step in path)}"
            without = copy.deepcopy(reply.body)
            del _at(without, path[:-1])[path[-1]]
            yield Spoiled(_with_body(replies, number, without), Spoiling.LEFT_OUT, f"{where} left out")
            for value in ODD:
                changed = _with_body(replies, number, _with(reply.body, path, value))
                yield Spoiled(changed, Spoiling.RETYPED, f"{where} as {value!r}")


def with_extras(replies: Replies, remote_task_id: str) -> Iterator[Replies]:
    """The last reply with `EXTRAS` beside the id."""
    last = replies[-1].body
    if isinstance(last, bytes):
        return
    for path in _paths(last):
        named = _at(last, path)
        if not (isinstance(named, str) and named and remote_task_id.endswith(named)):
            continue
        for extra in EXTRAS:
            body = copy.deepcopy(last)
            for name, value in extra.items():
                _at(body, path[:-1]).setdefault(name, value)
            yield _with_body(replies, len(replies) - 1, body)


def cut(replies: Replies) -> Iterator[Spoiled]:
    """The last reply cut at eight places, and sent twice over."""
    last = replies[-1].body
    body = last if isinstance(last, bytes) else msgspec.json.encode(last)
    parts = [body[: len(body) * eighth // 8] for eighth in range(8)]
    for part in [*parts, body[:-1], body + body]:
        what = f"the last reply's first {len(part)} bytes of {len(body)}"
        yield Spoiled(_with_body(replies, len(replies) - 1, part), Spoiling.RETYPED, what)


def with_texts(replies: Replies, change: Callable[[str], str]) -> Iterator[Replies]:
    """The replies with one text changed at a time."""
    for number, reply in enumerate(replies):
        if isinstance(reply.body, bytes):
            continue
        for path in _paths(reply.body):
            text = _at(reply.body, path)
            if isinstance(text, str):
                yield _with_body(replies, number, _with(reply.body, path, change(text)))


def noise(count: int) -> Iterator[tuple[int, bytes]]:
    """Statuses and bodies from a seed: bytes, and JSON's own tokens in a wrong order."""
    draw = random.Random(5)
    tokens = [b"{", b"}", b"[", b"]", b":", b",", b'"id"', b'"status"', b'"error"', b"0", b"null", b'"x"']
    for _ in range(count):
        status = draw.choice((200, 200, 200, 202, 400, 404, 429, 500))
        if draw.random() < 0.5:
            yield status, draw.randbytes(draw.randrange(80))
        else:
            yield status, b"".join(draw.choices(tokens, k=draw.randrange(20)))


def _with_body(replies: Replies, number: int, body: Any) -> Replies:
    changed = list(replies)
    changed[number] = Reply(body, replies[number].status, replies[number].headers)
    return changed


def _paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each member, at every depth."""
    if isinstance(value, dict):
        steps: Any = value.items()
    elif isinstance(value, list):
        steps = enumerate(value)
    else:
        return
    for step, member in steps:
        yield (*before, step)
        yield from _paths(member, (*before, step))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    changed = copy.deepcopy(value)
    _at(changed, path[:-1])[path[-1]] = new
    return changed


def _changed(body: Any, path: tuple[Any, ...], *, but: str) -> Iterator[tuple[Spoiling, Any]]:
    old = _at(body, path)
    without = copy.deepcopy(body)
    del _at(without, path[:-1])[path[-1]]
    yield Spoiling.LEFT_OUT, without
    empties: tuple[Any, ...] = (None, "", [], {})
    for nothing in empties:
        if nothing != old and (nothing is None or type(nothing) is type(old)):
            yield Spoiling.EMPTIED, _with(body, path, nothing)
    for value in _VALUES:
        if _kind(value) != _kind(old):
            yield Spoiling.RETYPED, _with(body, path, value)
    if isinstance(old, str) and not (old and but.endswith(old)):
        yield Spoiling.REWORDED, _with(body, path, WORD)


def _kind(value: Any) -> type:
    return int if type(value) is float and value.is_integer() else type(value)


def _shown(body: Any, path: tuple[Any, ...]) -> str:
    try:
        return repr(_at(body, path))[:60]
    except (KeyError, IndexError):
        return "(gone)"
