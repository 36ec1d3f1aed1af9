"""The form of a new batch, with its quote beside it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rushes.dashboard.acting import Form, field_row
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.codes import note_words
from rushes.dashboard.pages.new_batch.accepting import accepting_rows
from rushes.dashboard.pages.new_batch.faults import fault_words
from rushes.dashboard.pages.new_batch.given import (
    DEADLINE_HOURS_MAX,
    NAME_CHARACTERS_MAX,
    OPTION_PREFIX,
    Given,
    read_given,
)
from rushes.dashboard.pages.new_batch.quote import quote_card
from rushes.dashboard.pieces import about, empty, number, option_word, percent, table
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.catalogue.media import MediaInput
from rushes.domain.catalogue.options import (
    DecimalNumber,
    OptionSpec,
    Text,
    WholeNumber,
    YesNo,
    default_of,
    values_of,
)
from rushes.domain.catalogue.price import Tariff
from rushes.domain.catalogue.price_reading import tariff_text
from rushes.domain.errors import InputError
from rushes.domain.input.priced import PricedDraft
from rushes.domain.retries import RETRIES_MAX
from rushes.read import ledger
from rushes.read.board.orders import model_facts, order_of

ROWS_SHOWN: Final = 50
FAULTS_SHOWN: Final = 20
CHOICES_MAX: Final = 40
"""Values of an option that are offered as a list."""


async def show(visit: Visit) -> Page:
    """The empty form, or with what another batch was made of."""
    values: dict[str, str] = {**visit.query, "token": visit.parts.new_nonce()}
    source = visit.text("from")
    if source is not None:
        account, items = await visit.parts.read(
            order_of, source, only_failed=visit.query.get("failed") == "1"
        )
        values |= written_again(items, model=visit.text("model")) | {"account": account}
    return await page_of(visit, await read_given(visit.parts, Form(values), now_ms=visit.now_ms))


def written_again(items: Sequence[Mapping[str, Any]], *, model: str | None) -> dict[str, str]:
    """The form's fields for items of another batch; `model` takes the place of theirs."""
    models = {item["model"] for item in items}
    found = {"model": model or (models.pop() if len(models) == 1 else "")}
    lines: list[str] = []
    if found["model"] and all(_is_plain(item) for item in items):
        return found | {"text": "\n".join(item["prompt"] for item in items), "file_name": ""}
    for item in items:
        kept = {name: value for name, value in item.items() if name != "model" or not found["model"]}
        lines.append(json.dumps(kept, ensure_ascii=False))
    return found | {"text": "\n".join(lines), "file_name": "batch.jsonl" if lines else ""}


def _is_plain(item: Mapping[str, Any]) -> bool:
    """Whether a line of text says all of it."""
    prompt: str = item["prompt"]
    return set(item) == {"prompt", "model"} and prompt.isprintable() and prompt[:1] not in '#{["'


async def page_of(visit: Visit, given: Given) -> Page:
    """The page with what was given so far. Its fragments are what changes while one writes, and all that the
    script asks for.
    """
    parts = visit.parts
    accounts: list[str] = []
    if not (visit.is_from_script and given.form.get("account")):
        accounts = [one["account"] for one in await parts.read(ledger.account_list)]
    fragments = {
        "options": _options(given),
        "quote": await quote_card(visit, given, accounts[0] if accounts else ""),
        "rows": _rows(given),
    }
    status = 422 if given.form.errors.get("") else 200
    if visit.is_from_script:
        return Page(
            title=tr("New batch"),
            section="batches",
            parts={},
            is_live=False,
            fragments=fragments,
            status=status,
        )
    live = [model.name for model in parts.catalogue if model.takes_new_tasks(visit.now_ms / 1000)]
    facts = await parts.read(model_facts, live, forecaster=parts.forecaster, now_ms=visit.now_ms)
    head = tag("div", tag("h1", tr("New batch")), class_="head")
    return Page(
        title=tr("New batch"),
        section="batches",
        parts={"head": head, "form": _form(visit, given, accounts, facts, fragments)},
        is_live=False,
        fragments=fragments,
        status=status,
    )


def _part(name: str, fragments: Mapping[str, Markup]) -> Markup:
    return tag("div", fragments[name], data_part=name)


def _form(
    visit: Visit,
    given: Given,
    accounts: Sequence[str],
    facts: Mapping[str, Mapping[str, float | None]],
    fragments: Mapping[str, Markup],
) -> Markup:
    form = given.form
    is_template = form.get("mode") == "template"
    left = tag(
        "div",
        _prompts(form, is_template=is_template),
        _models(visit, given, facts),
        _part("options", fragments),
        class_="card fields",
    )
    right = tag(
        "div",
        _who(form, accounts),
        accepting_rows(form),
        _part("quote", fragments),
        class_="card fields quote",
    )
    return tag(
        "form",
        tag("input", type="hidden", name="token", value=form.get("token")),
        tag("div", left, tag("div", _part("rows", fragments), class_="card flush"), class_="new-left"),
        right,
        method="post",
        action=f"{visit.root}/batches/new",
        class_="new-batch",
        data_quoting=True,
    )


