"""Server-sent events, as the WHATWG's standard describes the format."""

import codecs
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

LINE_CHARACTERS_MAX: Final = 1024 * 1024
"""The service's events have at most 20 kB."""


class BrokenStream(Exception):
    """What came is no stream of events."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One dispatched event: the last id seen, and its data."""

    id: str
    data: str


async def frames_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[Frame]:
    """Each event with data, in order; comments and incomplete events are dropped. Raises `BrokenStream`."""
    last_id = ""
    data: list[str] = []
    async for line in _lines(chunks):
        if not line:
            if data:
                yield Frame(last_id, "\n".join(data))
            data = []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines ended by LF, CR or both, without their ends; a last one without an end is dropped."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, after_cr = "", False
    async for chunk in chunks:
        text = decoder.decode(chunk)
        if after_cr and text:
            text, after_cr = text.removeprefix("\n"), False
        rest += text
        if rest.endswith("\r"):
            after_cr = True
        *lines, rest = rest.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if len(rest) > LINE_CHARACTERS_MAX:
            raise BrokenStream
        for line in lines:
            yield line
