"""Checked drafts: each with its model, its options in normal form, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rushes.domain.catalogue.aliases import Alias
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.lengths import with_fitting_length
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.catalogue.model import Model
from rushes.domain.catalogue.options import OptionValue
from rushes.domain.catalogue.price import Charge, Money
from rushes.domain.errors import InputError
from rushes.domain.input.auto import (
    AUTO,
    AutoRule,
    Candidate,
    asks_for_auto,
    candidates,
    cheapest,
    taking,
)
from rushes.domain.input.chains import chain_faults
from rushes.domain.input.deadlines import deadline_ms
from rushes.domain.input.prompts import TaskDraft, collect


class PricedDraft(NamedTuple):
    """A draft that a provider can take: its model, its options in normal form, and what it costs.

    `alias` is set when it was asked for under one: then the model is that alias's first choice. Of an item
    whose model is chosen later (`auto`) `choices` are the models that it may be given within its `bounds`;
    the cheapest of them is its `model`, which is what is reserved.
    `deadline_at_ms` is the item's own, None without one.
    """

    draft: TaskDraft
    model: Model
    options: Mapping[str, OptionValue]
    charge: Charge
    alias: Alias | None = None
    deadline_at_ms: int | None = None
    choices: tuple[Candidate, ...] = ()
    bounds: AutoRule | None = None

    @property
    def asked_for(self) -> str:
        """The name that is priced: the alias's, or the model's own; `auto` where it is chosen later."""
        if self.choices:
            return AUTO
        return self.model.name if self.alias is None else self.alias.name

    @property
    def credits(self) -> int:
        """What this video costs."""
        return self.charge.credits

    @property
    def credits_max(self) -> int:
        """The most that it may come to cost: what the dearest of its choices costs."""
        return max((one.charge.credits for one in self.choices), default=self.credits)

    @property
    def money(self) -> Money | None:
        """What the provider is expected to charge for it; None where nobody has written it down."""
        return None if self.charge.cost is None else self.charge.cost.money


class _LeftOpen:
    """Prices items whose model is chosen later; the candidates of each set of options are found once."""

    def __init__(
        self, catalogue: Catalogue, rule: AutoRule, now: float, uploads: KnownUploads | None
    ) -> None:
        self._catalogue, self._rule, self._now, self._uploads = catalogue, rule, now, uploads
        self._found: dict[str, list[Candidate]] = {}

    def priced(self, draft: TaskDraft) -> PricedDraft:
        """The draft at its cheapest candidate. Raises `InputError` for one that no model takes."""
        key = repr(draft.options)
        if key not in self._found:
            self._found[key] = candidates(
                self._catalogue, self._rule, draft.options, self._now, self._uploads
            )
        choices = taking(self._found[key], draft.prompt)
        least = cheapest(choices, self._rule, draft.origin)
        now_ms = int(self._now * 1000)
        until_ms = None if draft.deadline is None else deadline_ms(draft.deadline, now_ms, draft.origin)
        return PricedDraft(
            draft,
            least.model,
            draft.options,
            least.charge,
            deadline_at_ms=until_ms,
            choices=tuple(choices),
            bounds=self._rule,
        )


def validate_drafts(
    drafts: Sequence[TaskDraft],
    catalogue: Catalogue,
    now: float,
    uploads: KnownUploads | None = None,
    *,
    fit_lengths: bool = False,
    are_all: bool = True,
    auto: AutoRule | None = None,
) -> list[PricedDraft]:
    """Each draft with its model, normalised options and so its price, at `now` (epoch seconds).

    With `fit_lengths` a duration that a model does not have becomes the next longer one, see `lengths`.
    Uploads must be among those that are known, and be such that they can be handed on; with None that is
    not looked at. Unless they `are_all` of their batch, links between them are not looked at either. With a
    rule `auto` items may leave the choice of their model to it.

    Raises `UnknownModel`, `ModelRetired` or `InputError` for the first draft at fault.
    """
    now_ms = int(now * 1000)
    known: dict[object, PricedDraft] = {}  # most items of a batch are alike but for their prompt
    faults = chain_faults(drafts) if are_all else {}
    left_open = None if auto is None else _LeftOpen(catalogue, auto, now, uploads)

    def checked(numbered: tuple[int, TaskDraft]) -> PricedDraft:
        index, draft = numbered
        if left_open is not None and asks_for_auto(draft.model, catalogue):
            found = left_open.priced(draft)
            if index in faults:
                raise faults[index]
            return found
        key = _look_of(draft)
        like = None if key is None else known.get(key)
        if like is None or like.model.prompt_problem(draft.prompt) is not None:
            like = _priced(draft, catalogue, now, uploads, fit_lengths=fit_lengths)
            if key is not None:
                known.setdefault(key, like)
        if index in faults:
            raise faults[index]
        until_ms = None if draft.deadline is None else deadline_ms(draft.deadline, now_ms, draft.origin)
        return PricedDraft(draft, like.model, like.options, like.charge, like.alias, until_ms)

    return collect(enumerate(drafts), checked)


def _look_of(draft: TaskDraft) -> object:
    """What model, options and price of a draft follow from; None where it has a list among its options."""
    look = (draft.model, tuple(draft.options.items()), tuple(map(type, draft.options.values())))
    try:
        hash(look)
    except TypeError:
        return None
    return look


def _priced(
    draft: TaskDraft,
    catalogue: Catalogue,
    now: float,
    uploads: KnownUploads | None,
    *,
    fit_lengths: bool,
) -> PricedDraft:
    alias, models = catalogue.candidates(draft.model, now, origin=draft.origin)
    refused: InputError | None = None
    for model in models:
        try:
            given = with_fitting_length(model, draft.options) if fit_lengths else draft.options
            options = model.normalise_options(given, origin=draft.origin)
            too_long = model.prompt_problem(draft.prompt)
            if too_long is not None:
                raise draft.origin.error(too_long, "prompt")
            if uploads is not None:
                model.check_uploads(options, uploads, origin=draft.origin)
        except InputError as error:
            refused = refused or error
        else:
            price = None if alias is None else alias.price_of(options, model)
            return PricedDraft(draft, model, options, model.charge(options, price), alias)
    assert refused is not None, "there is at least one candidate"
    raise refused
