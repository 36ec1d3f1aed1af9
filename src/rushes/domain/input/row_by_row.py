"""A batch that is still being written: each row by itself, sound or at fault, for a form that shows both."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.options import Origin
from rushes.domain.errors import InputError
from rushes.domain.input.auto import AUTO, AutoRule
from rushes.domain.input.chains import chain_faults
from rushes.domain.input.priced import PricedDraft, validate_drafts
from rushes.domain.input.prompts import Defaults, TaskDraft, at_most_items, row_reader

CheckedRow: TypeAlias = PricedDraft | InputError


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """The rows in their order, and what is wrong with the whole, such as too many rows."""

    rows: tuple[CheckedRow, ...]
    problem: InputError | None = None

    @property
    def sound(self) -> list[PricedDraft]:
        """The rows that a batch can be made of."""
        return [row for row in self.rows if isinstance(row, PricedDraft)]

    @property
    def faults(self) -> list[InputError]:
        """What is wrong with the others."""
        return [row for row in self.rows if isinstance(row, InputError)]


def check_row_by_row(
    rows: Iterable[tuple[Origin, object]],
    defaults: Defaults,
    catalogue: Catalogue,
    now: float,
    *,
    lanes: AutoRule | None = None,
) -> CheckedRows:
    """Each row with its price at `now` (epoch seconds), or with its fault.

    With `lanes`, a rule among one model, rows of that model leave their lane open.
    """
    read = row_reader(defaults)
    found: list[CheckedRow] = []
    drafts: dict[int, TaskDraft] = {}
    try:
        for row in at_most_items(rows):
            try:
                draft = read(row)
                if lanes is not None and lanes.among == (draft.model,):
                    draft = replace(draft, model=AUTO)
                drafts[len(found)] = draft
                found += validate_drafts([draft], catalogue, now, are_all=False, auto=lanes)
            except InputError as fault:
                found.append(fault)
    except InputError as problem:
        return CheckedRows(tuple(found), problem)
    faults = chain_faults(list(drafts.values()))
    for place, index in enumerate(drafts):
        if place in faults and isinstance(found[index], PricedDraft):
            found[index] = faults[place]
    return CheckedRows(tuple(found))