def _prompts(form: Form, *, is_template: bool) -> Markup:
    modes = [
        tag(
            "label",
            tag("input", type="radio", name="mode", value=value, checked=checked),
            " ",
            word,
            class_="check",
        )
        for value, word, checked in (
            ("prompts", tr("Prompts"), not is_template),
            ("template", tr("Template × variables"), is_template),
        )
    ]
    drop = tag(
        "label",
        tr("or drop a file: text, CSV, JSON Lines"),
        " ",
        tag("input", type="file", accept=".txt,.csv,.tsv,.jsonl,.ndjson,.json", data_prompt_file=True),
        class_="with-script muted",
    )
    error = form.errors.get("text")
    prompts = tag(
        "div",
        tag("label", tr("Prompts, one a line; or CSV, or JSON Lines"), for_="prompts"),
        tag(
            "textarea",
            form.values.get("text", ""),
            id="prompts",
            name="text",
            rows=9,
            spellcheck="false",
            aria_invalid="true" if error else None,
            aria_describedby="prompts-error" if error else None,
        ),
        tag("input", type="hidden", name="file_name", value=form.get("file_name")),
        tag("p", error, id="prompts-error", class_="field-error") if error else None,
        drop,
        class_="field for-prompts",
    )
    template = tag(
        "div",
        _text(form, "template", tr("Template"), "A {style} shot of {scene}", rows=2),
        _text(
            form,
            "variables",
            tr("Variables, one a line"),
            "style: wide, close\nscene: a harbour at dusk",
            rows=4,
        ),
        class_="field for-template",
    )
    return joined(
        tag("fieldset", tag("legend", tr("From"), class_="unseen"), modes, class_="modes"), prompts, template
    )


def _text(form: Form, name: str, label: str, example: str, *, rows: int) -> Markup:
    error = form.errors.get(name)
    return tag(
        "div",
        tag("label", label, for_=f"field-{name}"),
        tag(
            "textarea",
            form.values.get(name, ""),
            id=f"field-{name}",
            name=name,
            rows=rows,
            placeholder=example,
            spellcheck="false",
            aria_invalid="true" if error else None,
        ),
        tag("p", error, class_="field-error") if error else None,
        class_="field",
    )


def _models(visit: Visit, given: Given, facts: Mapping[str, Mapping[str, float | None]]) -> Markup:
    catalogue, now = visit.parts.catalogue, visit.now_ms / 1000
    choices = [
        (model.name, _model_words(model.name, price_words(model.price.tariff), facts.get(model.name, {})))
        for model in catalogue
        if model.takes_new_tasks(now)
    ]
    aliases = {one.name: ", ".join(model.name for model in one.models) for one in catalogue.aliases}
    choices += [
        (name, tr("{alias}: the first of {models}", alias=name, models=models))
        for name, models in aliases.items()
    ]
    options = [tag("option", words, value=name, selected=name == given.model_name) for name, words in choices]
    return tag(
        "div",
        tag("label", tr("Model"), for_="model"),
        tag("select", options, id="model", name="model"),
        class_="field",
    )


def price_words(tariff: Tariff) -> str:
    """What a model asks; its conditions are said as the catalogue has them."""
    base, _, conditions = tariff_text(tariff).partition("; ")
    match base.split(" "):
        case [amount, "a", "video"]:
            said = tr("{n} credits a video", n=amount)
        case [amount, "a", "second"]:
            said = tr("{n} credits a second", n=amount)
        case _:
            said = tr("credits: {price}", price=base)
    return f"{said}; {conditions}" if conditions else said


def _model_words(name: str, price: str, facts: Mapping[str, float | None]) -> str:
    parts = [name, price]
    rate, seconds = facts.get("pass_rate"), facts.get("render_seconds")
    if rate is not None:
        parts.append(tr("passes {rate}", rate=percent(rate, 1)))
    if seconds:
        parts.append(tr("about {time}", time=about(seconds)))
    return " · ".join(parts)


def _options(given: Given) -> Markup:
    """The options of the chosen model, with their defaults."""
    model = given.model
    if model is None or not model.options:
        return Markup()
    fields = [_option(given.form, name, spec) for name, spec in model.options.items()]
    note = tag("p", note_words(model.note), class_="hint") if model.note else None
    return joined(note, tag("div", fields, class_="option-fields"))


