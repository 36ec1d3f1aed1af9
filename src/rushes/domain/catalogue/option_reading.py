"""Options as an operator writes them: `{ kind = "whole_number", minimum = 2, maximum = 10, default = 5 }`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from rushes.domain.catalogue.media import FILES_MAX, MEDIA_ROLES, OLDER_NAMES, WAYS, Content, MediaInput
from rushes.domain.catalogue.options import (
    DecimalNumber,
    OneOf,
    OptionSpec,
    Origin,
    Seed,
    Text,
    Url,
    UrlList,
    WholeNumber,
    YesNo,
    nearest,
    quoted,
)
from rushes.domain.catalogue.price import exact
from rushes.domain.catalogue.wire import Wire
from rushes.domain.errors import InputError

OPTIONS_MAX: Final = 64
CHOICES_MAX: Final = 100
TEXT_CHARACTERS_MAX: Final = 10_000
NAME_CHARACTERS_MAX: Final = 64

RESERVED_NAMES: Final = frozenset(
    {"prompt", "model", "custom_id", "metadata", "options", "items", "template", "variables", "retries"}
)
"""Fields of an item or a batch that no option may be called."""

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "choice": ("values", "synonyms"),
    "whole_number": ("minimum", "maximum", "step"),
    "decimal": ("minimum", "maximum"),
    "yes_no": (),
    "text": ("characters_max",),
    "seed": ("minimum", "maximum"),
    "url": ("content",),
    "url_list": ("content", "count_max"),
    "media": (
        "content",
        "count_max",
        "ways",
        "bytes_max",
        "data_uri_bytes_max",
        "url_characters_max",
        "content_types",
    ),
}
_SHARED: Final = ("kind", "default", "wire")
_WIRE_FIELDS: Final = ("path", "template", "values", "joined_with", "is_sent")
_CONTENTS: Final = ("image", "video", "audio file")


def read_options(value: object, there: Mapping[str, OptionSpec], origin: Origin) -> dict[str, OptionSpec]:
    """The options of a model that has `there`: a new or changed one is an object, `false` takes one away."""
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object, not {quoted(value)}")
    found = dict(there)
    for written, fields in value.items():
        name = written
        if not isinstance(name, str) or not name.isidentifier() or len(name) > NAME_CHARACTERS_MAX:
            raise origin.error(f"an option's name has letters, digits and _, not {quoted(name)}")
        if name in RESERVED_NAMES:
            raise origin.error("is a field of every item: an option needs another name", name)
        if name in OLDER_NAMES and name not in found and _is_file(fields):
            name = OLDER_NAMES[name]
        if fields is False:
            if name not in found:
                raise origin.error("the model has no such option", name)
            del found[name]
        else:
            found[name] = read_option(fields, Origin(path=f"{origin.path}.{name}"))
    if len(found) > OPTIONS_MAX:
        raise origin.error(f"{len(found)} options, more than {OPTIONS_MAX}")
    return found


def _is_file(fields: object) -> bool:
    """Whether it takes an option away, or describes one whose values are files."""
    kind = fields.get("kind") if isinstance(fields, Mapping) else None
    return fields is False or kind in ("url", "url_list", "media")


def read_option(fields: object, origin: Origin) -> OptionSpec:
    """One option; raises `InputError` with the field at fault."""
    if not isinstance(fields, Mapping):
        raise origin.error(f"must be an object with a kind, or false, not {quoted(fields)}")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise origin.error(f"must be one of {', '.join(_FIELDS)}, not {quoted(kind)}", "kind")
    known = (*_SHARED, *_FIELDS[kind])
    for name in fields:
        if name not in known:
            raise _unknown(str(name), known, origin)
    wire = _wire(fields.get("wire", {}), Origin(path=f"{origin.path}.wire"))
    spec = _MAKERS[kind](fields, origin, wire)
    default = fields.get("default")
    if default is None:
        return spec
    if isinstance(default, Decimal):
        default = float(default)
    try:
        return _with_default(spec, spec.normalise(default))
    except ValueError as refused:
        raise origin.error(str(refused), "default") from None


def _with_default(spec: Any, default: object) -> OptionSpec:
    found: OptionSpec = replace(spec, default=default)
    return found


def _unknown(name: str, known: tuple[str, ...], origin: Origin) -> InputError:
    suggestion = nearest(name, known)
    hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"use {', '.join(known)}"
    return origin.error(f"has no field {quoted(name)}; {hint}")


def _whole(fields: Mapping[str, Any], name: str, origin: Origin, default: int | None = None) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise origin.error(
            "missing" if value is None else f"must be a whole number, not {quoted(value)}", name
        )
    return value


def _choice(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    values = fields.get("values")
    if not isinstance(values, list | tuple) or not 0 < len(values) <= CHOICES_MAX:
        raise origin.error(f"must be a list of 1 to {CHOICES_MAX} values", "values")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise origin.error(f"must be text or a whole number, not {quoted(value)}", f"values[{index}]")
    synonyms = fields.get("synonyms", {})
    if not isinstance(synonyms, Mapping) or not all(value in values for value in synonyms.values()):
        raise origin.error("must name a value for each other word", "synonyms")
    return OneOf(tuple(values), dict(synonyms), wire=wire)


def _whole_number(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    low, high = _whole(fields, "minimum", origin), _whole(fields, "maximum", origin)
    step = _whole(fields, "step", origin, 1)
    if low > high:
        raise origin.error(f"must be at least the minimum, {low}", "maximum")
    if step < 1:
        raise origin.error("must be at least 1", "step")
    return WholeNumber(low, high, step, wire=wire)


def _decimal(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    ends: list[Decimal] = []
    for name in ("minimum", "maximum"):
        value = fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise origin.error("missing" if value is None else f"must be a number, not {quoted(value)}", name)
        try:
            exact(value)
        except ValueError:
            raise origin.error("must be a finite number", name) from None
        ends.append(Decimal(str(value)))
    if ends[0] > ends[1]:
        raise origin.error(f"must be at least the minimum, {ends[0]}", "maximum")
    return DecimalNumber(ends[0], ends[1], wire=wire)


def _text(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    length = _whole(fields, "characters_max", origin)
    if not 0 < length <= TEXT_CHARACTERS_MAX:
        raise origin.error(f"must be from 1 to {TEXT_CHARACTERS_MAX}", "characters_max")
    return Text(length, wire=wire)


def _seed(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    low = _whole(fields, "minimum", origin, Seed().minimum)
    high = _whole(fields, "maximum", origin, Seed().maximum)
    if low > high:
        raise origin.error(f"must be at least the minimum, {low}", "maximum")
    return Seed(low, high, wire=wire)


def _url(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    name = _name_in(origin)
    if name in MEDIA_ROLES:
        return MediaInput(
            content=MEDIA_ROLES[name] if "content" not in fields else _media_content(fields, origin),
            is_list=name == "references",
            wire=wire,
        )
    return Url(_content(fields, origin), wire=wire)


def _url_list(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    count = _whole(fields, "count_max", origin)
    if not 0 < count <= CHOICES_MAX:
        raise origin.error(f"must be from 1 to {CHOICES_MAX}", "count_max")
    if _name_in(origin) in MEDIA_ROLES:
        return MediaInput(
            content=_media_content(fields, origin), is_list=True, count_max=count, wire=_as_list(wire)
        )
    return UrlList(count, _content(fields, origin), wire=wire)


def _name_in(origin: Origin) -> str:
    return origin.path.rpartition(".")[2]


def _media_content(fields: Mapping[str, Any], origin: Origin) -> Content:
    """What the files are; by default what the input's name says."""
    content = fields.get("content", MEDIA_ROLES.get(_name_in(origin), "image"))
    if content == "audio file":
        content = "audio"
    if content not in ("image", "video", "audio"):
        raise origin.error(f"must be image, video or audio, not {quoted(content)}", "content")
    found: Content = content
    return found


