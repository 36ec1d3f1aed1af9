"""When a batch retries its failed items automatically, and when it stops: re-rolls.

A plain number asks for that many re-rolls of whatever may pass the next time. An object says more: after
which failures, up to which credits, until which pass rate, and with which model the last try is made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushes.domain.acceptance.repairs import LastModel as LastModel
from rushes.domain.acceptance.repairs import Rule, read_repairs
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.catalogue.media import KnownUploads
from rushes.domain.catalogue.options import Origin, WholeNumber, nearest, quoted
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError
from rushes.domain.input.priced import PricedDraft
from rushes.domain.input.prompts import BATCH_ITEMS_MAX
from rushes.domain.task import FailureType

RETRIES_MAX: Final = 5
"""Re-rolls of one item."""

TRIES_MAX: Final = BATCH_ITEMS_MAX * (1 + RETRIES_MAX)
"""Tries of one batch: more than that a stop-loss cannot wait for."""

NEVER_RETRIED: Final = frozenset({FailureType.PARAM_ERROR, FailureType.CANCELLED})
"""Failures that the same request would meet again, or that somebody wanted."""

RETRIED_UNASKED: Final = frozenset(FailureType) - NEVER_RETRIED - {FailureType.INPUT_MODERATION}
"""The reasons when none are named: a prompt that was refused before it was rendered mostly is again."""

BAD_FILE: Final = "bad_file"
"""A reason that is no failure: the video came, and is broken or not what was asked for. It is charged, so
only a batch that names it retries it."""

PPM: Final = 1_000_000
"""Pass rates are whole parts per million, so that comparing them is exact."""

_FIELDS: Final = ("max", "reasons", "credits_max", "stop_loss", "last_model", "repairs")


@dataclass(frozen=True, slots=True)
class StopLoss:
    """Stop when fewer than `pass_rate_min_ppm` of the batch's tries pass, once `after` tries have ended."""

    pass_rate_min_ppm: int
    after: int

    def is_met(self, *, passed: int, ended: int) -> bool:
        """Whether a batch with these tries in total stops."""
        return ended >= self.after and passed * PPM < self.pass_rate_min_ppm * ended


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a batch asked for. `max` 0 is no re-roll at all; `credits_max` None is no cap.

    `credits_max` bounds what re-rolls have cost and still hold, together; a failed one is refunded, and
    gives its part back. `on_bad_file`: a success whose file is bad is followed by another try, too.
    `repairs` say what a next try changes, after a failure or a rejection.
    """

    max: int = 0
    reasons: frozenset[FailureType] = RETRIED_UNASKED
    credits_max: int | None = None
    stop_loss: StopLoss | None = None
    last_model: LastModel | None = None
    on_bad_file: bool = False
    repairs: tuple[Rule, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The object of the API, all fields."""
        stop_loss, last = self.stop_loss, self.last_model
        return {
            "max": self.max,
            "reasons": sorted([*(reason.value for reason in self.reasons), *[BAD_FILE] * self.on_bad_file]),
            "credits_max": self.credits_max,
            "stop_loss": None
            if stop_loss is None
            else {"pass_rate_min": stop_loss.pass_rate_min_ppm / PPM, "after": stop_loss.after},
            "last_model": None if last is None else last.name,
            "repairs": [rule.as_dict() for rule in self.repairs],
        }


NO_RETRIES: Final = RetryPolicy()


