"""`rushes caps`: what may be spent in a day."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.options import Json, Whole

app = App(name="caps", help="Cap what is spent in a day, in credits and in what providers charge.")

Scope = Annotated[
    Literal["all", "account", "key", "model"], Parameter(help="For everything, or for one of these.")
]
Subject = Annotated[
    str, Parameter(help="The account's name, the key's id or the model's name; nothing for all.")
]


@app.command(name="set")
def set_(
    scope: Scope,
    subject: Subject = "",
    /,
    *,
    credits: Annotated[Whole | None, Parameter(help="Credits that may be spent in a day.")] = None,
    cost: Annotated[
        list[str] | None,
        Parameter(negative=(), help='What providers may charge in a day, such as "50 USD"; may be repeated.'),
    ] = None,
    json: Json = False,
) -> None:
    """Set caps, effective at once. A day starts at midnight, UTC; refunds do not count as spent."""
    from rushes.cli.session import opened, run_async
    from rushes.domain.credits import CREDITS_MAX
    from rushes.domain.errors import InputError
    from rushes.domain.margin import read_money
    from rushes.settings import Settings
    from rushes.store.caps import CREDITS, DayCap

    _check(scope, subject)
    if scope == "model":
        Settings.load().catalogue().get(subject)  # a cap on a misspelt name would hold nothing back
    found: list[DayCap] = []
    if credits is not None:
        if not 0 <= credits <= CREDITS_MAX:
            raise InputError(f"must be 0 to {CREDITS_MAX} credits, not {credits}", field="--credits")
        found.append(DayCap(scope, subject, CREDITS, credits))
    for text in cost or []:
        try:
            money = read_money(text)
        except ValueError as error:
            raise InputError(str(error), field="--cost") from None
        found.append(DayCap(scope, subject, money.currency, money.micros))
    if not found:
        raise InputError("give --credits or --cost")

    async def set_all() -> None:
        async with opened(creates=True) as rushes:
            for cap in found:
                await rushes.set_day_cap(cap)
            _print(await rushes.day_caps(), as_json=json)

    run_async(set_all())


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the caps, what was spent of them today, what is left, and when they renew."""
    from rushes.cli.session import opened, run_async

    async def show() -> None:
        async with opened() as rushes:
            _print(await rushes.day_caps(), as_json=json)

    run_async(show())


@app.command
def remove(scope: Scope, subject: Subject = "", /, *, json: Json = False) -> None:
    """Remove the caps of an account, a key, a model or everything."""
    from rushes.cli.session import opened, run_async
    from rushes.domain.errors import NotFound

    _check(scope, subject)

    async def remove_all() -> None:
        async with opened() as rushes:
            if not await rushes.remove_day_caps(scope, subject):
                raise NotFound(f"there is no cap for {scope} {subject}".rstrip())
            _print(await rushes.day_caps(), as_json=json)

    run_async(remove_all())


def _check(scope: str, subject: str) -> None:
    from rushes.domain.errors import InputError

    if (scope == "all") != (subject == ""):
        raise InputError("all takes no name" if subject else f"name the {scope}", field="subject")


def _print(found: list[dict[str, str | None]], *, as_json: bool) -> None:
    from rushes.cli.show import print_json, print_table

    if as_json:
        print_json({"ok": True, "caps": found})
        return
    columns = ("scope", "subject", "unit", "cap", "spent", "left", "renews_at")
    rows = [[one[name] for name in columns] for one in found]
    print_table((*columns[:-1], "renews"), rows, right="cap spent left")
