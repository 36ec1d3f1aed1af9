"""What an operator may say of a model: `RUSHES_MODELS` and `rushes.toml` have the same fields.

`credits` or `price`, `cost`, the times, the deadlines, `sunset_at`, `disabled`, `note`, `limits`, the
prompt's length and the options of a model that is there; `removed = true` takes it away. With `like`, the
name of a model, it is a new one: another `api_model` of the same provider, by default the name itself;
`lane_of` in its place says that it is that model's slow, cheap lane. With
`provider` and `api_model` it is a new one of its own. What the provider charges for a new model must be
stated again.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import Any, Final

from rushes.domain.catalogue.model import Model, ModelLimits
from rushes.domain.catalogue.option_reading import read_options
from rushes.domain.catalogue.options import Origin, nearest, quoted
from rushes.domain.catalogue.price import Price
from rushes.domain.catalogue.price_reading import MODEL_CREDITS_MAX, read_cost, read_price

MODEL_NAME_CHARACTERS_MAX: Final = 100
NOTE_CHARACTERS_MAX: Final = 500

OVERRIDABLE_FIELDS: Final = (
    "credits",
    "price",
    "cost",
    "render_time_p50_seconds",
    "soft_deadline_seconds",
    "hard_deadline_seconds",
    "sunset_at",
    "disabled",
    "note",
    "options",
    "prompt_units_max",
    "prompt_unit",
    "limits",
)
"""What may be said of a model that is there; all else of it is a fact of its provider."""

_NEW_FIELDS: Final = ("like", "lane_of", "provider", "api_model")
_PROMPT_UNITS: Final = ("characters", "utf16", "bytes")


def is_new(name: str, values: Mapping[str, Any], there: Mapping[str, Model]) -> bool:
    """Whether the fields describe a model that is not there yet."""
    return (
        "like" in values
        or "lane_of" in values
        or (name not in there and ("provider" in values or "api_model" in values))
    )


def is_removed(values: Mapping[str, Any], origin: Origin) -> bool:
    """Whether the model is to be taken away; raises `InputError` when anything else is said of it too."""
    removed = values.get("removed", False)
    if not isinstance(removed, bool):
        raise origin.error(f"must be true or false, not {quoted(removed)}", "removed")
    if removed and len(values) > 1:
        raise origin.error("a removed model has no other field", "removed")
    return removed


def new_model(
    name: str,
    values: Mapping[str, Any],
    there: Mapping[str, Model],
    find: Callable[[str, Origin], Model],
) -> Model:
    """A model of an operator's own; raises `InputError`."""
    origin = Origin(path=quoted(name))
    given = dict(values)
    if name in there:
        raise origin.error("there is a model of this name already", "like")
    if "like" in given or "lane_of" in given:
        lane_of = given.pop("lane_of", None)
        like, api_model = given.pop("like", lane_of), given.pop("api_model", name)
        _check_names(origin, like=like, api_model=api_model, name=name)
        if lane_of not in (None, like):
            raise origin.error(f"is the lane of {quoted(lane_of)} already: leave `like` away", "like")
        known = find(str(like), origin)
        if lane_of is not None and known.lane_of is not None:
            raise origin.error(f"{known.name} is a lane itself", "lane_of")
        lane = None if lane_of is None else known.name
        model = replace(known, name=name, api_model=str(api_model), cost=None, note=None, lane_of=lane)
        return changed_model(model, given)
    provider, api_model = given.pop("provider", None), given.pop("api_model", None)
    _check_names(origin, provider=provider, api_model=api_model, name=name)
    if "credits" not in given and "price" not in given:
        raise origin.error("missing", "price")
    model = Model(name=name, provider=str(provider), api_model=str(api_model), credits=0)
    return changed_model(model, given)


def _check_names(origin: Origin, **names: object) -> None:
    for field_name, value in names.items():
        if not isinstance(value, str) or not 0 < len(value) <= MODEL_NAME_CHARACTERS_MAX:
            raise origin.error(f"must be a name, not {quoted(value)}", field_name)
        if not value.isprintable():
            raise origin.error("must be printable", field_name)