def read_policy(
    value: object,
    catalogue: Catalogue,
    drafts: Iterable[PricedDraft],
    now: float,
    uploads: KnownUploads | None = None,
    *,
    buys_clips: bool = False,
) -> RetryPolicy:
    """The policy in a request's field `retries`: absent, a number, or an object.

    `drafts` are the batch's items: the last model must take their prompts, options and, where `uploads` says
    what they are, files. Raises `InputError` with the
    path of the field at fault. Where the batch `buys_clips` again that were rejected, cap and stop-loss mean
    something with `max` 0 too.
    """
    if value is None:
        return NO_RETRIES
    if not isinstance(value, Mapping):
        return RetryPolicy(_whole(value, Origin(), "retries", 0, RETRIES_MAX))
    origin = Origin(path="retries")
    for name in value:
        if name not in _FIELDS:
            raise _unknown(name, _FIELDS, origin)
    tries = value.get("max")
    if tries is None:
        raise origin.error("missing", "max")
    policy = RetryPolicy(
        max=_whole(tries, origin, "max", 0, RETRIES_MAX),
        reasons=_reasons(value.get("reasons"), origin),
        on_bad_file=BAD_FILE in (value.get("reasons") or ()),
        credits_max=(
            None
            if value.get("credits_max") is None
            else _whole(value["credits_max"], origin, "credits_max", 0, CREDITS_MAX)
        ),
        stop_loss=_stop_loss(value.get("stop_loss")),
        last_model=_last_model(value.get("last_model"), catalogue, drafts, now, uploads, origin),
        repairs=read_repairs(value.get("repairs"), catalogue, now, field="retries.repairs"),
    )
    if policy.max == 0:
        for name in ("reasons",) if buys_clips else _FIELDS[1:]:
            if value.get(name) is not None:
                raise origin.error("means nothing with max 0", name)
        return policy if buys_clips else NO_RETRIES
    return policy


def _whole(value: object, origin: Origin, name: str, minimum: int, maximum: int) -> int:
    try:
        return int(str(WholeNumber(minimum, maximum).normalise(value)))
    except ValueError as refused:
        raise origin.error(str(refused), name) from None


def _unknown(name: object, known: tuple[str, ...], origin: Origin) -> InputError:
    text = str(name)
    suggestion = nearest(text, known)
    hint = f"did you mean {quoted(suggestion)}?" if suggestion else f"known: {', '.join(known)}"
    shown = text if text.isprintable() and len(text) <= 128 else None
    return origin.error(f"unknown field {quoted(text)}; {hint}", shown)


def _reasons(value: object, origin: Origin) -> frozenset[FailureType]:
    if value is None:
        return RETRIED_UNASKED
    if not isinstance(value, list) or not value:
        raise origin.error(f"must be a list of at least one reason, not {quoted(value)}", "reasons")
    allowed = {reason.value: reason for reason in FailureType if reason not in NEVER_RETRIED}
    found: set[FailureType] = set()
    for index, name in enumerate(value):
        if name == BAD_FILE:
            continue
        if not isinstance(name, str) or name not in allowed:
            raise origin.error(
                f"must be one of {', '.join(sorted([*allowed, BAD_FILE]))}, not {quoted(name)}",
                f"reasons[{index}]",
            )
        found.add(allowed[name])
    return frozenset(found)


def _stop_loss(value: object) -> StopLoss | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Origin(path="retries").error(f"must be an object, not {quoted(value)}", "stop_loss")
    origin = Origin(path="retries.stop_loss")
    for name in value:
        if name not in ("pass_rate_min", "after"):
            raise _unknown(name, ("pass_rate_min", "after"), origin)
    return StopLoss(
        pass_rate_min_ppm=_ppm(value.get("pass_rate_min"), origin),
        after=_whole(value.get("after"), origin, "after", 1, TRIES_MAX),
    )


def _ppm(rate: object, origin: Origin) -> int:
    if isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate <= 1:  # false for NaN
        return max(1, round(rate * PPM))
    raise origin.error(f"must be a number above 0 and at most 1, not {quoted(rate)}", "pass_rate_min")


def _last_model(
    value: object,
    catalogue: Catalogue,
    drafts: Iterable[PricedDraft],
    now: float,
    uploads: KnownUploads | None,
    origin: Origin,
) -> LastModel | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise origin.error(f"must be the name of a model, not {quoted(value)}", "last_model")
    try:
        model = catalogue.get_live(value, now)
    except InputError as error:
        refused = origin.error(error.message.removeprefix("model: "), "last_model", type(error))
        refused.facts.update({key: fact for key, fact in error.facts.items() if key != "field"})
        raise refused from None
    for index, draft in enumerate(drafts):
        try:
            options = model.normalise_options(draft.options)
            too_long = model.prompt_problem(draft.draft.prompt)
            if too_long is not None:
                raise InputError(too_long, field="prompt")
            if uploads is not None:
                model.check_uploads(options, uploads)
        except InputError as error:
            raise origin.error(
                f"{model.name} cannot take item {index}: {error.message}", "last_model"
            ) from None
    return LastModel.of(model)
