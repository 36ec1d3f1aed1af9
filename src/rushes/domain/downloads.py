"""A batch's videos as files of a folder: their names, from a template, and the manifest that lists them."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NotRequired, TypedDict

from rushes.domain.catalogue.media import SUFFIX_OF
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError

DEFAULT_NAMES: Final = "{index:04d}-{custom_id}-{slug}.mp4"

TEMPLATE_CHARACTERS_MAX: Final = 500
SLUG_CHARACTERS_MAX: Final = 40
VALUE_BYTES_MAX: Final = 80
"""How much of a custom id, say, a file's name carries, in UTF-8: two of them and an index fit into a name."""

PART_BYTES_MAX: Final = 200
"""Of a file's name in UTF-8: common file systems take 255, and a file under way has a longer name."""

INDEX_DIGITS_MAX: Final = 9

RESERVED_ENDINGS: Final = (".part", ".part.tag", ".manifest.json")
"""What files under way and the manifest end with."""

_USUAL_TYPES: Final = {
    "video": "video/mp4",
    "last_frame": "image/png",
    "image": "image/png",
    "audio": "audio/mpeg",
}
"""Of files whose content type is not known yet."""

_TOKEN: Final = re.compile(r"\{([a-z_]+)(?::0([1-9])d)?\}|\{\{|\}\}|[{}]|[^{}]+")
_UNSAFE: Final = re.compile(r"[^\w.\-]+")
_WORD: Final = re.compile(r"[^\W_]+")


class DownloadedFile(TypedDict):
    """A line of the manifest. `file` is None, and `error` says why, when there is no file.

    `further_files` are there where the item has files besides its video: `kind, file, bytes, sha256, error`.
    """

    item_id: str
    index: int
    custom_id: str | None
    file: str | None
    bytes: int | None
    sha256: str | None
    error: str | None
    further_files: NotRequired[list[dict[str, Any]]]


def line_without_file(item: Mapping[str, Any]) -> DownloadedFile:
    """The line of an item, in the API's fields, whose file is not there yet."""
    return DownloadedFile(
        item_id=item["item_id"],
        index=item["index"],
        custom_id=item["custom_id"],
        file=None,
        bytes=None,
        sha256=None,
        error=None,
    )


class Manifest(TypedDict):
    """What a download has done; the same stands in the folder's manifest file.

    `downloaded` were fetched now, `present` were there before; `failed` have no file.
    """

    batch_id: str
    downloaded: int
    present: int
    failed: int
    files: list[DownloadedFile]


def manifest_of(batch_id: str, lines: Iterable[DownloadedFile], *, present: int) -> Manifest:
    """The manifest of these lines, `present` of which were there before."""
    files = sorted(lines, key=lambda line: line["index"])
    failed = sum(line["file"] is None for line in files)
    return Manifest(
        batch_id=batch_id,
        downloaded=len(files) - failed - present,
        present=present,
        failed=failed,
        files=files,
    )


def further_name(name: str, number: int, kind: str, content_type: str | None) -> str:
    """The name of a file that came besides the video of that name: `0000-a-boat-1-last_frame.png`."""
    suffix = SUFFIX_OF.get(content_type or _USUAL_TYPES.get(kind, ""), ".bin")
    return f"{name.removesuffix('.mp4')}-{number}-{kind}{suffix}"


# --- names ----------------------------------------------------------------------------------------------


