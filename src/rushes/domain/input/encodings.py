"""The text in a file's bytes: UTF-8 and UTF-16 are seen, any other encoding is named by the user."""

import codecs
import re
import unicodedata
from typing import Final

from rushes.domain.catalogue.options import Origin, quoted

INPUT_BYTES_MAX: Final = 64 * 1024 * 1024
SAMPLE_BYTES: Final = 4096
CUT_SHORT_BYTES_MIN: Final = 32
"""Of UTF-16 whose last character has lost a byte; fewer bytes with zeros are no sign of it."""
BYTES_PER_ZERO_MAX: Final = 10
"""One zero byte in this number is UTF-16 even where UTF-8 could be read; fewer may be stray NULs."""

MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""How workbooks of Excel, Numbers and LibreOffice start, new and old."""

LINE_END: Final = re.compile(r"\r\n|\n|\r")

_TWO_BYTES: Final = re.compile(r"[\u00c0-\u07ff]{2,}")
_MORE_BYTES: Final = re.compile(r"[^\u0000-\u07ff]")
_SCRIPTS: Final = frozenset(
    {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "SYRIAC", "THAANA", "NKO"}
)


def decode(data: bytes, source: str, encoding: str | None = None) -> str:
    """The file's text without its byte order mark.

    Without an `encoding` UTF-8 and, by its mark or its zero bytes, UTF-16. Raises `InputError` for a file
    that is too large, that is a workbook, or that is not in this encoding (with the line).
    """
    whole = Origin(source)
    if len(data) > INPUT_BYTES_MAX:
        raise whole.error(f"{len(data)} bytes, more than {INPUT_BYTES_MAX}")
    if data.startswith(WORKBOOKS):
        raise whole.error('a workbook, not text; export it as "CSV UTF-8" first')
    name = _name_of(encoding, whole) if encoding else _seen_in(data)
    for mark, marked in MARKS:
        if data.startswith(mark) and marked == name:
            data = data[len(mark) :]
    try:
        text = data.decode(name).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(name, "replace")
        line, byte = len(LINE_END.findall(before)) + 1, data[error.start]
        hint = "" if encoding else '; save it as UTF-8 (in Excel: "CSV UTF-8"), or name its --encoding'
        shown = name.upper().removesuffix("-LE").removesuffix("-BE")
        raise Origin(source, line).error(f"not {shown} (byte 0x{byte:02x}){hint}") from None
    if encoding is None and name == "utf-8" and not text.isascii():
        _refuse_other_encodings(data, text, source)
    return text


def _refuse_other_encodings(data: bytes, text: str, source: str) -> None:
    """Raise `InputError` for GB18030 that happens to be UTF-8 too: a few Chinese characters may be.

    They are then words of letters that no language mixes, such as "һֻè" for "一只猫".
    """
    mixed = next((run for run in _TWO_BYTES.finditer(text) if len(_scripts_of(run[0])) > 1), None)
    if mixed is None or _MORE_BYTES.search(text):
        return
    try:
        chinese = data.decode("gb18030")
    except UnicodeDecodeError:
        return
    line = len(LINE_END.findall(text, 0, mixed.start()))
    shown = quoted(LINE_END.split(chinese)[line].strip())
    raise Origin(source, line + 1).error(
        f"may be UTF-8 ({quoted(mixed[0])}) or GB18030 ({shown}); name its --encoding: utf-8 or gb18030"
    )


def _scripts_of(word: str) -> set[str]:
    return {unicodedata.name(one, "").split(" ")[0] for one in word} & _SCRIPTS


def _name_of(encoding: str, whole: Origin) -> str:
    """Python's name of a text encoding; raises `InputError` when there is none."""
    try:
        "".encode(encoding)  # of a codec that is none of texts, such as zip, too
        return codecs.lookup(encoding).name
    except (LookupError, ValueError, TypeError):
        example = "cp1252, gb18030 or shift_jis"
        raise whole.error(f"no encoding is called {quoted(encoding)}; there are {example}") from None


def _seen_in(data: bytes) -> str:
    for mark, name in MARKS:
        if data.startswith(mark):
            return name
    sample = data[:SAMPLE_BYTES]
    zeros = sample.count(0)
    is_whole = len(data) % 2 == 0 or len(data) > CUT_SHORT_BYTES_MIN
    if zeros and is_whole and (zeros * BYTES_PER_ZERO_MAX >= len(sample) or not _is_utf_8(data)):
        # text has no zero bytes in UTF-8; in UTF-16 those of ASCII are all at even or all at odd places
        if 0 not in sample[0::2]:
            return "utf-16-le"
        if 0 not in sample[1::2]:
            return "utf-16-be"
    return "utf-8"


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