def changed_model(model: Model, values: Mapping[str, Any]) -> Model:
    """The model with an operator's values; raises `InputError`."""
    origin = Origin(path=model.name)
    if "credits" in values and "price" in values:
        raise origin.error("give credits or price, not both", "price")
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name == "credits":
            read["price"] = Price.flat(_flat_credits(value, origin))
        else:
            read[name] = _value(name, value, origin, model)
    try:
        return replace(model, **read)
    except ValueError as refused:
        raise origin.error(str(refused)) from None


def _flat_credits(value: object, origin: Origin) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise origin.error(f"must be a whole number, not {quoted(value)}", "credits")
    if not 0 <= value <= MODEL_CREDITS_MAX:
        raise origin.error(f"credits must be from 0 to {MODEL_CREDITS_MAX}")
    return value


def _value(name: str, value: Any, origin: Origin, model: Model) -> Any:
    """One field's value, of the right type; ranges are the model's own matter."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    match name:
        case "price":
            return read_price(value, _within(origin, name))
        case "cost":
            return None if value is None else read_cost(value, _within(origin, name))
        case "options":
            return read_options(value, model.options, _within(origin, name))
        case "render_time_p50_seconds" | "soft_deadline_seconds" | "hard_deadline_seconds":
            if is_number:
                return float(value)
            raise origin.error(f"must be a number of seconds, not {quoted(value)}", name)
        case "prompt_units_max":
            if is_whole or value is None:
                return value
            raise origin.error(f"must be a whole number, not {quoted(value)}", name)
        case "prompt_unit":
            if value in _PROMPT_UNITS:
                return value
            raise origin.error(f"must be one of {', '.join(_PROMPT_UNITS)}, not {quoted(value)}", name)
        case "limits":
            return _limits(value, _within(origin, name))
        case "note":
            if value is None or (isinstance(value, str) and 0 < len(value) <= NOTE_CHARACTERS_MAX):
                return value
            raise origin.error(f"must be text of 1 to {NOTE_CHARACTERS_MAX} characters", name)
        case "sunset_at":
            if value is None or is_number:
                return value
            return _epoch_seconds_of(value, origin)
        case "disabled":
            if isinstance(value, bool):
                return value
            raise origin.error(f"must be true or false, not {quoted(value)}", name)
        case "provider" | "api_model":
            why = "a model that is there already, or is like another, has its own; leave it out"
            raise origin.error(f"cannot be overridden: {why}", name)
        case "enabled":
            how = f"disabled = {'false' if value is True else 'true'}"
            raise origin.error(f"a model has no such field; write {how}", name)
        case _:
            suggestion = nearest(name, (*OVERRIDABLE_FIELDS, *_NEW_FIELDS, "removed"))
            use = "use " + ", ".join(OVERRIDABLE_FIELDS)
            hint = f"did you mean {quoted(suggestion)}?" if suggestion else use
            raise origin.error(f"cannot be overridden; {hint}", name)


def _limits(value: object, origin: Origin) -> ModelLimits | None:
    """The model's own limits; null for none."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise origin.error(f"must be a table of limits, not {quoted(value)}")
    known = [each.name for each in fields(ModelLimits)]
    for name in value:
        if name not in known:
            raise origin.error(f"is no limit of a model; use {', '.join(known)}", str(name))
    try:
        return ModelLimits(**value)
    except ValueError as refused:
        raise origin.error(str(refused)) from None


def _within(origin: Origin, name: str) -> Origin:
    return origin._replace(path=f"{origin.path}.{name}")


def _epoch_seconds_of(value: object, origin: Origin) -> float:
    """Epoch seconds of a date (its first instant) or time, in ISO 8601 or as TOML has them."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, date):
            moment = datetime.combine(value, datetime.min.time())
        elif not isinstance(value, str):
            raise ValueError(value)
        elif len(value) == len("2026-09-24"):
            moment = datetime.combine(date.fromisoformat(value), datetime.min.time())
        else:
            moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        message = f"must be a date such as 2026-09-24, epoch seconds or null, not {quoted(value)}"
        raise origin.error(message, "sunset_at") from None
