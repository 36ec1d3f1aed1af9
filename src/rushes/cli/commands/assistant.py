"""`rushes mcp`: tools for an AI assistant, over standard input and output (Model Context Protocol)."""

import contextlib
import functools
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec

from cyclopts import Parameter
from cyclopts.validators import Number

from rushes.cli.options import LogLevel, Whole
from rushes.domain.notation import counted

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from rushes.library import Rushes

P = ParamSpec("P")

INSTRUCTIONS: Final = (
    "Batches of AI videos, paid with prepaid credits. Ask `quote` before `create`, and tell the user the"
    " price. A video takes minutes: ask `status` again every half minute or so. `download` once it is done."
)
LIST_MAX: Final = 100
ITEMS_MAX: Final = 200

Item = dict[str, Any] | str


def mcp(
    *,
    credits_max: Annotated[
        Whole | None,
        Parameter(
            validator=Number(gte=1),
            help="Let the assistant create batches, for this many credits in all until it ends.",
        ),
    ] = None,
    out: Annotated[Path | None, Parameter(help="Let it download videos, into this folder only.")] = None,
    account: Annotated[str, Parameter(help="Whose batches it sees and whose credits it spends.")] = "default",
    log_level: Annotated[LogLevel, Parameter(help="Log lines from this level on, on stderr.")] = "warning",
) -> None:
    """Give an AI assistant tools for batches, over standard input and output (MCP).

    It can quote, list and look. Only with --credits-max can it create batches, and only with --out can it
    download. Batches that it creates are run by this process, and by any `rushes worker` beside it.

    Needs the extra `mcp`. Start it from the assistant's configuration, for example with the command
    `rushes` and the arguments `mcp --credits-max 200 --out videos`.
    """
    from rushes.cli.session import opened, run_async
    from rushes.domain.errors import SettingsError

    try:
        import mcp.server  # noqa: F401
    except ModuleNotFoundError:
        raise SettingsError("the package mcp is missing: pip install 'rushes[mcp]'") from None

    async def run() -> None:
        async with opened(creates=True, log_level=log_level) as rushes:
            allowance = Allowance(credits_max or 0)
            server = build_server(rushes, account=account, allowance=allowance, folder=out)
            async with _worker_beside(rushes) if credits_max else contextlib.nullcontext():
                await server.run_stdio_async()

    run_async(run())


@contextlib.asynccontextmanager
async def _worker_beside(rushes: "Rushes") -> AsyncIterator[None]:
    """A worker for as long as the assistant is connected. Raises `SettingsError` without a provider's key."""
    import asyncio

    stop = asyncio.Event()
    working = asyncio.create_task(rushes.worker_process().run(stop))
    try:
        yield
    finally:
        stop.set()
        await working


class Allowance:
    """How many credits the assistant may still reserve, and the batches that it has made, by request id."""

    def __init__(self, credits: int) -> None:
        import asyncio

        self.left = credits
        self.batch_of_request: dict[str, str] = {}
        self.lock = asyncio.Lock()
        """Held while a batch is made: two at once must not both take what is left."""


def build_server(
    rushes: "Rushes", *, account: str, allowance: Allowance, folder: Path | None
) -> "MCPServer[Any]":
    """The tools over an open `Rushes`; those that spend or write are there only when they are allowed."""
    from mcp.server import MCPServer
    from mcp.types import ToolAnnotations

    from rushes import __version__

    tools = AssistantTools(rushes, account, allowance, folder)
    server: MCPServer[Any] = MCPServer(
        "rushes", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR"
    )
    looking = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (tools.models, tools.quote, tools.balance, tools.list_batches, tools.status):
        server.add_tool(_answering(tool), annotations=looking)
    if allowance.left:
        spending = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)
        server.add_tool(_answering(tools.create), annotations=spending)
    if folder is not None:
        writing = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)
        server.add_tool(_answering(tools.download), annotations=writing)
    return server


def _answering(tool: Callable[P, Awaitable[dict[str, Any]]]) -> Callable[P, Awaitable[dict[str, Any]]]:
    """The tool with its refusals as the protocol's tool errors: their sentence, never a traceback."""
    from mcp.server.mcpserver.exceptions import ToolError

    from rushes.domain.errors import RushesError

    @functools.wraps(tool)
    async def answer(*arguments: P.args, **named: P.kwargs) -> dict[str, Any]:
        try:
            return await tool(*arguments, **named)
        except RushesError as error:
            raise ToolError(f"{error.code}: {error.message}") from None

    return answer


