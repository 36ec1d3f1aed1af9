"""`rushes credits`: grant, balance, ledger."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from rushes.cli.options import Account, Expiry, Json, Limit, Whole
from rushes.domain.notation import counted

OFFSET_MAX = 2**63 - 1
"""The largest number that the databases take."""

app = App(name="credits", help="Grant credits, show balances and the ledger.")


def check_grant(amount: int) -> None:
    """Raise `InputError` for an amount that no account can be given."""
    from rushes.domain.credits import CREDITS_MAX
    from rushes.domain.errors import InputError

    if not 0 < amount <= CREDITS_MAX:
        raise InputError(f"a grant is 1 to {CREDITS_MAX} credits, not {amount}", field="amount")


@app.command
def grant(
    amount: Annotated[Whole, Parameter(help="Whole credits, 1 or more.")],
    /,
    *,
    account: Account = "default",
    bonus: Annotated[bool, Parameter(negative=(), help="Credits that expire; needs --expires.")] = False,
    expires: Annotated[Expiry | None, Parameter()] = None,
    description: Annotated[str, Parameter(help="Kept in the ledger.")] = "",
    json: Json = False,
) -> None:
    """Give an account credits; a new account is made."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.domain.credits import LotKind
    from rushes.domain.errors import InputError

    check_grant(amount)
    if bonus != (expires is not None):
        raise InputError("--bonus and --expires go together: bonus credits expire, others do not")
    if len(description) > DESCRIPTION_CHARACTERS_MAX or not description.isprintable():
        raise InputError(
            f"must be at most {DESCRIPTION_CHARACTERS_MAX} printable characters", field="description"
        )

    async def give() -> None:
        async with opened(creates=True) as rushes:
            balance = await rushes.grant(
                amount,
                account=account,
                kind=LotKind.BONUS if bonus else LotKind.PERMANENT,
                expires_at_ms=None if expires is None else _epoch_ms(expires, datetime.now(UTC)),
                description=description,
            )
        if json:
            print_json({"ok": True, **balance})
        else:
            print_line(f"{account}: {counted(amount, 'credit')} granted, {balance['available']} available")

    run_async(give())


DESCRIPTION_CHARACTERS_MAX = 500


@app.command
def balance(*, account: Account = "default", json: Json = False) -> None:
    """Show an account's credits, and the lots that are spent next."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_facts, print_json, print_line, print_table

    async def show() -> None:
        async with opened() as rushes:
            found = await rushes.balance(account)
        if json:
            print_json({"ok": True, **found})
            return
        print_facts({name: found[name] for name in ("account", "available", "reserved", "total")})
        if found["lots"]:
            print_table(
                ("kind", "remaining", "expires"),
                [(lot["kind"], lot["remaining"], lot["expires_at"]) for lot in found["lots"]],
                right="remaining",
            )
        if found["further_lots"]:
            held = counted(found["further_credits"], "credit")
            print_line(f"{counted(found['further_lots'], 'more lot')} with {held}, spent later")

    run_async(show())


@app.command
def ledger(
    *,
    account: Account = "default",
    limit: Limit = 50,
    offset: Annotated[Whole, Parameter(help="Skip this many of the newest.")] = 0,
    json: Json = False,
) -> None:
    """Show an account's ledger, the newest entries first."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table
    from rushes.domain.errors import InputError

    if not 0 <= offset <= OFFSET_MAX:
        raise InputError(f"must be 0 to {OFFSET_MAX}", field="offset")

    async def show() -> None:
        async with opened() as rushes:
            entries = await rushes.ledger(account, limit=limit, offset=offset)
            newest = await rushes.ledger(account, limit=1)
        if json:
            # entries are numbered without gaps, so the newest number is their count
            total = newest[0]["id"] if newest else 0
            print_json({"ok": True, "entries": entries, "total": total, "limit": limit, "offset": offset})
            return
        columns = ("id", "type", "delta", "balance_after", "batch_id", "item_id", "description", "created_at")
        rows = [[entry[column] for column in columns] for entry in entries]
        print_table(columns, rows, right="id delta balance_after")

    run_async(show())


def _epoch_ms(expires: datetime | timedelta, now: datetime) -> int:
    from rushes.domain.errors import InputError

    try:
        moment = now + expires if isinstance(expires, timedelta) else expires
        return int(moment.timestamp() * 1000)
    except OverflowError:
        raise InputError("too far away", field="expires") from None
