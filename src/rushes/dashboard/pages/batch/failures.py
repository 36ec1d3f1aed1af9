"""A batch's failures by reason and model, each with what it would cost to retry them."""

from collections.abc import Mapping
from typing import Any

from rushes.dashboard.acting import act_link
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.pages.batch.tabs import head, looking, path_of, tab_bar, title_of
from rushes.dashboard.pieces import chip, empty, failure_word, number, own_words, percent, table, url
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.read.board.batch_tabs import FailuresTab, failures_tab
from rushes.read.board.failures import FailureGroup


async def show(visit: Visit) -> Page:
    """The failures of a batch."""
    tab = await visit.parts.read(failures_tab, looking(visit))
    return Page(
        title=title_of(tab.batch),
        section="batches",
        parts={
            "head": head(visit, tab.batch),
            "tabs": tab_bar(visit, tab.batch, "failures"),
            "failures": tag("div", _groups(visit, tab), class_="card flush"),
            "rerolls": _rerolls(tab.rerolls),
        },
    )


def _groups(visit: Visit, tab: FailuresTab) -> Markup:
    if not tab.groups:
        return empty(
            tr("Nothing failed."), tr("Failed items are listed here by reason, each with its retry.")
        )
    heads = (tr("Reason"), tr("Model"), tr("Items"), tr("Refunded"), tr("Example"), tr("Retry"))
    rows = [_row(visit, tab.batch, group) for group in tab.groups]
    shown = table(
        heads,
        rows,
        caption=tr("Failures by reason and model"),
        right=(heads[2], heads[3], heads[5]),
        keys=[f"{group.wanted}" for group in tab.groups],
    )
    if len(tab.groups) < 2 or tab.batch["is_cancelled"]:
        return shown
    count = sum(group.count for group in tab.groups)
    price = sum(group.retry_credits for group in tab.groups)
    text = tr("Retry all {n} · {credits} credits", n=number(count), credits=number(price))
    all_of_them = act_link(visit, f"{path_of(tab.batch['batch_id'])}/retry?all=1", text)
    return joined(shown, tag("div", all_of_them, class_="card-foot"))


def _row(visit: Visit, batch: Mapping[str, Any], group: FailureGroup) -> list[Markup | str]:
    wanted = group.wanted
    path = visit.root + path_of(batch["batch_id"])
    word = failure_word(wanted.failure_type, group.error if wanted.is_unconfirmed else None)
    said = own_words(group.error, wanted.failure_type)
    example = joined(
        tag(
            "span",
            tag("a", f"#{group.index}", href=f"{visit.root}/items/{batch['batch_id']}-{group.index}"),
            tag("span", group.prompt, title=group.prompt, class_="clip long"),
            class_="about-item",
        ),
        tag("div", said, class_="reason", title=said) if said else None,
    )
    here = url(
        f"{path_of(batch['batch_id'])}/retry",
        failure_type=wanted.failure_type,
        of_model=wanted.model,
        unconfirmed=int(bool(wanted.is_unconfirmed)),
    )
    text = tr("Retry {n} · {credits} credits", n=number(group.count), credits=number(group.retry_credits))
    retries = joined(
        act_link(visit, here, text, class_="button small"),
        act_link(visit, f"{here}&other=1", tr("On another model…"), class_="button small"),
    )
    return [
        tag(
            "a",
            chip(word, "warn" if wanted.is_unconfirmed else "bad"),
            href=url(path, failure_type=wanted.failure_type),
        ),
        wanted.model or "–",
        number(group.count),
        number(group.credits),
        example,
        tag("span", retries, class_="row-actions") if not batch["is_cancelled"] else "–",
    ]


def _rerolls(rerolls: Mapping[str, Any]) -> Markup:
    """What automatic and other retries have come to."""
    if rerolls["policy"] is None and not rerolls["rerolls_count"]:
        return Markup()
    facts = [
        tr_count(rerolls["rerolls_count"], "1 retry made", "{n} retries made"),
        tr_count(rerolls["credits_used"], "1 credit used by retries", "{n} credits used by retries"),
        tr(
            "{rate} of all tries passed",
            rate=percent(rerolls["tries_passed"], rerolls["tries_ended"]),
        ),
    ]
    if rerolls["stopped_at"]:
        facts.append(tr("automatic retries were stopped: too few tries passed"))
    return tag("p", " · ".join(facts), class_="muted note")