def _as_list(wire: Wire) -> Wire:
    """The place of a list of files, whose path says so."""
    return wire if wire.path is None or wire.path.endswith("[]") else replace(wire, path=f"{wire.path}[]")


def _content(fields: Mapping[str, Any], origin: Origin) -> str:
    content = fields.get("content", "image")
    if content not in _CONTENTS:
        raise origin.error(f"must be one of {', '.join(_CONTENTS)}, not {quoted(content)}", "content")
    return str(content)


def _media(fields: Mapping[str, Any], origin: Origin, wire: Wire) -> OptionSpec:
    """A media input; one that may have several files, or is called `references`, is a list."""
    content, name = _media_content(fields, origin), _name_in(origin)
    count = _whole(fields, "count_max", origin, 1)
    if not 0 < count <= FILES_MAX:
        raise origin.error(f"must be from 1 to {FILES_MAX}", "count_max")
    ways = fields.get("ways", ["url"])
    if not isinstance(ways, list | tuple) or not ways or any(way not in WAYS for way in ways):
        raise origin.error(f"must be a list of some of {', '.join(WAYS)}", "ways")
    types = fields.get("content_types", ())
    if not isinstance(types, list | tuple) or not all(isinstance(each, str) for each in types):
        raise origin.error('must be a list of content types such as "image/png"', "content_types")
    limits: dict[str, int] = {}
    for limit in ("bytes_max", "data_uri_bytes_max", "url_characters_max"):
        if limit in fields:
            limits[limit] = _whole(fields, limit, origin)
            if limits[limit] < 1:
                raise origin.error("must be at least 1", limit)
    return MediaInput(
        content=content,
        is_list=count > 1 or name == "references",
        count_max=count,
        ways=tuple(ways),
        content_types=tuple(types),
        wire=wire,
        **limits,
    )


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any], Origin, Wire], OptionSpec]]] = {
    "choice": _choice,
    "whole_number": _whole_number,
    "decimal": _decimal,
    "yes_no": lambda _fields, _origin, wire: YesNo(wire=wire),
    "text": _text,
    "seed": _seed,
    "url": _url,
    "url_list": _url_list,
    "media": _media,
}


def _wire(value: object, origin: Origin) -> Wire:
    if not isinstance(value, Mapping):
        raise origin.error(f"must be an object, not {quoted(value)}")
    for name in value:
        if name not in _WIRE_FIELDS:
            raise _unknown(str(name), _WIRE_FIELDS, origin)
    for name in ("path", "template", "joined_with"):
        text = value.get(name)
        if text is not None and (not isinstance(text, str) or not text or not text.isprintable()):
            raise origin.error(f"must be text, not {quoted(text)}", name)
    path, template = value.get("path"), value.get("template")
    if path is not None and not all(part for part in path.split(".")):
        raise origin.error(f"must be names with dots between, not {quoted(path)}", "path")
    if template is not None and (template.count("{}") != 1 or template.count("{") != 1):
        raise origin.error(f"must have one {{}} for the value, not {quoted(template)}", "template")
    values = value.get("values", {})
    if not isinstance(values, Mapping):
        raise origin.error(f"must be an object, not {quoted(values)}", "values")
    is_sent = value.get("is_sent", True)
    if not isinstance(is_sent, bool):
        raise origin.error(f"must be true or false, not {quoted(is_sent)}", "is_sent")
    return Wire(
        path=path,
        template=template,
        values={str(text): sent for text, sent in values.items()},
        joined_with=value.get("joined_with"),
        is_sent=is_sent,
    )
