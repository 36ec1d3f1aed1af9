"""The page of every route, from the OpenAPI document."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from reference.markdown import code, explained, table

INTRODUCTION = """# HTTP API

Made from the document that a service answers at `/openapi.json`; `/docs` of a service lets you try it. What
the shapes cannot say, with examples that the tests run, is in [HTTP API by example](../api.md); the codes
of refusals are among the [errors](errors.md).

"""


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """`(METHOD, path, operation)` of every route."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def page(document: Mapping[str, Any]) -> str:
    """The page. Raises `Undocumented` for a route, parameter or body field that nothing explains."""
    parts = [INTRODUCTION]
    schemas = document["components"]["schemas"]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n\n")
        for method, path, operation in operations(document):
            if operation["tags"] == [tag["name"]]:
                parts += _route(method, path, operation, schemas)
    return "".join(parts)


def _route(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    name = f"{method} {path}"
    yield f"### {name}\n\n"
    yield explained(operation.get("description"), name, "give the route's function a docstring") + "\n\n"
    if not operation.get("security"):
        yield "Needs no key.\n\n" if not path.startswith("/internal") else ""
    if parameters := operation.get("parameters"):
        yield table(
            ("Parameter", "In", "Takes", "Meaning"),
            (
                (
                    code(parameter["name"]) + (" (required)" if parameter["required"] else ""),
                    parameter["in"],
                    _takes(parameter["schema"], schemas),
                    explained(parameter.get("description"), f"{name}: {parameter['name']}", "describe it"),
                )
                for parameter in parameters
            ),
        )
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, as `{media_type}`:\n\n"
        schema = _resolved(body["schema"], schemas)
        yield _fields(name, schema, schemas)
        for inner in _objects_in(schema, schemas):
            yield f"`{inner}`: {explained(schemas[inner].get('description'), inner, 'a docstring')}\n\n"
            yield _fields(inner, schemas[inner], schemas)
        if "example" in body:
            yield f"```json\n{json.dumps(body['example'], indent=2, ensure_ascii=False)}\n```\n\n"
    yield table(
        ("Status", "Answer", "As"),
        (
            (status, answer["description"], " or ".join(code(kind) for kind in answer.get("content", {})))
            for status, answer in sorted(operation["responses"].items())
        ),
    )
    for status, answer in sorted(operation["responses"].items()):
        example = answer.get("content", {}).get("application/json", {}).get("example")
        if int(status) < 300 and example is not None:
            yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n\n"


def _fields(name: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            code(field) + (" (required)" if field in required else ""),
            _takes(part, schemas),
            explained(part.get("description"), f"{name}: {field}", "give the model's field a description"),
        )
        for field, part in schema.get("properties", {}).items()
    ]
    return table(("Field", "Takes", "Meaning"), rows) if rows else ""


def _objects_in(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    """The names of the objects that a body's fields refer to, however deep, in their order."""
    found: dict[str, None] = {}
    waiting = re.findall(r"#/components/schemas/(\w+)", json.dumps(schema))
    while waiting:
        name = waiting.pop(0)
        if name not in found and "properties" in schemas[name]:
            found[name] = None
            waiting += re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name]))
    return list(found)


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, or the one that it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = schemas[name] if name else schema
    return found


def _takes(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        inner = _resolved(schema, schemas)
        return _takes(inner, schemas) if "enum" in inner else code(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " or ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(
            dict.fromkeys(_takes(part, schemas) for part in alternatives if part.get("type") != "null")
        )
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_takes(schema.get('items', {}), schemas)}" + _bounds(schema, "Items")
    return {"string": "text", "integer": "whole number"}.get(kind, kind) + _bounds(schema, "Length")


def _bounds(schema: Mapping[str, Any], of: str) -> str:
    low = schema.get("minimum", schema.get(f"min{of}"))
    high = schema.get("maximum", schema.get(f"max{of}"))
    if high is None:
        return "" if low is None else f", {low} or more"
    return f", up to {high}" if low is None else f", {low} to {high}"
