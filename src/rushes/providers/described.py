"""Requests of models whose options the catalogue describes: their bodies, and content with roles."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rushes.providers.base import SubmitRequest

_encode: Final = msgspec.json.Encoder().encode

_CONTENT: Final[Mapping[str, tuple[str, str]]] = {
    "first_frame": ("image_url", "first_frame"),
    "last_frame": ("image_url", "last_frame"),
    "references": ("image_url", "reference_image"),
    "source_video": ("video_url", "reference_video"),
    "audio": ("audio_url", "reference_audio"),
}
"""The type and the role of an input's files, as an item of `content`."""


def described_options(request: SubmitRequest) -> dict[str, Any]:
    """Every option where the catalogue says that it stands; `ValueError` for one that it does not know."""
    for option in request.plain_options(()):
        raise ValueError(f"{request.api_model} has no option {option}")
    return request.described_fields(())


def roles_of(request: SubmitRequest) -> list[tuple[str, str]]:
    """The role and the address of each file, in order."""
    return [(_CONTENT[name][1], file.address) for name, files in request.inputs.items() for file in files]


def content_of(request: SubmitRequest) -> list[dict[str, Any]]:
    """`content` as a list of typed items: the prompt, then each file with its role."""
    content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
    for name, files in request.inputs.items():
        kind, role = _CONTENT[name]
        content += [{"type": kind, kind: {"url": file.address}, "role": role} for file in files]
    return content


def body_of(fields: Mapping[str, Any]) -> bytes:
    """The JSON of a request; raises `ValueError` for text that is not valid Unicode."""
    try:
        return _encode(fields)
    except UnicodeEncodeError:
        raise ValueError("the prompt or an option is not valid text") from None
