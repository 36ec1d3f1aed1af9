"""What can be done with a batch: cancel what waits, and retry failures, each with what is at stake."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from rushes.dashboard.acting import AGREED, ONCE, Act, Done, Form, Question, carry_out
from rushes.dashboard.markup import Markup, tag
from rushes.dashboard.pages.batch.tabs import looking, path_of, title_of
from rushes.dashboard.pieces import amount, number
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.acceptance.verdicts import Verdict
from rushes.domain.retries import LastModel
from rushes.money import acts
from rushes.money.acts import RETRIES_AT_ONCE_MAX
from rushes.read.board.batch_tabs import batch_of
from rushes.read.board.failures import (
    ITEMS_PRICED_MAX,
    FailureFilter,
    RetryPrice,
    failed_indexes,
    retry_price,
)
from rushes.read.views import OPEN_BATCH_STATUSES, runs_on

SELECTED_MAX: Final = 2000
"""Items that can be selected one by one; the tab of failures retries more at once."""


# --- cancel ---------------------------------------------------------------------------------------------


async def ask_cancel(visit: Visit, _form: Form) -> Question:
    """What cancelling gives back and what it leaves running."""
    batch = await visit.parts.read(batch_of, looking(visit))
    refusal = None
    if batch["status"] not in OPEN_BATCH_STATUSES:
        refusal = tr("The batch has finished: there is nothing to cancel.")
    waiting, running = batch["pending_count"], batch["processing_count"]
    return Question(
        title=tr("Cancel {name}?", name=title_of(batch)),
        action=tr("Cancel batch"),
        stakes=[
            (tr("Refunded at once"), tr_count(waiting, "1 item that waits", "{n} items that wait")),
            (
                tr("Runs to its end and is charged"),
                tr_count(running, "1 item at the provider", "{n} items at the provider"),
            ),
        ],
        note=tr("This cannot be undone. Items that wait can be ordered again in a new batch."),
        is_harmful=True,
        refusal=refusal,
    )


async def cancel(visit: Visit, _form: Form) -> Done:
    """Cancel what waits."""
    batch_id = visit.names["batch_id"]
    refunded = await carry_out(
        visit,
        "batch.cancel",
        batch_id,
        lambda refunded: {"credits_refunded": refunded},
        acts.cancel,
        batch_id,
        now_ms=visit.now_ms,
    )
    batch = await visit.parts.read(batch_of, looking(visit))
    said = tr_count(refunded, "Cancelled: 1 credit refunded", "Cancelled: {n} credits refunded")
    return Done(said + runs_on(batch["processing_count"]), path_of(batch_id))


# --- retry ----------------------------------------------------------------------------------------------


async def ask_retry(visit: Visit, form: Form) -> Question:
    """Which items, what it reserves, and what the account has after that."""
    model = chosen_model(visit, form)
    price = await _price(visit, form, model)
    if form.get("other") and model is None:
        return _which_model(visit, price)
    after = price.available - price.credits
    stakes: list[tuple[str, Markup | str]] = [
        (tr("Items"), number(price.count)),
        (tr("Credits to reserve"), _credits(price)),
        (tr("Balance of {account} after", account=price.account), _balance(after)),
    ]
    if price.refused:
        stakes.append((tr("Left out"), _left_out(price)))
    refusal = None
    if not price.count:
        refusal = tr("None of these items can be retried: {why}", why=_left_out(price))
    return Question(
        title=tr_count(price.count, "Retry 1 item?", "Retry {n} items?"),
        action=tr_count(price.credits, "Retry for 1 credit", "Retry for {n} credits"),
        stakes=stakes,
        fields=model_choice(visit, model, price.models if form.get("other") else None)
        if price.count or model
        else None,
        note=tr("Each is a new task. What fails again is refunded."),
        agreed=f"{price.count}:{price.credits}:{model or ''}",
        refusal=refusal,
    )


def _which_model(visit: Visit, price: RetryPrice) -> Question:
    """First the other model is chosen; its price is asked about then."""
    stakes: list[tuple[str, Markup | str]] = [
        (tr("Items"), number(price.count)),
        (tr("They cost before"), tr_count(price.old_credits, "1 credit", "{n} credits")),
    ]
    return Question(
        title=tr_count(price.count, "Retry 1 item on another model", "Retry {n} items on another model"),
        action="",
        stakes=stakes,
        fields=model_choice(visit, None, price.models) if price.count else None,
        note=tr("The price is shown before anything is reserved."),
        refusal=None
        if price.count
        else tr("None of these items can be retried: {why}", why=_left_out(price)),
        is_complete=False,
    )


def _left_out(price: RetryPrice) -> str:
    """Why some of the items cannot be retried."""
    return ", ".join(refusal_word(why, count) for why, count in price.refused) or tr("none was chosen")


def _credits(price: RetryPrice) -> str:
    if price.credits == price.old_credits:
        return number(price.credits)
    return tr("{n}, they cost {before} before", n=number(price.credits), before=number(price.old_credits))


def _balance(after: int) -> Markup:
    shortage = tag("span", " ", tr("too few: only a part will be retried")) if after < 0 else None
    return tag("span", amount(after), shortage, class_="amount-minus" if after < 0 else None)


def refusal_word(why: str, count: int) -> str:
    """Why that many items cannot be retried."""
    match why:
        case "cancelled":
            return tr_count(count, "1 in a cancelled batch", "{n} in a cancelled batch")
        case "open":
            return tr_count(count, "1 has not failed", "{n} have not failed")
        case "erased":
            return tr_count(count, "1 whose prompt was erased", "{n} whose prompts were erased")
        case "options":
            return tr_count(
                count,
                "1 with options that the model does not take",
                "{n} with options that the model does not take",
            )
        case _:
            return tr_count(count, "1 that is not there", "{n} that are not there")


def model_choice(visit: Visit, chosen: str | None, others_than: Collection[str] | None = None) -> Markup:
    """The model of the retry; the script asks again when another is chosen, without it a button does.

    `others_than` are models of which it must be another one.
    """
    now = visit.now_ms / 1000
    first = tr("the same models") if others_than is None else tr("choose a model")
    options = [tag("option", first, value="", selected=chosen is None)]
    options += [
        tag(
            "option",
            tr("{model} · {credits} credits by default", model=model.name, credits=model.typical_credits),
            value=model.name,
            selected=model.name == chosen,
        )
        for model in visit.parts.catalogue
        if model.takes_new_tasks(now) and not (others_than is not None and {model.name} == set(others_than))
    ]
    kept = [
        tag("input", type="hidden", name=name, value=value)
        for name, value in visit.query.items()
        if name not in ("model", AGREED, ONCE)
    ]
    look = tag(
        "button", tr("Show its price"), type="submit", formmethod="get", class_="button small without-script"
    )
    return tag(
        "div",
        tag("label", tr("With"), for_="retry-model"),
        tag("select", options, id="retry-model", name="model", data_ask_again=True),
        *kept,
        look,
        class_="field",
    )


def chosen_model(visit: Visit, form: Form) -> str | None:
    """The model that the form names, if it takes new tasks."""
    name = form.get("model")
    model = visit.parts.catalogue.find(name) if name else None
    return model.name if model is not None and model.takes_new_tasks(visit.now_ms / 1000) else None


async def _price(visit: Visit, form: Form, model: str | None) -> RetryPrice:
    return await visit.parts.read(
        retry_price,
        visit.names["batch_id"],
        await _indexes(visit, form),
        model=model,
        reprice=visit.parts.catalogue.charge,
        now_ms=visit.now_ms,
    )


async def _indexes(visit: Visit, form: Form) -> Sequence[int]:
    chosen = form.get("items")
    if chosen:
        return indexes_of(chosen)
    if not (form.get("all") or form.get("failure_type") or form.get("of_model")):
        return []
    unconfirmed = form.get("unconfirmed")
    wanted = FailureFilter(
        form.get("failure_type") or None,
        form.get("of_model") or None,
        None if unconfirmed == "" else unconfirmed == "1",
    )
    return await visit.parts.read(failed_indexes, visit.names["batch_id"], wanted)


def indexes_of(text: str) -> list[int]:
    """The numbers in `1,4,7-9`; what is none is passed over, and no more than `SELECTED_MAX` are taken."""
    found: dict[int, None] = {}
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not _is_index(first) or (last and not _is_index(last)):
            continue
        for index in range(int(first), min(int(last or first), ITEMS_PRICED_MAX) + 1):
            if len(found) >= SELECTED_MAX:
                return list(found)
            found[index] = None
    return list(found)


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6


async def retry(visit: Visit, form: Form) -> Done:
    """Make them wait again, a few hundred in one transaction."""
    batch_id, name = visit.names["batch_id"], chosen_model(visit, form)
    count, refusal = await retry_priced(visit, batch_id, await _price(visit, form, name), name)
    said = tr_count(count, "1 item waits to be retried", "{n} items wait to be retried")
    if refusal is not None:
        said = tr("{said}. Not all: {why}", said=said, why=refusal)
    return Done(said, path_of(batch_id), is_warning=refusal is not None)


async def retry_priced(
    visit: Visit, batch_id: str, price: RetryPrice, name: str | None
) -> tuple[int, str | None]:
    """Retry the items that were priced, with the model of that name; how many, and why not all."""
    parts = visit.parts
    model = None if name is None else LastModel.of(parts.catalogue.get(name))
    count, refusal = 0, None
    for start in range(0, price.count, RETRIES_AT_ONCE_MAX):
        indexes = price.indexes[start : start + RETRIES_AT_ONCE_MAX]
        done = await carry_out(
            visit,
            "batch.retry",
            batch_id,
            _facts(indexes, name),
            acts.retry_items,
            batch_id,
            indexes,
            now_ms=parts.now_ms(),
            reprice=parts.catalogue.charge,
            model=model,
        )
        visit = replace(visit, form_token="")  # it was taken with the first of them
        count, refusal = count + done.count, done.refusal
        if refusal is not None:
            break
    if count:
        parts.on_work()
    return count, refusal


def _facts(indexes: Sequence[int], model: str | None) -> Any:
    def facts(done: acts.Retried) -> dict[str, Any]:
        return {"items": list(indexes), "count": done.count, "model": model, "refusal": done.refusal}

    return facts


# --- rate -----------------------------------------------------------------------------------------------


async def ask_rate(visit: Visit, form: Form) -> Question:
    """Whether these videos are good: once, as over the API."""
    count = len(indexes_of(form.get("items")))
    is_good = form.get("verdict") != Verdict.REJECTED
    return Question(
        title=tr_count(count, "Rate 1 video good?", "Rate {n} videos good?")
        if is_good
        else tr_count(count, "Rate 1 video bad?", "Rate {n} videos bad?"),
        action=tr("Good") if is_good else tr("Bad"),
        note=tr(
            "The first rating of a clip stands. No credits move, unless the batch buys clips until one is"
            " good: then a bad one buys another."
        ),
        refusal=None if count else tr("none was chosen"),
    )


async def rate(visit: Visit, form: Form) -> Done:
    """Store the rating."""
    batch_id, indexes = visit.names["batch_id"], indexes_of(form.get("items"))
    verdict = Verdict.REJECTED if form.get("verdict") == Verdict.REJECTED else Verdict.ACCEPTED

    def facts(done: acts.Rated) -> dict[str, Any]:
        return {"items": indexes, "verdict": verdict.value, "count": done.count}

    done = await carry_out(
        visit,
        "items.rate",
        batch_id,
        facts,
        acts.rate_items,
        batch_id,
        indexes,
        verdict,
        person=visit.session.operator,
        now_ms=visit.now_ms,
        reprice=visit.parts.catalogue.charge,
    )
    said = (
        tr_count(done.count, "1 video rated good", "{n} videos rated good")
        if verdict is Verdict.ACCEPTED
        else tr_count(done.count, "1 video rated bad", "{n} videos rated bad")
    )
    if done.standing:
        why = tr_count(
            done.standing,
            "1 was judged by a person before, and that stands",
            "{n} were judged by a person before, and that stands",
        )
        said = tr("{said}. Not all: {why}", said=said, why=why)
    return Done(said, path_of(batch_id), is_warning=done.standing > 0)


ACTS: Final = (
    Act("/batches/{batch_id}/rate", "batches", Role.OPERATOR, ask_rate, rate),
    Act("/batches/{batch_id}/cancel", "batches", Role.OPERATOR, ask_cancel, cancel),
    Act("/batches/{batch_id}/retry", "batches", Role.OPERATOR, ask_retry, retry, with_token=True),
)
