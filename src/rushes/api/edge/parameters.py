"""What is wrong with a parameter of a path, a query or a header, in the words of all other refusals."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import Request
from fastapi.routing import APIRoute

from rushes.domain.catalogue.options import nearest, quoted

ERRORS_REPORTED_MAX: Final = 20

_CHOICE: Final = re.compile(r"'([^']*)'")
_NUMBER_FAULTS: Final = frozenset(
    {
        *("int_parsing", "int_parsing_size", "int_type", "int_from_float"),
        *("greater_than_equal", "less_than_equal", "greater_than", "less_than"),
    }
)


def faults_of(request: Request, found: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The `field` and the `message` of each of the validator's faults, the first few."""
    return [
        {"field": field_of(fault), "message": message_of(request, fault)}
        for fault in found[:ERRORS_REPORTED_MAX]
    ]


def field_of(fault: Mapping[str, Any]) -> str:
    """The parameter's name."""
    return ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0])


def message_of(request: Request, fault: Mapping[str, Any]) -> str:
    """What it must be, and what it was."""
    kind, given, facts = fault["type"], fault.get("input"), fault.get("ctx") or {}
    if kind == "missing":
        return "missing"
    if kind in _NUMBER_FAULTS:
        return f"must be {_whole_number(request, field_of(fault))}, not {quoted(given)}"
    if kind == "bool_parsing":
        return f"must be true or false, not {quoted(given)}"
    if kind in ("literal_error", "enum"):
        choices = _CHOICE.findall(str(facts.get("expected", "")))
        meant = nearest(str(given), tuple(choices))
        hint = f"; did you mean {quoted(meant)}?" if meant else ""
        return f"must be one of {', '.join(choices)}, not {quoted(given)}{hint}"
    if kind == "string_too_long":
        return f"must have at most {facts['max_length']} characters, not {len(str(given))}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return f"must be printable text, not {quoted(given)}"
    return f"cannot be {quoted(given)}"


def _whole_number(request: Request, name: str) -> str:
    """`a whole number from 1 to 100`: the bounds are those that the route declares."""
    route = request.scope.get("route")
    fields = [] if not isinstance(route, APIRoute) else [*route.dependant.query_params]
    fields += [] if not isinstance(route, APIRoute) else [*route.dependant.path_params]
    bounds = next((field.field_info.metadata for field in fields if field.alias == name), [])
    least = next((bound.ge for bound in bounds if hasattr(bound, "ge")), None)
    most = next((bound.le for bound in bounds if hasattr(bound, "le")), None)
    most = next((bound.lt - 1 for bound in bounds if hasattr(bound, "lt")), most)
    if least is not None and most is not None:
        return f"a whole number from {least} to {most}"
    return "a whole number"
