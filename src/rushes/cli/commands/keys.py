"""`rushes keys`: create, list, revoke."""

from typing import Annotated

from cyclopts import App, Parameter

from rushes.cli.options import Account, Json, Limit, Whole

app = App(name="keys", help="Make, list and revoke the API keys of accounts; make secrets.")


@app.command
def secret(*, json: Json = False) -> None:
    """Print a new random secret, for RUSHES_WEBHOOK_SECRET and others; it is not stored."""
    import secrets

    from rushes.domain.secrets import SECRET_RANDOM_BYTES, secret_from

    _print_secret(secret_from(secrets.token_bytes(SECRET_RANDOM_BYTES)), as_json=json)


@app.command
def judge(*, json: Json = False) -> None:
    """Print the secret that questions to RUSHES_JUDGE_URL are signed with (Standard Webhooks)."""
    from rushes.settings import Settings
    from rushes.wiring import judge_secret

    _print_secret(judge_secret(Settings.load()), as_json=json)


def _print_secret(text: str, *, as_json: bool) -> None:
    from rushes.cli.show import print_json, print_line

    if as_json:
        print_json({"ok": True, "secret": text})
    else:
        print_line(text)


@app.command
def create(
    *,
    account: Account = "default",
    name: Annotated[str, Parameter(help="What the key is for; shown in lists.")] = "",
    rate_limit_per_min: Annotated[Whole, Parameter(help="Requests a minute; 0 for no limit.")] = 600,
    json: Json = False,
) -> None:
    """Make a key and print it: shown only once. A new account is made."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, say
    from rushes.domain.errors import InputError
    from rushes.service import create_key
    from rushes.store.keys import RATE_LIMIT_PER_MIN_MAX

    if not 0 <= rate_limit_per_min <= RATE_LIMIT_PER_MIN_MAX:
        raise InputError(f"must be 0, for no limit, to {RATE_LIMIT_PER_MIN_MAX}", field="rate_limit_per_min")

    async def make() -> None:
        async with opened(creates=True) as rushes:
            made = await create_key(
                rushes,
                account=account,
                name=name,
                rate_limit_per_min=rate_limit_per_min or None,
            )
        if json:
            print_json({"ok": True, **made})
        else:
            print_line(made["key"])
            say(f"rushes: key {made['key_id']} of {account}; keep it, it is not stored and not shown again")

    run_async(make())


@app.command(name="list")
def list_them(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    limit: Limit = 1000,
    json: Json = False,
) -> None:
    """List keys, valid ones first, then the newest; the keys themselves are not stored."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table
    from rushes.service import list_keys

    async def show() -> None:
        async with opened() as rushes:
            found = await list_keys(rushes, account=account, limit=limit)
        if json:
            print_json({"ok": True, "keys": found})
            return
        columns = ("key_id", "account", "name", "shown", "rate_limit_per_min", "created_at", "revoked_at")
        rows = [[key[column] for column in columns] for key in found]
        print_table(columns, rows, right="key_id rate_limit_per_min")

    run_async(show())


@app.command
def revoke(
    key_id: Annotated[Whole, Parameter(help="The key's number, from `rushes keys list`.")],
    /,
    *,
    json: Json = False,
) -> None:
    """Revoke a key permanently; running services refuse it within two seconds."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line
    from rushes.domain.errors import NotFound
    from rushes.service import revoke_key

    if not 0 < key_id < 2**63:
        raise NotFound(f"there is no key {key_id}; see `rushes keys list`")

    async def end() -> None:
        async with opened() as rushes:
            await revoke_key(rushes, key_id)
        if json:
            print_json({"ok": True, "key_id": key_id, "revoked": True})
        else:
            print_line(f"key {key_id} is revoked")

    run_async(end())
