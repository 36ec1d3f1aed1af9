"""Between the client's methods and the wire: bodies, paths, answers under their types."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import quote

from rushes.client import answers
from rushes.client.errors import UnexpectedAnswer
from rushes.client.event_stream import Frame
from rushes.domain.errors import InputError

T = TypeVar("T")
Items = Sequence[Mapping[str, Any] | str]


def as_answer(kind: type[T], answer: dict[str, Any]) -> T:
    """The answer under its type, if it has every field that the type names."""
    missing = kind.__annotations__.keys() - answer.keys()
    if missing:
        raise UnexpectedAnswer(f"an answer without {', '.join(sorted(missing))}: no rushes service gives it")
    return cast(T, answer)


def batch_document(
    items: Items | None,
    template: str | None,
    variables: Mapping[str, Sequence[str]] | None,
    max_outputs: int | None,
    model: str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The body of a batch or a quote; what is None is left out. Raises `InputError`."""
    if isinstance(items, str):
        raise InputError("must be a list of prompts or objects, not one text", field="items")
    objects = None if items is None else [{"prompt": i} if isinstance(i, str) else dict(i) for i in items]
    named = {
        "items": objects,
        "template": template,
        "variables": variables,
        "max_outputs": max_outputs,
        "model": model,
    }
    document = {name: value for name, value in {**options, **named}.items() if value is not None}
    if variables is not None:
        document["variables"] = {name: list(values) for name, values in variables.items()}
    return document


def event_of(frame: Frame) -> answers.Event:
    """The event in a frame of the stream. Raises `UnexpectedAnswer`."""
    try:
        document = json.loads(frame.data)
        return answers.Event(
            id=int(frame.id), type=document["type"], timestamp=document["timestamp"], data=document["data"]
        )
    except (ValueError, KeyError, TypeError):
        raise UnexpectedAnswer("an event that no rushes service sends") from None


def path_part(value: str | int) -> str:
    """The value as one part of a path, whatever it holds."""
    return quote(str(value), safe="")


def batch_path(batch_id: str) -> str:
    """Where the batch is."""
    return f"/v1/batches/{path_part(batch_id)}"


def endpoint_path(endpoint_id: str) -> str:
    """Where the webhook endpoint is."""
    return f"/v1/webhooks/endpoints/{path_part(endpoint_id)}"


def file_name(batch_id: str) -> str:
    """A file's name that cannot lead into another folder."""
    return path_part(batch_id)[:128]
