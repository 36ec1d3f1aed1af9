"""Items that ask for the same as an earlier one: named before they are bought twice."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import Final

from rushes.domain.input.chains import is_link
from rushes.domain.input.priced import PricedDraft

LATELY_MS: Final = 30 * 86_400_000
"""How far back an account's successes count as bought lately."""

REUSED_PROVIDER: Final = "(reused)"
"""The provider of an item that waits for the file of an equal one; no provider is named so."""

FILE_IS_GONE: Final = "the video that the item was to reuse is gone"
"""Why such an item fails: its source was erased, deleted or removed first."""


def request_key(draft: PricedDraft) -> int | None:
    """Eight bytes of the hash of what is asked for, as a signed integer: prompt, model or alias, and all
    options that are sent, inputs and seed among them.

    What an item is called, and where it stands, is not part of it; the bounds of a model that is chosen later
    are. None for one that starts from another's
    last frame: what it asks for is not there yet, and equals nothing.
    """
    return request_keys([draft])[0]


def request_keys(drafts: Sequence[PricedDraft]) -> list[int | None]:
    """The `request_key` of each draft. What drafts share beside their prompts is written once."""
    beside: dict[tuple[object, ...], str | None] = {}
    found: list[int | None] = []
    for draft in drafts:
        # drafts that were priced as one share these objects, and keep them: an id is one object's
        look = (id(draft.model), id(draft.options), id(draft.charge), id(draft.alias), id(draft.choices))
        if look not in beside:
            beside[look] = _beside_prompt(draft)
        rest = beside[look]
        if rest is None:
            found.append(None)
            continue
        body = f"[{encode_basestring_ascii(draft.draft.prompt.strip())}, {rest}"
        digest = blake2b(body.encode(), digest_size=8, person=b"rushes-request").digest()
        found.append(int.from_bytes(digest, "big", signed=True))
    return found


def _beside_prompt(draft: PricedDraft) -> str | None:
    """What is asked for beside the prompt, as the end of a JSON list; None for what equals nothing."""
    if is_link(draft.draft.options):
        return None
    options = draft.options if draft.bounds is not None else draft.charge.sent_options
    asked: list[object] = [draft.asked_for]
    asked.append({name: value for name, value in options.items() if value is not None})
    if draft.bounds is not None:
        asked.append([draft.bounds.among, draft.bounds.credits_max])
    return json.dumps(asked, sort_keys=True, default=str)[1:]


def duplicates(drafts: Sequence[PricedDraft]) -> list[tuple[int, int]]:
    """`(index, index of the first such item)` of each item that asks for the same as an earlier one."""
    first: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    for index, key in enumerate(request_keys(drafts)):
        if key is not None and (earlier := first.setdefault(key, index)) != index:
            found.append((index, earlier))
    return found
