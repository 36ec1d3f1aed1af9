"""Answers that are not problems."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


def json_answer(
    document: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document, encoded straight: the views already have the shape that the models describe."""
    return Response(
        _encode(document), status_code=status, headers=dict(headers or {}), media_type="application/json"
    )


def ok_answer(document: Mapping[str, Any], *, status: int = 200) -> Response:
    """The document with `ok: true`, as older clients expect it."""
    return json_answer({"ok": True, **document}, status=status)
