"""The options that some model takes: columns of a CSV file, fields of an item, settings of a batch.

They are the union of what the catalogue's models declare, those of other packages included.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from rushes.domain.catalogue.media import MEDIA_ROLES, MediaInput, own_name
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import (
    DecimalNumber,
    OneOf,
    OptionSpec,
    UrlList,
    WholeNumber,
    YesNo,
    quoted,
)

AUTO: Final = "auto"
"""What an item names in place of a model that is chosen later; until then its task has this model and this
provider."""

KNOWN_OPTIONS: Final[Mapping[str, OptionSpec]] = {
    **{
        name: OneOf(())
        for name in (
            "aspect_ratio",
            "size",
            "resolution",
            "reference_url",
            "first_frame_url",
            "last_frame_url",
        )
    },
    **{name: WholeNumber(0, 2**63) for name in ("duration", "seed")},
    **{name: UrlList(1) for name in ("reference_urls", "audio_urls")},
    **{
        name: MediaInput(content=content, is_list=name == "references")
        for name, content in MEDIA_ROLES.items()
    },
}
"""Options that are fields whatever the catalogue: a model without one refuses it by name."""

_WHOLE_NUMBER: Final = re.compile(r"([+-]?[0-9]{1,18})(?:[.,]0{1,2})?")
"""10, and 10.0 or 10,0 as spreadsheets write it; 10,000 may be ten thousand."""

_NUMBER: Final = re.compile(r"([+-]?[0-9]{1,18})(?:\.([0-9]{1,18})|,([0-9]{1,2}))?")
_YES_AND_NO: Final = {"true": True, "yes": True, "false": False, "no": False}


class OptionFields:
    """The fields' names, and how a text cell of each is read. `find(name)` is the model of an item."""

    __slots__ = ("_find", "_specs", "names")

    names: frozenset[str]
    """All options that some model takes."""

    def __init__(self, models: Iterable[Model], find: Callable[[str], Model | None]) -> None:
        specs: dict[str, OptionSpec] = {}
        for model in models:
            for name, spec in model.options.items():
                specs.setdefault(name, spec)
        self._specs: Mapping[str, OptionSpec] = {**KNOWN_OPTIONS, **specs}
        self._find = find
        self.names = frozenset(self._specs)

    def is_media(self, name: str, model_name: str) -> bool:
        """Whether the option is a file that goes into the video, for the item's model."""
        model = self._find(model_name)
        if model is None:
            return model_name == AUTO and isinstance(self._specs.get(name), MediaInput)
        return isinstance(model.options.get(own_name(name, model.options)), MediaInput)

    def read_cell(self, name: str, text: str, model_name: str) -> object:
        """The value of an option as JSON would have it, from a cell of a CSV file or a form.

        What the item's model has decides, otherwise the first model that has the option. Raises
        `ValueError` with a one-line reason.
        """
        model = self._find(model_name)
        spec = self._specs[name]
        if model is not None:
            spec = model.options.get(own_name(name, model.options), spec)
        return _value(spec, text)


def _value(spec: OptionSpec, text: str) -> object:
    match spec:
        case WholeNumber():
            return _whole(text)
        case OneOf() if spec.values and all(isinstance(value, int) for value in spec.values):
            return _whole(text)
        case OneOf():
            numbers = [value for value in spec.values if isinstance(value, int)]
            return next((value for value in numbers if str(value) == text), text)
        case DecimalNumber():
            number = _NUMBER.fullmatch(text)
            if number is None:
                raise ValueError(f"must be a number, not {quoted(text)}")
            return float(f"{number[1]}.{number[2] or number[3] or 0}")
        case YesNo():
            if text.lower() not in _YES_AND_NO:
                raise ValueError(f"must be true or false, not {quoted(text)}")
            return _YES_AND_NO[text.lower()]
        case UrlList():
            return _list(text)
        case MediaInput():
            return _list(text) if spec.is_list else text
        case _:
            return text


def _whole(text: str) -> int:
    number = _WHOLE_NUMBER.fullmatch(text)
    if number is None:
        raise ValueError(f"must be a whole number, not {quoted(text)}")
    return int(number[1])


def _list(text: str) -> Any:
    if not text.startswith("["):
        return [url.strip() for url in text.split("|")]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON list") from None
