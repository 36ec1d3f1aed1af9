"""What a service was asked and answered, as shapes: names and types, without anybody's words, ids or links.

A shape has a line for each place in the JSON: its path, and what stands there (`text`, `integer`, `url`, …).
Words that tell a state (`status: "processing"`) are kept, as they are the protocol's own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from rushes.providers.answers import UNDECODABLE
from rushes.providers.http.transport import Response, Transport

_KEPT_UNDER: Final = frozenset(
    {"status", "state", "task_status", "type", "object", "done", "code", "role", "charge_type", "currency"}
)
"""Fields whose short words belong to the protocol."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_\-]{0,39}")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*")
ITEMS_MAX: Final = 100
"""Items of one list that are looked at."""
DEPTH_MAX: Final = 12

Shape = dict[str, list[str]]
"""Paths (`data[].status`) and what may stand there, sorted."""


class Sample(msgspec.Struct, frozen=True):
    """One exchange. `question` is the method and the path, with the task's id as `{id}`."""

    question: str
    query: list[str]
    asked: Shape
    status: int
    content_type: str
    answered: Shape


class Samples(msgspec.Struct, frozen=True):
    """What was recorded of one provider on one day."""

    provider: str
    day: str
    exchanges: list[Sample]


def shape_of(body: bytes | None) -> Shape:
    """The shape of a body; of one that is no JSON, that it is none."""
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except UNDECODABLE:
        return {"": ["no JSON"]}
    found: dict[str, set[str]] = {}
    for path, kind in _places(value, "", ""):
        found.setdefault(path, set()).add(kind)
    return {path: sorted(kinds) for path, kinds in sorted(found.items())}


def _places(value: Any, path: str, name: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > DEPTH_MAX:
        yield path, "deeper"
    elif isinstance(value, dict):
        yield path, "object"
        for key, member in value.items():
            yield from _places(member, f"{path}.{key}" if path else str(key), str(key), depth + 1)
    elif isinstance(value, list):
        yield path, "list"
        for member in value[:ITEMS_MAX]:
            yield from _places(member, f"{path}[]", name, depth + 1)
    else:
        yield path, _kind(value, name)


def _kind(value: object, name: str) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"{value}".lower() if name in _KEPT_UNDER else "yes or no"
        case int():
            return "integer"
        case float():
            return "number"
        case str() if name in _KEPT_UNDER and _WORD.fullmatch(value):
            return f'"{value}"'
        case str() if value.startswith(("http://", "https://", "gs://")):
            return "url"
        case str() if _NUMBER.fullmatch(value):
            return "number as text"
        case str() if _TIME.fullmatch(value):
            return "time as text"
        case _:
            return "text"


class RecordingTransport:
    """A `Transport` that keeps the shapes of what goes through; `masks` are ids that no sample may name."""

    def __init__(self, transport: Transport, masks: Sequence[str]) -> None:
        self._transport = transport
        parts = {part for mask in masks for part in (mask, *mask.split("/")) if len(part) > 5}
        self._masks = sorted(parts, key=len, reverse=True)
        self.samples: list[Sample] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_seconds: float,
        fresh: bool = False,
    ) -> Response:
        """Send it, and keep its shape when it is answered. Raises `TransportError`."""
        response = await self._transport.request(
            method, url, headers=headers, body=body, timeout_seconds=timeout_seconds, fresh=fresh
        )
        parts = urlsplit(url)
        self.samples.append(
            Sample(
                f"{method} {self._masked(parts.path)}",
                sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)),
                shape_of(body),
                response.status,
                response.headers.get("content-type", "").partition(";")[0].strip(),
                shape_of(response.body),
            )
        )
        return response

    def _masked(self, path: str) -> str:
        for mask in self._masks:
            path = path.replace(mask, "{id}")
        return path

    async def prepare(self, url: str, count: int) -> int:
        """Open connections, as the transport does."""
        return await self._transport.prepare(url, count)

    async def close(self) -> None:
        """Release the connections."""
        await self._transport.close()
