"""Which clips one file is made of: those of a chain, from its first item to one of its last."""

from collections.abc import Sequence
from typing import Final

from rushes.domain.archive import ArchiveState
from rushes.domain.catalogue.options import nearest, quoted
from rushes.domain.errors import InputError
from rushes.store.inputs.chains import ChainItem

NAMES_SHOWN_MAX: Final = 10


def chosen_chain(items: Sequence[ChainItem], name: str | None) -> list[ChainItem]:
    """The items that lead to the one of that name, in their order; of a batch with one chain, all of it.

    Raises `InputError`, also where one of them has no stored clip.
    """
    by_index = {item.index: item for item in items}
    last = _last_of(items, name)
    chain = [last]
    while chain[-1].follows_index is not None:
        chain.append(by_index[chain[-1].follows_index])
    chain.reverse()
    for place, item in enumerate(chain):
        if item.file_state != ArchiveState.STORED:
            until = f"; --chain {chain[place - 1].custom_id} joins those before it" if place > 1 else ""
            raise InputError(f"{quoted(item.custom_id)} has no stored clip: {_why(item)}{until}")
    return chain


def _last_of(items: Sequence[ChainItem], name: str | None) -> ChainItem:
    followed = {item.follows_index for item in items}
    ends = [item for item in items if item.follows_index is not None and item.index not in followed]
    if name is None:
        if len(ends) == 1:
            return ends[0]
        if not ends:
            raise InputError("the batch has no chain: none of its items starts from another's last frame")
        names = ", ".join(str(item.custom_id or item.index) for item in ends[:NAMES_SHOWN_MAX])
        more = ", …" if len(ends) > NAMES_SHOWN_MAX else ""
        raise InputError(
            f"the batch has {len(ends)} chains; name the last item of one: {names}{more}", field="chain"
        )
    found = next((item for item in items if item.custom_id == name), None)
    if found is None:
        known = {str(item.custom_id): item for item in items if item.custom_id is not None}
        hint = nearest(name, known)
        meant = f"; did you mean {quoted(hint)}?" if hint else ""
        raise InputError(f"no item of the batch has the custom_id {quoted(name)}{meant}", field="chain")
    if found.follows_index is None:
        raise InputError(
            f"{quoted(name)} starts from no other item; name the last item of a chain", field="chain"
        )
    return found


def _why(item: ChainItem) -> str:
    if item.status != "succeeded":
        return f"it is {item.status}"
    return "no file was kept" if item.file_state is None else f"its file is {item.file_state}"