def _option(form: Form, name: str, spec: OptionSpec) -> Markup:
    field, default, values = OPTION_PREFIX + name, default_of(spec), values_of(spec)
    label = option_word(name)
    if isinstance(spec, YesNo) or (values is not None and len(values) <= CHOICES_MAX):
        given = form.get(field)
        word = (
            tr("default: {value}", value=_word(default)) if default is not None else tr("the model's default")
        )
        choices = [tag("option", word, value="")]
        choices += [
            tag("option", _word(value), value=_word(value), selected=_word(value) == given)
            for value in values or ()
        ]
        error = form.errors.get(field)
        return tag(
            "div",
            tag("label", label, for_=f"field-{field}"),
            tag("select", choices, id=f"field-{field}", name=field),
            tag("p", error, class_="field-error") if error else None,
            class_="field",
        )
    is_media = isinstance(spec, MediaInput)
    row = field_row(
        form,
        field,
        label,
        hint=described(spec),
        placeholder=tr("URL, or drop a file") if is_media else None if default is None else str(default),
        autocomplete="off",
        data_media=is_media or None,
    )
    if not is_media:
        return row
    choose = tag(
        "input",
        type="file",
        accept="image/*,video/*,audio/*",
        aria_label=tr("A file for {field}", field=label),
        data_upload=f"field-{field}",
    )
    said = tag("span", class_="hint", role="status")
    return tag("div", row, tag("div", choose, said, class_="with-script upload"), class_="field")


def described(spec: OptionSpec) -> str:
    """What the option takes; another package's own kinds say it in English."""
    match spec:
        case MediaInput(content="image", count_max=n):
            return tr_count(n, "1 picture: a URL or a file", "up to {n} pictures: URLs or files")
        case MediaInput(content="video", count_max=n):
            return tr_count(n, "1 video: a URL or a file", "up to {n} videos: URLs or files")
        case MediaInput(content="audio", count_max=n):
            return tr_count(n, "1 sound: a URL or a file", "up to {n} sounds: URLs or files")
        case WholeNumber() if spec.step == 1:
            return tr("a whole number from {low} to {high}", low=spec.minimum, high=spec.maximum)
        case DecimalNumber():
            return tr("a number from {low} to {high}", low=spec.minimum, high=spec.maximum)
        case Text():
            return tr("up to {n} characters", n=spec.characters_max)
        case _:
            return spec.describe()


def _word(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _who(form: Form, accounts: Sequence[str]) -> Markup:
    account_error = form.errors.get("account")
    return joined(
        tag(
            "div",
            tag("label", tr("Account"), for_="account"),
            tag(
                "select",
                [tag("option", name, selected=name == form.get("account")) for name in accounts],
                id="account",
                name="account",
            ),
            tag("p", account_error, class_="field-error") if account_error else None,
            class_="field",
        ),
        field_row(
            form,
            "name",
            tr("Name"),
            maxlength=NAME_CHARACTERS_MAX,
            placeholder=tr("optional"),
            autocomplete="off",
        ),
        tag(
            "div",
            tag("label", tr("If a video fails"), for_="retries"),
            tag(
                "select",
                [
                    tag(
                        "option",
                        tr("do not retry, refund it")
                        if not times
                        else tr_count(times, "retry once", "retry {n} times"),
                        value=times,
                        selected=str(times) == form.get("retries"),
                    )
                    for times in range(RETRIES_MAX + 1)
                ],
                id="retries",
                name="retries",
            ),
            class_="field",
        ),
        field_row(
            form,
            "retries_credits",
            tr("Credits for retries, at most"),
            inputmode="numeric",
            placeholder=tr("no limit"),
        ),
        field_row(
            form,
            "deadline",
            tr("Deadline in hours"),
            hint=tr("what is not sent by then is refunded"),
            inputmode="numeric",
            placeholder=tr("1 to {n}, or never", n=DEADLINE_HOURS_MAX),
        ),
    )


def _rows(given: Given) -> Markup:
    """The rows as they were read: those at fault first."""
    if not given.rows.rows:
        return empty(
            tr("No prompts yet."), tr("Each row is shown here with its price or what is wrong with it.")
        )
    heads = (tr("Row"), tr("Prompt"), tr("Model"), tr("Options"), tr("Credits"))
    numbered = list(enumerate(given.rows.rows))
    faults = [pair for pair in numbered if isinstance(pair[1], InputError)][:FAULTS_SHOWN]
    sound = [pair for pair in numbered if isinstance(pair[1], PricedDraft)][:ROWS_SHOWN]
    lines = [_row(place, row) for place, row in (*faults, *sound)]
    more = len(numbered) - len(lines)
    return joined(
        table(heads, lines, caption=tr("Rows of the batch"), right=(heads[4],), class_="dense"),
        tag("p", tr_count(more, "and 1 more row", "and {n} more rows"), class_="muted more-rows")
        if more
        else None,
    )


def _row(place: int, row: PricedDraft | InputError) -> list[Markup | str]:
    if isinstance(row, InputError):
        said = fault_words(row.message.removeprefix(f"{row.source}:{row.line}: "))
        where = tr("line {n}: {what}", n=row.line, what=said) if row.line else said
        fault = tag("span", where, class_="amount-minus")
        return [number(place + 1), fault, "", tag("span", tr("left out"), class_="muted"), "–"]
    options = " · ".join(f"{name} {_word(value)}" for name, value in row.options.items())
    return [
        number(place + 1),
        tag("span", row.draft.prompt, title=row.draft.prompt, class_="clip long"),
        row.asked_for,
        tag("span", options, title=options, class_="clip short muted"),
        number(row.credits),
    ]
