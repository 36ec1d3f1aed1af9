"""What the form of a new batch says, checked row by row."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rushes.dashboard.acting import Form
from rushes.dashboard.markup import whole_number
from rushes.dashboard.pages.new_batch.accepting import BY, NOTHING_MORE, Asked, acceptance_of, read_asked
from rushes.dashboard.pages.new_batch.faults import fault_words
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.words import tr
from rushes.domain.acceptance.best_of import NOTHING_ASKED, Acceptance
from rushes.domain.catalogue.model import Model
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError
from rushes.domain.input.files import rows_of
from rushes.domain.input.priced import PricedDraft
from rushes.domain.input.prompts import Defaults
from rushes.domain.input.row_by_row import CheckedRows, check_row_by_row
from rushes.domain.input.templates import drafts_from_template
from rushes.domain.retries import RETRIES_MAX, RetryPolicy, read_policy
from rushes.store import ledger

OPTION_PREFIX: Final = "option."
NAME_CHARACTERS_MAX: Final = 128
DEADLINE_HOURS_MAX: Final = 720
HOUR_MS: Final = 3_600_000
SOURCE: Final = "prompts.txt"


@dataclass(frozen=True, slots=True)
class Given:
    """A form that was read, with its errors by field; `rows` are what the batch would be made of."""

    form: Form
    model: Model | None
    model_name: str
    rows: CheckedRows
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    retries: object = None
    deadline_at_ms: int | None = None
    asked: Asked = NOTHING_MORE
    acceptance: Acceptance = NOTHING_ASKED

    @property
    def drafts(self) -> list[PricedDraft]:
        """The sound rows."""
        return self.rows.sound

    @property
    def required_credits(self) -> int:
        """What the batch would reserve."""
        return sum(draft.credits for draft in self.drafts)

    @property
    def credits_max(self) -> int:
        """What the first clips may come to cost, where lanes are open."""
        return sum(draft.credits_max for draft in self.drafts)

    @property
    def agreed(self) -> str:
        """What making it agrees to."""
        more = "" if self.credits_max == self.required_credits else f":{self.credits_max}"
        return f"{len(self.drafts)}:{self.required_credits}{more}"


async def read_given(parts: DashboardParts, form: Form, *, now_ms: int) -> Given:
    """The form, checked on a thread as it may have thousands of rows."""
    given = await asyncio.to_thread(_read, parts, form, now_ms)
    if given.acceptance.auto is None:
        return given
    try:
        owner = await parts.read(ledger.account_id_if_any, form.get("account"))
        await parts.read(parts.forecaster.check_reachable, given.drafts, owner, now_ms)
    except InputError as error:
        return replace(given, form=Form(given.form.values, {**given.form.errors, BY: _said(error)}))
    return given


def _read(parts: DashboardParts, form: Form, now_ms: int) -> Given:
    catalogue, errors = parts.catalogue, dict(form.errors)
    name = form.get("model") or catalogue.default_model
    if name not in catalogue and catalogue.find_alias(name) is None:
        name = catalogue.default_model
    alias = catalogue.find_alias(name)
    model = alias.models[0] if alias is not None else catalogue.get(name)
    defaults = Defaults.of(catalogue, name, _options(parts, form, model, name, errors))
    rows, asked, rule = CheckedRows(()), read_asked(form, errors), None
    try:
        rule = asked.rule(model, parts, now_ms)
        rows = check_row_by_row(_rows(form, defaults), defaults, catalogue, now_ms / 1000, lanes=rule)
    except InputError as error:
        place = (error.field or "text").partition(".")[0]
        errors[place if place in ("template", "variables", BY) else "text"] = _said(error)
    if rows.problem is not None:
        errors["text"] = _said(rows.problem)
    if len(form.get("name")) > NAME_CHARACTERS_MAX or not form.get("name").isprintable():
        errors["name"] = tr("must be 1 to {n} printable characters", n=NAME_CHARACTERS_MAX)
    acceptance = acceptance_of(asked, parts, rows.sound, rule, errors)
    retries, policy = _policy(parts, form, rows, errors, now_ms)
    return Given(
        form=Form(form.values, errors),
        model=model,
        model_name=name,
        rows=rows,
        policy=policy,
        retries=retries,
        deadline_at_ms=_deadline(form, errors, now_ms),
        asked=asked,
        acceptance=acceptance,
    )


def _rows(form: Form, defaults: Defaults) -> Any:
    template = form.get("template")
    if form.get("mode") == "template":
        if not template:
            return iter(())
        drafts = drafts_from_template(
            template, variables_of(form.values.get("variables", "")), None, defaults
        )
        return ((draft.origin, {"prompt": draft.prompt}) for draft in drafts)
    text = form.values.get("text", "")
    if not text.strip():
        return iter(())
    return rows_of(text.encode("utf-8", "replace"), form.get("file_name") or SOURCE, None, defaults)


def variables_of(text: str) -> dict[str, list[str]]:
    """`style: wide, close` in each line. Raises `InputError`."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, colon, values = line.partition(":")
        if not colon:
            raise InputError(
                tr("each line is a name, a colon and values: style: wide, close"), field="variables"
            )
        found.setdefault(name.strip(), []).extend(
            value.strip() for value in values.split(",") if value.strip()
        )
    return found


def _options(
    parts: DashboardParts, form: Form, model: Model, name: str, errors: dict[str, str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option in model.options:
        text = form.get(OPTION_PREFIX + option)
        if not text:
            continue
        try:
            value = parts.catalogue.fields.read_cell(option, text, name)
            found[option] = model.normalise_options({option: value})[option]
        except (ValueError, InputError) as error:
            errors[OPTION_PREFIX + option] = fault_words(str(error).removeprefix(f"{option}: "))
    return found


def _policy(
    parts: DashboardParts, form: Form, rows: CheckedRows, errors: dict[str, str], now_ms: int
) -> tuple[object, RetryPolicy]:
    try:
        times = whole_number(form.get("retries") or "0", low=0, high=RETRIES_MAX, field="retries")
        if not times:
            return None, RetryPolicy()
        asked: dict[str, Any] = {"max": times}
        if form.get("retries_credits"):
            asked["credits_max"] = whole_number(
                form.get("retries_credits"), low=0, high=CREDITS_MAX, field="retries_credits"
            )
        return asked, read_policy(asked, parts.catalogue, rows.sound, now_ms / 1000)
    except InputError as error:
        errors[error.field or "retries"] = _said(error)
        return None, RetryPolicy()


def _deadline(form: Form, errors: dict[str, str], now_ms: int) -> int | None:
    if not form.get("deadline"):
        return None
    try:
        hours = whole_number(form.get("deadline"), low=1, high=DEADLINE_HOURS_MAX, field="deadline")
    except InputError as error:
        errors["deadline"] = _said(error)
        return None
    return now_ms + hours * HOUR_MS


def _said(error: InputError) -> str:
    place = ":".join(str(part) for part in (error.source, error.line) if part is not None)
    said = error.message.removeprefix(f"{place}: ")
    words = fault_words(said.removeprefix(f"{error.field}: ") if error.field else said)
    return f"{place}: {words}" if place else words
