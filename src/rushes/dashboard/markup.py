"""HTML as values: `tag("p", text)`. Text is escaped unless it is `Markup`: no prompt becomes a page."""

from html import escape
from typing import TypeAlias

from rushes.dashboard.words import tr
from rushes.domain.errors import InputError


class Markup(str):
    """HTML that is safe to send as it is."""

    __slots__ = ()


Child: TypeAlias = "Markup | str | int | list[Markup] | None"

_VOID = frozenset({"img", "input", "br", "hr", "meta", "link", "source"})
_LINK_SCHEMES = ("http://", "https://", "/")


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. `class_`, `for_` lose their `_`, others have `-` for it; None and False leave one out."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Children one after the other."""
    return Markup("".join(_child(child) for child in children))


def link_target(url: str | None) -> str | None:
    """The URL if a page may link to it or play it: never `javascript:` and the like, whoever stored it."""
    return url if url is not None and url.lower().startswith(_LINK_SCHEMES) else None


def whole_number(text: str, *, low: int, high: int, field: str) -> int:
    """The number that a form's field holds; raises `InputError`."""
    digits = text.strip().replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 and low <= int(digits) <= high):
        raise InputError(tr("must be a whole number from {low} to {high}", low=low, high=high), field=field)
    return int(digits)


def _child(child: Child) -> str:
    match child:
        case None:
            return ""
        case Markup():
            return child
        case list():
            return "".join(child)
        case _:
            return escape(str(child))


def _attribute(key: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value), quote=True)}"'
