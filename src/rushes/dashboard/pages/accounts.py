"""Accounts: what they may spend, their lots, their ledger; and credits for them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rushes.dashboard.acting import Act, Done, Form, Question, act_link, carry_out, field_row, reason_row
from rushes.dashboard.markup import Markup, joined, tag, whole_number
from rushes.dashboard.pages.balance import balance_chart, further_lots
from rushes.dashboard.pages.entries import entry_table
from rushes.dashboard.pages.month import month_links, month_page
from rushes.dashboard.pieces import card, chip, empty, moment, moment_of, number, page_steps, stat, table, url
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr, tr_count
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError, NotFound
from rushes.money import acts
from rushes.read import ledger
from rushes.read.board.accounts import account_board
from rushes.read.scope import Span
from rushes.store.ledger import ACCOUNT_NAME_CHARACTERS_MAX

ENTRIES_PER_PAGE: Final = 50
PAGES_MAX: Final = 1_000_000
BONUS_DAYS_MAX: Final = 3650
DAY_MS: Final = 86_400_000


async def show(visit: Visit) -> Page:
    """All accounts, or the one that the address names."""
    account = visit.text("account")
    return await (_all(visit) if account is None else _one(visit, account))


async def _all(visit: Visit) -> Page:
    found = await visit.parts.read(ledger.account_list)
    rows = [
        [
            tag("a", account["account"], href=url(f"{visit.root}/accounts", account=account["account"])),
            number(account["available"]),
            number(account["held"]),
            number(account["entry_count"]),
            tag("a", tr("Batches"), href=url(f"{visit.root}/batches", account=account["account"])),
        ]
        for account in found
    ]
    heads = (tr("Account"), tr("Available"), tr("Held"), tr("Ledger entries"), tr("Work"))
    is_cut = len(found) == ledger.ACCOUNTS_MAX
    note = tr_count(len(found), "the first by name", "the first {n} by name") if is_cut else ""
    shown = (
        table(heads, rows, caption=tr("Accounts"), right=heads[1:], keys=[one["account"] for one in found])
        if rows
        else empty(tr("No account yet."), tr("The first grant makes one."))
    )
    grant_link = act_link(
        visit, "/accounts/grant", tr("Grant credits…"), role=Role.OWNER, class_="button primary"
    )
    head = tag(
        "div",
        tag("h1", tr("Accounts")),
        tag("span", note, class_="muted"),
        tag("div", grant_link, class_="actions"),
        class_="head",
    )
    parts = {"head": head, "list": tag("div", shown, class_="card flush")}
    return Page(title=tr("Accounts"), section="accounts", parts=parts)


async def _one(visit: Visit, account: str) -> Page:
    month = visit.text("month")
    if month is not None:
        return await month_page(visit, account, month)
    page = visit.number("page", 1, high=PAGES_MAX)
    seen = await visit.parts.read(
        account_board,
        account,
        entries=Span(ENTRIES_PER_PAGE, (page - 1) * ENTRIES_PER_PAGE),
        now_ms=visit.now_ms,
    )
    grant_link = act_link(
        visit,
        url("/accounts/grant", account=account),
        tr("Grant credits…"),
        role=Role.OWNER,
        class_="button primary",
    )
    batches = tag("a", tr("Batches"), href=url(f"{visit.root}/batches", account=account), class_="button")
    balance = seen.balance
    figures = tag(
        "div",
        stat(tr("Credits available"), number(balance["available"]), tr("may be spent now")),
        stat(tr("Credits held"), number(balance["reserved"]), tr("for open tasks")),
        stat(tr("Total"), number(balance["total"]), tr("credits")),
        class_="grid",
    )
    access = tag(
        "div",
        card(tr("Credit lots"), _lots(visit, balance["lots"]), further_lots(balance)),
        card(tr("Statements by month"), month_links(visit, account, seen.created_at_ms)),
        card(tr("API keys"), _keys(visit, seen.keys)),
        card(tr("Webhook endpoints"), _endpoints(visit, seen.endpoints)),
        class_="grid four",
    )
    return Page(
        title=account,
        section="accounts",
        parts={
            "head": tag(
                "div", tag("h1", account), tag("div", batches, grant_link, class_="actions"), class_="head"
            ),
            "figures": figures,
            "balance": card(
                tr("Balance over time"),
                balance_chart(seen.days, now_ms=visit.now_ms),
                end=tag("span", tr("credits at the end of each day (UTC)"), class_="muted"),
            ),
            "access": access,
            "ledger": card(tr("Ledger"), _entries(visit, account, seen.entries, seen.entry_count, page)),
        },
    )


def _keys(visit: Visit, found: Sequence[Mapping[str, Any]]) -> Markup:
    if not found:
        return empty(tr("No key yet."), tr("`rushes keys create` makes one."))
    heads = (tr("Key"), tr("Made"), tr("State"))
    rows: list[list[Markup | str]] = [
        [
            tag("span", key["name"] or f"{key['shown']}…", class_="clip key", title=f"{key['shown']}…"),
            moment_of(key["created_at_ms"], now_ms=visit.now_ms),
            chip(tr("Valid"), "ok") if key["revoked_at_ms"] is None else chip(tr("Revoked"), ""),
        ]
        for key in found
    ]
    return table(heads, rows, caption=tr("API keys"), right=heads[1:], class_="dense")


def _endpoints(visit: Visit, found: Sequence[Mapping[str, Any]]) -> Markup:
    if not found:
        return empty(tr("No endpoint."), tr("The account registers them over the API."))
    heads = (tr("Endpoint"), tr("Made"), tr("State"))
    rows: list[list[Markup | str]] = [
        [
            tag("span", one["url"], class_="mono clip key", title=one["url"]),
            moment_of(one["created_at_ms"], now_ms=visit.now_ms),
            chip(tr("Receives"), "ok") if one["disabled_at_ms"] is None else chip(tr("Off"), "warn"),
        ]
        for one in found
    ]
    return table(heads, rows, caption=tr("Webhook endpoints"), right=heads[1:], class_="dense")


def _entries(
    visit: Visit, account: str, entries: Sequence[Mapping[str, Any]], total: int, page: int
) -> Markup:
    path = f"{visit.root}/accounts"
    return joined(
        entry_table(visit, entries, with_batch=True) if entries else empty(tr("No entry.")),
        page_steps(page, total, ENTRIES_PER_PAGE, lambda wanted: url(path, account=account, page=wanted)),
    )


def _lots(visit: Visit, lots: Sequence[Mapping[str, Any]]) -> Markup:
    if not lots:
        return empty(tr("No credits left."), tr("A grant adds a lot."))
    rows = [
        [
            chip(tr("Bonus"), "info") if lot["kind"] == "bonus" else chip(tr("Permanent"), "ok"),
            number(lot["remaining"]),
            moment(lot["expires_at"], now_ms=visit.now_ms)
            if lot["expires_at"]
            else tag("span", tr("never"), class_="muted"),
        ]
        for lot in lots
    ]
    heads = (tr("Kind"), tr("Left"), tr("Expires"))
    return table(heads, rows, caption=tr("Credit lots"), right=heads[1:])


# --- granting -------------------------------------------------------------------------------------------


async def ask_grant(visit: Visit, form: Form) -> Question:
    """For whom, how much, until when and why; and what the account has now."""
    account = form.get("account")
    stakes: list[tuple[str, str | Markup]] = []
    note = None
    if account and visit.query.get("account"):
        try:
            balance = await visit.parts.read(ledger.balance, account, now_ms=visit.now_ms)
            stakes.append((tr("Balance of {account} now", account=account), number(balance["available"])))
        except NotFound:
            note = tr("There is no account of this name: the grant makes it.")
    return Question(
        title=tr("Grant credits"),
        action=tr("Grant"),
        stakes=stakes,
        fields=_grant_fields(form, with_account="account" not in visit.query),
        note=note,
    )


def _grant_fields(form: Form, *, with_account: bool) -> Markup:
    is_new = "new_account" in form.errors
    confirm = tag(
        "label",
        tag("input", type="checkbox", name="new_account", value="1"),
        " ",
        form.errors.get("new_account", ""),
        class_="check field-error",
    )
    return tag(
        "div",
        field_row(
            form,
            "account",
            tr("Account"),
            required=True,
            maxlength=ACCOUNT_NAME_CHARACTERS_MAX,
            autocomplete="off",
        )
        if with_account
        else None,
        confirm if is_new else None,
        field_row(form, "amount", tr("Credits"), required=True, inputmode="numeric", autocomplete="off"),
        field_row(
            form,
            "days",
            tr("Expire after days"),
            inputmode="numeric",
            placeholder=tr("never"),
            autocomplete="off",
            hint=tr("With an expiry they are bonus credits, spent first."),
        ),
        reason_row(
            form,
            "description",
            characters_max=acts.DESCRIPTION_CHARACTERS_MAX,
            hint=tr("It stands in the account's ledger."),
        ),
        class_="fields",
    )


async def grant(visit: Visit, form: Form) -> Done:
    """Give an account credits. Raises `InputError`; a new account is made only when that is confirmed."""
    account = form.get("account")
    if not account or len(account) > ACCOUNT_NAME_CHARACTERS_MAX or not account.isprintable():
        limit = ACCOUNT_NAME_CHARACTERS_MAX
        raise InputError(tr("must be 1 to {n} characters", n=limit), field="account")
    amount = whole_number(form.get("amount"), low=1, high=CREDITS_MAX, field="amount")
    description = form.get("description")
    if not description or len(description) > acts.DESCRIPTION_CHARACTERS_MAX or not description.isprintable():
        limit = acts.DESCRIPTION_CHARACTERS_MAX
        raise InputError(tr("must be 1 to {n} printable characters", n=limit), field="description")
    expires_at_ms, kind = None, tr("permanent")
    if form.get("days"):
        days = whole_number(form.get("days"), low=1, high=BONUS_DAYS_MAX, field="days")
        expires_at_ms = visit.now_ms + days * DAY_MS
        kind = tr("until {day}", day=f"{datetime.fromtimestamp(expires_at_ms / 1000, UTC):%Y-%m-%d}")
    if form.get("new_account") != "1" and not await visit.parts.read(ledger.account_exists, account):
        raise InputError(
            tr("There is no account {account} yet. Check this to make it.", account=account),
            field="new_account",
        )
    await carry_out(
        visit,
        "credits.grant",
        account,
        {"credits": amount, "expires_at_ms": expires_at_ms, "description": description},
        acts.grant,
        account,
        amount,
        expires_at_ms=expires_at_ms,
        description=description,
        now_ms=visit.now_ms,
    )
    said = tr("{credits} granted to {account}, {kind}", credits=number(amount), account=account, kind=kind)
    return Done(said, url("/accounts", account=account))


ACTS: Final = (Act("/accounts/grant", "accounts", Role.OWNER, ask_grant, grant, with_token=True),)
