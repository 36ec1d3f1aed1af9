"""Public ids and names in paths and cursors: what cannot be an id is simply not found, before any query."""

import re
from typing import Annotated, Final

from fastapi import Path
from pydantic import AfterValidator

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.errors import NotFound

_PUBLIC_ID: Final = re.compile(r"[A-Za-z]+_[0-9A-Za-z]{1,48}")
_ITEM_ID: Final = re.compile(r"([A-Za-z]+_[0-9A-Za-z]{1,48})-([0-9]{1,5})")
_INDEX: Final = re.compile(r"[0-9]{1,5}")
_DATED: Final = re.compile(r"(.+)-\d{4}-\d{2}-\d{2}")


def public_id(text: str, *, kind: str = "batch") -> str:
    """The text if it can be the id of something of this kind; raises `NotFound`."""
    if _PUBLIC_ID.fullmatch(text) is None:
        raise NotFound(f"there is no {kind} with this id")
    return text


def item_index_of(text: str, *, batch_id: str) -> int:
    """The index that an item's id (`bat_…-3`) or its bare index names in this batch; raises `NotFound`."""
    if _INDEX.fullmatch(text):
        return int(text)
    found = _ITEM_ID.fullmatch(text)
    if found is None or found[1] != batch_id:
        raise NotFound("the batch has no such item")
    return int(found[2])


def item_place(text: str) -> tuple[str, int]:
    """The batch and the index that an item's id names; raises `NotFound`."""
    found = _ITEM_ID.fullmatch(text)
    if found is None:
        raise NotFound("there is no item with this id")
    return found[1], int(found[2])


def video_place(text: str) -> tuple[str, int | None]:
    """The batch, and the index if one is named, of a video's or an item's id; raises `NotFound`."""
    found = _ITEM_ID.fullmatch(text)
    if found is not None:
        return found[1], int(found[2])
    if _PUBLIC_ID.fullmatch(text) is None:
        raise NotFound("there is no video with this id")
    return text, None


BatchId = Annotated[
    str,
    AfterValidator(public_id),
    Path(description="The batch's id.", examples=["bat_5f1c0a9d3e7b24680f13579a"]),
]


def without_date(name: str, catalogue: Catalogue) -> str:
    """A model's own name, where OpenAI's clients name a version by its date (`sora-2-2025-10-06`)."""
    dated = _DATED.fullmatch(name)
    if dated is None or name in catalogue or catalogue.find_alias(name) is not None:
        return name
    plain = dated[1]
    return plain if plain in catalogue or catalogue.find_alias(plain) is not None else name