def file_names(template: str, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each item (`index, item_id, custom_id, model, prompt`), no two alike, all within a folder.

    `{index}` may be `{index:04d}`; `{slug}` is the start of the prompt, in words. A value that an item
    does not have takes the `-` or `_` before it along. `/` makes folders. What values hold besides letters,
    digits, `.`, `-` and `_` becomes `_`, so that only the template itself could lead out of the folder.

    Raises `InputError` (field `name`) for a template that does, or under which two names would be the same,
    upper and lower case being the same too.
    """
    parts = _parsed(template)
    names = [_checked(_expanded(parts, item)) for item in items]
    first: dict[str, int] = {}
    for item, name in zip(items, names, strict=True):
        other = first.setdefault(unicodedata.normalize("NFC", name.casefold()), item["index"])
        if other != item["index"]:
            raise _refused(
                f"items {other} and {item['index']} would both be {quoted(name)};"
                " add {index} to the template"
            )
    return names


def _refused(message: str) -> InputError:
    return InputError(message, field="name")


def _parsed(template: str) -> list[tuple[str | None, str]]:
    """The template as (field, digits) and (None, literal text)."""
    if len(template) > TEMPLATE_CHARACTERS_MAX:
        raise _refused(f"{len(template)} characters, more than {TEMPLATE_CHARACTERS_MAX}")
    parts: list[tuple[str | None, str]] = []
    for match in _TOKEN.finditer(template):
        token, field, digits = match.group(), match.group(1), match.group(2)
        if field is not None:
            if field not in _VALUES:
                guess = nearest(field, tuple(_VALUES))
                hint = f"; did you mean {{{guess}}}?" if guess else f"; there are {', '.join(_VALUES)}"
                raise _refused(f"there is no {{{field}}}{hint}")
            if digits is not None and field != "index":
                raise _refused(f"only {{index}} takes a number of digits, not {{{field}}}")
            parts.append((field, digits or ""))
        elif token in ("{", "}"):
            raise _refused(f'"{token}" at character {match.start() + 1} is not part of a {{field}}')
        else:
            parts.append((None, token[0] if token in ("{{", "}}") else token))
    return parts


def _expanded(parts: Sequence[tuple[str | None, str]], item: Mapping[str, Any]) -> str:
    name, takes_separator = "", False
    for field, text in parts:
        if field is None:
            # nothing stands before it: neither does the separator
            name += text[1:] if takes_separator and not name and text[:1] in "-_" else text
            takes_separator = False
            continue
        value = _VALUES[field](item)
        if field == "index" and text:
            value = value.zfill(int(text))
        if not value and name[-1:] in ("-", "_"):
            name = name[:-1]
        takes_separator = not value
        name += value
    return unicodedata.normalize("NFC", name)


def _checked(name: str) -> str:
    """The name, if it stays within the folder and any file system takes it."""
    if not name.isprintable() or "\\" in name:
        raise _refused(f"{quoted(name)} has characters that no file's name should have")
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise _refused(f"{quoted(name)} leads out of the folder, or to no file")
        if len(part.encode()) > PART_BYTES_MAX:
            raise _refused(f"{quoted(name)} is longer than {PART_BYTES_MAX} bytes")
    if name.lower().endswith(RESERVED_ENDINGS):
        raise _refused(f"{quoted(name)}: names that end with {', '.join(RESERVED_ENDINGS)} are taken")
    return name


def _safe(value: object) -> str:
    text = "" if value is None else unicodedata.normalize("NFC", str(value))
    return _cut(_UNSAFE.sub("_", text)).strip(".")


def _cut(text: str) -> str:
    return text.encode(errors="ignore")[:VALUE_BYTES_MAX].decode(errors="ignore")


def _slug(item: Mapping[str, Any]) -> str:
    """The prompt's first words in lower case, whole ones as far as they fit."""
    slug = ""
    for word in _WORD.findall(unicodedata.normalize("NFC", str(item.get("prompt") or "")).lower()):
        longer = f"{slug}-{word}" if slug else word[:SLUG_CHARACTERS_MAX]
        if len(longer) > SLUG_CHARACTERS_MAX:
            break
        slug = longer
    return _cut(slug)


_VALUES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "index": lambda item: str(item["index"]),
    "item_id": lambda item: _safe(item["item_id"]),
    "custom_id": lambda item: _safe(item["custom_id"]),
    "slug": _slug,
    "model": lambda item: _safe(item["model"]),
}
