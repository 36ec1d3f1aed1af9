"""Accounts: what they may spend, their lots, their ledger; and credits for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from rushes.dashboard.credit_proof import entry_table
from rushes.dashboard.frame import page_frame
from rushes.dashboard.live import Live, confirmed, said
from rushes.dashboard.markup import Markup, joined, tag, whole_number
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.pieces import card, chip, empty, moment, number, page_head, pager, stat, table, url
from rushes.domain.credits import CREDITS_MAX
from rushes.domain.errors import InputError, NotFound
from rushes.engine import operator_acts, operator_reads
from rushes.engine.operator_reads import Span
from rushes.store.ledger import ACCOUNT_NAME_CHARACTERS_MAX

ENTRIES_PER_PAGE: Final = 25
BONUS_DAYS_MAX: Final = 3650
DAY_MS: Final = 86_400_000


@dataclass
class AccountPage:
    """One open page of an account."""

    parts: DashboardParts
    root: str
    account: str
    page: int
    grants: int = 0
    live: Live | None = None

    async def render(self) -> Markup:
        """The page as it is now."""
        now_ms = self.parts.now_ms()
        try:
            seen = await self.parts.read(
                operator_reads.account_in_full,
                self.account,
                entries=Span(ENTRIES_PER_PAGE, (self.page - 1) * ENTRIES_PER_PAGE),
                now_ms=now_ms,
            )
        except NotFound as error:
            return joined(page_head("Account not found"), tag("p", error.message, class_="banner warn"))
        balance = seen["balance"]
        return joined(
            page_head(
                self.account, above=tag("a", "← Accounts", href=f"{self.root}/accounts", class_="crumb")
            ),
            tag(
                "div",
                stat("Available", number(balance["available"]), "may be spent now"),
                stat("Held", number(balance["reserved"]), "for open tasks"),
                stat("Together", number(balance["total"])),
                class_="grid",
            ),
            tag(
                "div",
                card("Credit lots", _lots(balance["lots"], now_ms=now_ms)),
                card("Grant credits", grant_form(key=f"grant-{self.grants}")),
                class_="grid two",
            ),
            card("Ledger", self._entries(seen["entries"], seen["entry_count"], now_ms=now_ms)),
        )

    def _entries(self, entries: Sequence[Mapping[str, Any]], total: int, *, now_ms: int) -> Markup:
        pages = max(1, -(-total // ENTRIES_PER_PAGE))
        path = f"{self.root}/accounts"
        previous = url(path, account=self.account, page=min(self.page - 1, pages)) if self.page > 1 else None
        following = url(path, account=self.account, page=self.page + 1) if self.page < pages else None
        return joined(
            entry_table(entries, now_ms=now_ms, with_batch=True) if entries else empty("No entry."),
            pager(f"Page {number(self.page)} of {number(pages)}", previous=previous, following=following)
            if pages > 1
            else None,
        )

    async def grant(self, arguments: dict[str, Any]) -> None:
        """Give this account what the form says."""
        if await give(self.parts, self.account, arguments):
            self.grants += 1
            if self.live is not None:
                await self.live.refresh()


async def give(parts: DashboardParts, account: str, form: Mapping[str, Any]) -> bool:
    """Check the form, ask, and grant; False when it was not wanted after all. Raises `InputError`."""
    amount = whole_number(str(form.get("amount", "")), low=1, high=CREDITS_MAX, field="credits")
    description = str(form.get("description", "")).strip()
    if len(description) > operator_acts.DESCRIPTION_CHARACTERS_MAX or not description.isprintable():
        raise InputError(
            f"must be at most {operator_acts.DESCRIPTION_CHARACTERS_MAX} printable characters",
            field="description",
        )
    days_text, expires_at_ms, kind = str(form.get("days", "")).strip(), None, "permanent credits"
    if days_text:
        days = whole_number(days_text, low=1, high=BONUS_DAYS_MAX, field="days")
        expires_at_ms = parts.now_ms() + days * DAY_MS
        until = datetime.now(UTC) + timedelta(days=days)
        kind = f"bonus credits that expire on {until:%Y-%m-%d}"
    if not await confirmed(
        f"Grant {number(amount)} credits?", f"Account {account} gets {number(amount)} {kind}.", action="Grant"
    ):
        return False
    await parts.database.transact(
        operator_acts.grant,
        account,
        amount,
        expires_at_ms=expires_at_ms,
        description=description,
        now_ms=parts.now_ms(),
    )
    said(f"{number(amount)} credits granted to {account}")
    return True


def add_page(parts: DashboardParts) -> None:
    """Register the pages: of all accounts, and of one."""

    @ui.page("/accounts", response_timeout=20)
    async def accounts(request: Request, account: str = "", page: str = "1") -> None:
        title = account or "Accounts"
        with page_frame(parts, request, title, section="Accounts") as root:
            if account:
                number_ = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
                shown = AccountPage(parts, root, account, max(1, number_))
                shown.live = Live(shown.render, {"grant": shown.grant})
                await shown.live.refresh()
                return

            async def render() -> Markup:
                return list_content(root, await parts.read(operator_reads.account_list))

            async def grant(arguments: dict[str, Any]) -> None:
                name = str(arguments.get("account", "")).strip()
                if not name or len(name) > ACCOUNT_NAME_CHARACTERS_MAX:
                    raise InputError(
                        f"must be 1 to {ACCOUNT_NAME_CHARACTERS_MAX} characters", field="account"
                    )
                if await give(parts, name, arguments):
                    ui.navigate.to(url("/accounts", account=name))  # it puts the root before it

            await Live(render, {"grant": grant}).refresh()


def list_content(root: str, found: Sequence[Mapping[str, Any]]) -> Markup:
    """All accounts, and a form for a new one."""
    rows = [
        [
            tag("a", account["account"], href=url(f"{root}/accounts", account=account["account"])),
            number(account["available"]),
            number(account["held"]),
            number(account["entry_count"]),
            tag("a", "Batches", href=url(f"{root}/batches", account=account["account"])),
        ]
        for account in found
    ]
    heads = ("Account", "Available", "Held", "Ledger entries", "Work")
    note = f"the first {number(len(found))} by name" if len(found) == operator_reads.ACCOUNTS_MAX else ""
    return joined(
        page_head("Accounts"),
        card(
            "Credits by account",
            table(
                heads,
                rows,
                caption="Accounts",
                right=heads[1:],
                keys=[account["account"] for account in found],
            )
            if rows
            else empty("No account yet.", "The first grant makes one."),
            end=tag("span", note, class_="muted"),
        ),
        card("Grant credits", grant_form(key="grant", with_account=True)),
    )


def grant_form(*, key: str, with_account: bool = False) -> Markup:
    """Amount, expiry and description. A new key empties it."""

    def field(name: str, label: str, **attributes: str | int | bool | None) -> Markup:
        return tag(
            "div",
            tag("label", label, for_=f"grant-{name}"),
            tag("input", id=f"grant-{name}", name=name, **attributes),
        )

    return tag(
        "form",
        tag(
            "div",
            field("account", "Account", required=True, maxlength=ACCOUNT_NAME_CHARACTERS_MAX)
            if with_account
            else None,
            field("amount", "Credits", required=True, inputmode="numeric", autocomplete="off"),
            field("days", "Expire after days", inputmode="numeric", placeholder="never", autocomplete="off"),
            field(
                "description",
                "Description",
                maxlength=operator_acts.DESCRIPTION_CHARACTERS_MAX,
                autocomplete="off",
            ),
            tag("button", "Grant", type="submit", class_="button primary"),
            class_="fields",
        ),
        data_form="grant",
        data_key=key,
    )


def _lots(lots: Sequence[Mapping[str, Any]], *, now_ms: int) -> Markup:
    if not lots:
        return empty("No credits left.")
    rows = [
        [
            chip("Bonus", "info") if lot["kind"] == "bonus" else chip("Permanent", "ok"),
            number(lot["remaining"]),
            moment(lot["expires_at"], now_ms=now_ms)
            if lot["expires_at"]
            else tag("span", "never", class_="muted"),
        ]
        for lot in lots
    ]
    heads = ("Kind", "Left", "Expires")
    return table(heads, rows, caption="Credit lots", right=heads[1:])