class AssistantTools:
    """What the assistant can do. Each method is a tool: its name, its parameters and its text are shown."""

    def __init__(self, rushes: "Rushes", account: str, allowance: Allowance, folder: Path | None) -> None:
        self._rushes, self._account = rushes, account
        self._allowance, self._folder = allowance, folder
        self._session = secrets.token_hex(8)

    async def models(self) -> dict[str, Any]:
        """The models that can be used now, each with its price in credits for a typical video."""
        catalogue = self._rushes.catalogue
        return {
            "models": [
                {"name": model.name, "provider": model.provider, "typical_credits": model.typical_credits}
                for model in catalogue
                if model.unavailable is None
            ],
            "default": catalogue.default_model,
        }

    async def quote(self, items: list[Item], model: str | None = None) -> dict[str, Any]:
        """What a batch would cost in credits, and how long it takes; nothing is bought.

        items: prompts, or objects such as {"prompt": "a paper boat", "duration": 5}.
        """
        from rushes.cli.given_items import price_drafts
        from rushes.read.quotes import operator_quote
        from rushes.wiring import provider_paces

        drafts = price_drafts(self._rushes.drafts(items, model=model), self._rushes.settings)
        return operator_quote(drafts, provider_paces(self._rushes.settings)) | {
            "allowance_left": self._allowance.left
        }

    async def balance(self) -> dict[str, Any]:
        """The account's credits, and how many of them you may still spend."""
        return await self._rushes.balance(self._account) | {"allowance_left": self._allowance.left}

    async def create(
        self, items: list[Item], model: str | None = None, request_id: str | None = None
    ) -> dict[str, Any]:
        """Buy a batch of videos: its credits are reserved at once, and what fails is given back.

        items: as for `quote`. request_id: the same one makes no second batch; without it, the same items
        asked for twice in one session are one batch.
        """
        from rushes.cli.given_items import price_drafts
        from rushes.domain.errors import InputError

        drafts = self._rushes.drafts(items, model=model)
        cost = sum(one.credits for one in price_drafts(drafts, self._rushes.settings))
        request_id = request_id or _fingerprint(self._session, items, model)
        allowance = self._allowance
        async with allowance.lock:
            made = allowance.batch_of_request.get(request_id)
            if made is not None:
                return await self._own(made) | {"idempotent_replay": True, "allowance_left": allowance.left}
            if cost > allowance.left:
                price = counted(cost, "credit")
                raise InputError(
                    f"this batch costs {price}, and {allowance.left} are left of what the user allowed"
                )
            batch = await self._rushes.create_batch(drafts, account=self._account, request_id=request_id)
            allowance.batch_of_request[request_id] = batch["batch_id"]
            if not batch["idempotent_replay"]:
                allowance.left -= batch["credits_reserved"]
        return batch | {"allowance_left": allowance.left}

    async def list_batches(self, limit: int = 20) -> dict[str, Any]:
        """The account's batches, newest first."""
        found = await self._rushes.list_batches(limit=min(max(limit, 1), LIST_MAX), account=self._account)
        return {"batches": found}

    async def status(self, batch_id: str, failed_only: bool = False) -> dict[str, Any]:
        """One batch: counts, credits, time left, stored files, and its items with status or error.

        `download` brings what is stored; files that are due are still being fetched.
        """
        batch = await self._own(batch_id)
        status = "failed" if failed_only else None
        items = await self._rushes.items(batch_id, status=status, limit=ITEMS_MAX)
        shown = ("index", "status", "progress", "prompt", "model", "video_url", "error", "failure_type")
        files = await self._rushes.batch_files(batch_id)
        return {
            "batch": batch,
            "files": files,
            "items": [{name: item[name] for name in shown} for item in items],
        }

    async def download(self, batch_id: str) -> dict[str, Any]:
        """Copy the batch's finished videos into the user's folder; complete files are kept."""
        assert self._folder is not None
        await self._own(batch_id)
        return dict(await self._rushes.download(batch_id, self._folder))

    async def _own(self, batch_id: str) -> dict[str, Any]:
        from rushes.domain.errors import NotFound

        batch = await self._rushes.batch(batch_id)
        if batch["account"] != self._account:
            raise NotFound(f"there is no batch {batch_id}")
        return batch


def _fingerprint(session: str, items: list[Item], model: str | None) -> str:
    """A request id for these items in this session."""
    text = json.dumps([session, items, model], sort_keys=True, ensure_ascii=False)
    return f"mcp-{sha256(text.encode()).hexdigest()[:32]}"
