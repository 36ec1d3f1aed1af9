"""What the form of a new batch asks of clips: best of n, and by when all are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rushes.dashboard.acting import Form, field_row
from rushes.dashboard.markup import Markup, joined, whole_number
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.words import tr
from rushes.domain.acceptance.best_of import CLIPS_MAX, NOTHING_ASKED, Acceptance, read_acceptance
from rushes.domain.catalogue.model import Model
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError
from rushes.domain.input.auto import AutoRule
from rushes.domain.input.priced import PricedDraft

BY_HOURS_MAX: Final = 720
HOUR_MS: Final = 3_600_000

CLIPS: Final = "clips_max"
CLIP_CREDITS: Final = "clip_credits"
BY: Final = "by_hours"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was filled in: `accept` as the API's object, and in how many hours all are to be there."""

    accept: dict[str, Any] | None = None
    by_hours: int | None = None

    @property
    def facts(self) -> list[object]:
        """What tells a batch from another one of the same rows."""
        named = {"accept": self.accept, "by_hours": self.by_hours}
        given = {name: value for name, value in named.items() if value is not None}
        return [given] if given else []

    def rule(self, model: Model, parts: DashboardParts, now_ms: int) -> AutoRule | None:
        """The rule by which items of this model have their lane chosen; None where it is not open.

        Raises `InputError` for a model that has no cheap lane.
        """
        if self.by_hours is None:
            return None
        if not any(lane.lane_of == model.name for lane in parts.catalogue):
            raise InputError(tr("{model} has no cheap lane to wait for", model=model.name), field=BY)
        return AutoRule((model.name,), finish_by_ms=now_ms + self.by_hours * HOUR_MS)


NOTHING_MORE: Final = Asked()


def read_asked(form: Form, errors: dict[str, str]) -> Asked:
    """The fields, with what is wrong with them in `errors`."""
    accept: dict[str, Any] = {}
    by_hours: int | None = None
    for field, low, high in ((CLIPS, 1, CLIPS_MAX), (CLIP_CREDITS, 0, CREDITS_MAX), (BY, 1, BY_HOURS_MAX)):
        if not form.get(field):
            continue
        try:
            value = whole_number(form.get(field), low=low, high=high, field=field)
        except InputError as error:
            errors[field] = error.message.removeprefix(f"{field}: ")
            continue
        if field == BY:
            by_hours = value
        else:
            accept["n_max" if field == CLIPS else "credits_max"] = value
    if "credits_max" in accept and "n_max" not in accept:
        errors.setdefault(CLIPS, tr("say how many clips a video may take"))
        accept = {}
    return Asked(accept or None, by_hours)


def acceptance_of(
    asked: Asked,
    parts: DashboardParts,
    drafts: Sequence[PricedDraft],
    rule: AutoRule | None,
    errors: dict[str, str],
) -> Acceptance:
    """What the batch asks of its clips, with what is wrong in `errors`."""
    is_open = any(draft.choices for draft in drafts)
    try:
        return read_acceptance(None, asked.accept, parts.gate, drafts, rule if is_open else None)
    except InputError as error:
        field = CLIP_CREDITS if error.field == "accept.credits_max" else CLIPS if asked.accept else BY
        errors[field] = error.message.removeprefix(f"{error.field}: ")
        return NOTHING_ASKED


def accepting_rows(form: Form) -> Markup:
    """The fields of the form."""
    return joined(
        field_row(
            form,
            CLIPS,
            tr("Clips for a video, at most"),
            hint=tr("the next is bought only when the last was rejected"),
            inputmode="numeric",
            placeholder=tr("1 to {n}, or one without a gate", n=CLIPS_MAX),
        ),
        field_row(
            form,
            CLIP_CREDITS,
            tr("Credits for a video's clips, at most"),
            inputmode="numeric",
            placeholder=tr("no limit"),
        ),
        field_row(
            form,
            BY,
            tr("All there in hours"),
            hint=tr("takes the model's cheap lane where there is time"),
            inputmode="numeric",
            placeholder=tr("1 to {n}, or as fast as can be", n=BY_HOURS_MAX),
        ),
    )
