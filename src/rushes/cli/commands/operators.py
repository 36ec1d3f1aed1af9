"""`rushes operators`: who runs the installation, and what they did."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from rushes.cli.options import Json, Limit

app = App(name="operators", help="Make, list and revoke operators of the dashboard; show what they did.")

OperatorName = Annotated[str, Parameter(help="The name to sign in with.")]


@app.command
def create(
    name: OperatorName,
    /,
    *,
    role: Annotated[
        Literal["viewer", "operator", "owner"],
        Parameter(help="viewer: sees; operator: also makes, cancels, retries; owner: also grants credits."),
    ] = "operator",
    json: Json = False,
) -> None:
    """Make an operator and print their secret: shown only once.

    From the first operator on one signs in to the dashboard by name; RUSHES_DASHBOARD_SECRET alone no longer
    does. An operator who has lost their secret is revoked and made again.
    """
    import secrets

    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line, say
    from rushes.domain.operators import Role
    from rushes.domain.secrets import SECRET_RANDOM_BYTES, secret_from

    secret = secret_from(secrets.token_bytes(SECRET_RANDOM_BYTES))

    async def make() -> None:
        async with opened(creates=True) as rushes:
            await rushes.create_operator(name, Role(role), secret=secret)
        if json:
            print_json({"ok": True, "name": name, "role": role, "secret": secret})
        else:
            print_line(secret)
            say(f"rushes: {name} is {role}; keep the secret, it is not stored and not shown again")

    run_async(make())


@app.command(name="list")
def list_them(*, json: Json = False) -> None:
    """List operators, with their roles and when they were last seen."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table

    async def show() -> None:
        async with opened() as rushes:
            found = await rushes.operators()
        if json:
            print_json({"ok": True, "operators": found})
            return
        columns = ("name", "role", "sessions", "seen_at", "created_at", "revoked_at")
        print_table(columns, [[one[column] for column in columns] for one in found], right="sessions")

    run_async(show())


@app.command
def revoke(name: OperatorName, /, *, json: Json = False) -> None:
    """End an operator's access; their sessions end at once, in every browser and process."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def end() -> None:
        async with opened() as rushes:
            await rushes.revoke_operator(name)
        if json:
            print_json({"ok": True, "name": name, "revoked": True})
        else:
            print_line(f"operator {name} is revoked")

    run_async(end())


@app.command
def log(*, limit: Limit = 100, json: Json = False) -> None:
    """Show the log of actions, the newest first: grants, keys, caps, cancels, retries, prunes, sign-ins.

    Each act's own transaction writes it, wherever it was done, and the database refuses to change it.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_table

    async def show() -> None:
        async with opened() as rushes:
            found = await rushes.actions(limit=limit)
        if json:
            print_json({"ok": True, "actions": found})
            return
        columns = ("at", "operator", "place", "action", "subject", "before", "after")
        print_table(columns, [[str(row[column] or "") for column in columns] for row in found])

    run_async(show())
