"""The pages' words in English and Chinese. The English text is the key; `zh.json` has the other language."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Literal, TypeAlias

Language: TypeAlias = Literal["en", "zh"]

LANGUAGES: Final[dict[Language, str]] = {"en": "English", "zh": "中文"}
"""Each language's name in itself."""

CHINESE_FILE: Final = Path(__file__).with_name("zh.json")
_CHINESE: Final[dict[str, str]] = json.loads(CHINESE_FILE.read_text(encoding="utf-8"))

_language: ContextVar[Language] = ContextVar("language", default="en")


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Within it, `tr` answers in this language."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def language() -> Language:
    """The language that is spoken now."""
    return _language.get()


def tr(text: str, /, **values: object) -> str:
    """The text in the language that is spoken now, its `{names}` filled in. The text must be a literal."""
    shown = _CHINESE.get(text, text) if _language.get() == "zh" else text
    return shown.format(**values) if values else shown


def tr_count(count: int, one: str, many: str, /, **values: object) -> str:
    """The text for this number of things: `1 item` or `{n} items`; both must be literals."""
    return tr(one if count == 1 and _language.get() == "en" else many, n=f"{count:,}", **values)


def best_language(accept_language: str) -> Language:
    """The language that a browser asks for, from its `Accept-Language`; English for all others."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language.lower().split(",")[:20]:
        name, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), name))
        except ValueError:
            continue
    for rank, name in sorted(wanted, key=lambda pair: pair[0]):
        if rank < 0 and name[:2] in LANGUAGES:
            return "zh" if name.startswith("zh") else "en"
    return "en"
