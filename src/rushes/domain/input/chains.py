"""Chains: an item may start from the last frame of another of its batch, `first_frame = "@NAME.last_frame"`.

`NAME` is the other item's `custom_id`. Items may stand in any order; each starts from one other at most, and
several may start from the same. What is at fault is found before anything is priced.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.domain.catalogue.media import LAST_FRAME, LISTS, same_input
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError
from rushes.domain.input.prompts import TaskDraft

FIRST_FRAME: Final = "first_frame"


def _links(options: Mapping[str, Any]) -> dict[str, str]:
    """By option, the names of the items whose last frames these options name."""
    found: dict[str, str] = {}
    for option, value in options.items():
        texts = (value,) if isinstance(value, str) else value if isinstance(value, LISTS) else ()
        for each in texts:
            if isinstance(each, str) and each.startswith("@") and (match := LAST_FRAME.fullmatch(each)):
                found[option] = match[1]
    return found


def is_link(options: Mapping[str, Any]) -> bool:
    """Whether an item with these options waits for another's last frame."""
    return bool(_links(options))


def followed(drafts: Sequence[TaskDraft]) -> list[int | None]:
    """By item, the index of the one that it starts from, as far as there is one of that name."""
    index_of = {draft.custom_id: index for index, draft in enumerate(drafts) if draft.custom_id is not None}
    return [next((index_of.get(name) for name in _links(draft.options).values()), None) for draft in drafts]


def chain_faults(drafts: Sequence[TaskDraft]) -> dict[int, InputError]:
    """What is wrong with the links of these items, which are all of their batch; by item."""
    links = [_links(draft.options) for draft in drafts]
    if not any(links):
        return {}
    named: dict[str, list[int]] = {}
    for index, draft in enumerate(drafts):
        if draft.custom_id is not None:
            named.setdefault(draft.custom_id, []).append(index)
    found = {
        index: draft.origin.error(problem, option)
        for index, draft in enumerate(drafts)
        for option, name in links[index].items()
        if (problem := _problem(option, name, draft, named)) is not None
    }
    ring = _ring(followed(drafts))
    if len(ring) > 1:
        names = " starts from ".join(quoted(drafts[each].custom_id) for each in [*ring, ring[0]])
        found.setdefault(ring[0], drafts[ring[0]].origin.error(f"a ring: {names}", FIRST_FRAME))
    return found


def _problem(option: str, name: str, draft: TaskDraft, named: Mapping[str, Sequence[int]]) -> str | None:
    if same_input(option) != FIRST_FRAME:
        return "only first_frame may be the last frame of another item"
    if name == draft.custom_id:
        return "an item cannot start from its own last frame"
    items = named.get(name, ())
    if len(items) > 1:
        return f"{len(items)} items are called {quoted(name)}; a custom_id names one"
    if items:
        return None
    hint = nearest(name, tuple(named))
    if hint is not None:
        return f"no item of this batch has the custom_id {quoted(name)}; did you mean {quoted(hint)}?"
    return f"no item of this batch has the custom_id {quoted(name)}; a chain stays within its batch"


def _ring(follows: Sequence[int | None]) -> list[int]:
    """The items of a first ring, each starting from the next; empty without one."""
    done: set[int] = set()
    for start in range(len(follows)):
        path: list[int] = []
        at: int | None = start
        while at is not None and at not in done:
            done.add(at)
            path.append(at)
            at = follows[at]
        if at is not None and at in path:
            return path[path.index(at) :]
    return []
