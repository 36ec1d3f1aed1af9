"""The quote of a batch that is being written: credits, cost and margin, balance after, when it is done."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rushes.dashboard.acting import AGREED
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.new_batch.given import Given
from rushes.dashboard.pieces import about, number, percent
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.catalogue.price import MICROS, total
from rushes.domain.errors import NotFound
from rushes.read import quotes


async def quote_card(visit: Visit, given: Given, first_account: str) -> Markup:
    """What the sound rows cost, and the button that makes them a batch."""
    problem = given.form.errors.get("")
    head = joined(
        tag("p", problem, class_="problem", role="alert") if problem else None, tag("h2", tr("Quote"))
    )
    drafts = given.drafts
    if not drafts:
        return joined(head, tag("p", tr("Write prompts to see their price."), class_="muted"), _faults(given))
    account = given.form.get("account") or first_account
    parts = visit.parts
    try:
        found = await parts.read(
            quotes.quote,
            drafts,
            account=account,
            forecaster=parts.forecaster,
            now_ms=visit.now_ms,
            best_of=given.acceptance.best_of,
        )
    except NotFound as error:
        return joined(head, tag("p", error.message, class_="problem"))
    after = found["available_credits"] - found["required_credits"]
    lines = [
        (tr("Balance after"), number(after), "amount-minus" if after < 0 else None),
        *_expected(found["accept"]),
        *_money(visit, given),
        (tr("Done in"), _span(found["finish_seconds"]), None),
    ]
    each = found["cost_per_video"]
    count = tr_count(len(drafts), "1 video", "{n} videos")
    said = count if each is None else f"{count} · {tr('{n} each', n=number(each))}"
    return joined(
        head,
        tag("p", tag("span", _span_of_credits(given), class_="big"), " ", tr("credits")),
        tag("p", said, class_="muted"),
        tag(
            "dl",
            [tag("div", tag("dt", name), tag("dd", value, class_=class_)) for name, value, class_ in lines],
            class_="quote-lines",
        ),
        _faults(given),
        _button(visit, given, is_short=after < 0),
    )


def _span_of_credits(given: Given) -> str:
    low, high = number(given.required_credits), number(given.credits_max)
    return low if low == high else tr("{low} to {high}", low=low, high=high)


def _expected(found: Mapping[str, Any] | None) -> list[tuple[str, str, str | None]]:
    """What best of n is expected to cost, and by what history of each model."""
    if found is None:
        return []
    lines: list[tuple[str, str, str | None]] = []
    if found["expected_credits"] is not None:
        said = tr(
            "{credits} credits, {n} accepted",
            credits=f"{found['expected_credits']:,.1f}",
            n=f"{found['expected_accepted']:,.1f}",
        )
        lines.append((tr("Expected"), said, None))
    for one in found["models"]:
        known = tr("{n} of {all} clips accepted", n=one["accepted"], all=one["clips"])
        if one["chance"] is None:
            lines.append((one["model"], tr("unknown yet: {known}", known=known), None))
            continue
        low, high = (percent(end, 1) for end in one["chance_interval"])
        chance = tr(
            "accepted in {chance} ({low} to {high}); {known}",
            chance=percent(one["chance"], 1),
            low=low,
            high=high,
            known=known,
        )
        lines.append((one["model"], chance, None))
    return lines


def _span(seconds: dict[str, int]) -> str:
    low, high = about(seconds["p50"]), about(seconds["p95"])
    return low if low == high else tr("{low} to {high}", low=low, high=high)


def _money(visit: Visit, given: Given) -> list[tuple[str, str, str | None]]:
    """What the providers are expected to charge, and what is left of it."""
    drafts = given.drafts
    costs = total([draft.money for draft in drafts if draft.money is not None])
    is_known = all(draft.money is not None for draft in drafts)
    if not costs:
        return [(tr("Provider's cost"), tr("cost not known"), None)]
    text = " + ".join(f"{Decimal(micros) / MICROS:.2f} {currency}" for currency, micros in costs.items())
    lines: list[tuple[str, str, str | None]] = [
        (tr("Provider's cost"), text if is_known else tr("{cost} and more", cost=text), None)
    ]
    revenue = visit.parts.valuation.revenue(given.required_credits)
    margin = visit.parts.valuation.margin(given.required_credits, costs, is_known=is_known)
    if margin is not None and revenue is not None and revenue.micros:
        share = f"{100 * margin.micros / revenue.micros:.0f} %"
        kind = "amount-minus" if margin.micros < 0 else "amount-plus"
        lines.append((tr("Margin"), f"{margin.amount:.2f} {margin.currency} · {share}", kind))
    return lines


def _faults(given: Given) -> Markup | None:
    count = len(given.rows.faults)
    if not count:
        return None
    text = tr_count(count, "1 row has an error and is left out", "{n} rows have an error and are left out")
    return tag("p", text, class_="field-error")


def _button(visit: Visit, given: Given, *, is_short: bool) -> Markup:
    if is_short:
        return tag("p", tr("The account has too few credits for this batch."), class_="problem")
    if not visit.may(Role.OPERATOR):
        return tag("p", tr("Your role may not do this"), class_="muted")
    n = _span_of_credits(given)
    text = tr("Create for {n} credits", n=n) if given.credits_max != 1 else tr("Create for 1 credit")
    return joined(
        tag("input", type="hidden", name=AGREED, value=given.agreed),
        tag("button", text, type="submit", name="act", value="create", class_="button primary wide"),
    )
