"""`rushes providers`: which ones there are, and which are sent nothing for now."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from rushes.cli.options import Json

app = App(name="providers", help="List providers, pause one and resume it.")

ProviderName = Annotated[str, Parameter(help="The provider, as in `rushes providers list`.")]


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the providers of the catalogue, how many models each has, and who paused one, when and why."""
    from rushes.cli.session import opened, run_async

    async def show() -> None:
        async with opened() as rushes:
            _print(await rushes.providers(), as_json=json)

    run_async(show())


@app.command
def pause(
    name: ProviderName,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; operators and the log of actions see it.")],
    json: Json = False,
) -> None:
    """Send a provider nothing new: every worker of the database heeds it at once.

    What it has is polled to its end and settled. What waits stays reserved, or goes on under an alias.
    """
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def act() -> None:
        async with opened() as rushes:
            changed = await rushes.pause_provider(name, reason=reason)
        if json:
            print_json({"ok": True, "provider": name, "paused": True, "changed": changed})
        else:
            print_line(f"{name} is paused" if changed else f"{name} was paused already")

    run_async(act())


@app.command
def resume(name: ProviderName, /, *, json: Json = False) -> None:
    """Send a paused provider tasks again."""
    from rushes.cli.session import opened, run_async
    from rushes.cli.show import print_json, print_line

    async def act() -> None:
        async with opened() as rushes:
            changed = await rushes.resume_provider(name)
        if json:
            print_json({"ok": True, "provider": name, "paused": False, "changed": changed})
        else:
            print_line(f"{name} is resumed" if changed else f"{name} was not paused")

    run_async(act())


def _print(found: list[dict[str, Any]], *, as_json: bool) -> None:
    from rushes.cli.show import print_json, print_table

    if as_json:
        print_json({"ok": True, "providers": found})
        return
    columns = ("provider", "models", "paused", "by", "since", "reason")
    print_table(columns, [[one[name] for name in columns] for one in found], right="models")
