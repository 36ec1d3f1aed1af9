"""JSON as users write it, read strictly."""

import json
import re
from collections.abc import Iterator
from typing import Any

from rushes.domain.catalogue.options import quoted
from rushes.domain.input.encodings import LINE_END

INTEGER_DIGITS_MAX = 100

_NOT_SPACE = re.compile(r"[^ \t\r\n]")


def parse_json(text: str) -> Any:
    """Strict JSON: `ValueError`, in one line, for duplicate keys, NaN, Infinity and too deep nesting too."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None


class _NotJson(ValueError):
    """Text that is no JSON from `line` on."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def parse_json_values(text: str) -> Iterator[tuple[int, Any]]:
    """Values that follow each other with white space between them, each with the line that it starts on.

    Read as strictly as `parse_json` reads one. Raises `ValueError` with the line, `line`.
    """
    place, line = 0, 1
    while True:
        start = _NOT_SPACE.search(text, place)
        if start is None:
            return
        line += len(LINE_END.findall(text, place, start.start()))
        try:
            value, end = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            at = line + len(LINE_END.findall(text, start.start(), error.pos))
            raise _NotJson(f"not JSON: {error.msg} (column {error.colno})", at) from None
        except RecursionError:
            raise _NotJson("not JSON that can be read: nested too deeply", line) from None
        except ValueError as error:
            raise _NotJson(str(error), line) from None
        yield line, value
        line += len(LINE_END.findall(text, start.start(), end))
        place = end


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()  # to count each among all would take hours for a million keys
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {quoted(key)} is there twice")
            seen.add(key)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _bounded_integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS_MAX:
        raise ValueError(f"a number of {len(digits)} digits, more than {INTEGER_DIGITS_MAX}")
    return int(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_repeats,
    parse_constant=_refuse_constant,
    parse_int=_bounded_integer,
)
