"""How options stand in a provider's request, as data: most new models of a known provider need no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One option's place and form.

    `path` is where it stands, in dotted parts (`settings.audio`); by default the option's own name.
    `values` says what is sent for a value, by the value's text; with `joined_with`, by both values' texts
    with a space between them (`"16:9 720p": "1280:720"`). `template` makes a text of it (`"{}s"`).
    With `is_sent` false it is not sent by itself, because another option carries it.
    """

    path: str | None = None
    template: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    joined_with: str | None = None
    is_sent: bool = True


AS_NAMED: Final = Wire()
"""The option's own name, the value as it is."""


def wire_fields(wires: Mapping[str, Wire], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a wire form as fields of a JSON body, nested by their paths.

    Raises `ValueError` for values that cannot go together, and for two options at one place.
    """
    body: dict[str, Any] = {}
    for name, wire in wires.items():
        if wire.is_sent and options.get(name) is not None:
            _put(body, wire.path or name, _form(name, options[name], wire, options))
    return body


def _form(name: str, value: Any, wire: Wire, options: Mapping[str, Any]) -> Any:
    key = _text(value)
    if wire.joined_with is not None:
        other = options.get(wire.joined_with)
        key = f"{key} {_text(other)}"
        if key not in wire.values:
            raise ValueError(f"{name} {_text(value)} does not go with {wire.joined_with} {_text(other)}")
    if key in wire.values:
        return wire.values[key]
    if wire.template is not None:
        return wire.template.format(_text(value))
    return list(value) if isinstance(value, tuple) else value


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split(".")
    place = body
    for folder in folders:
        place = place.setdefault(folder, {})
        if not isinstance(place, dict):
            raise ValueError(f"two options stand at {folder}")
    if last in place:
        raise ValueError(f"two options stand at {path}")
    place[last] = value


def _text(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
