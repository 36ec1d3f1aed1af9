"""The portal as one ASGI application, for `rushes.service` to mount: reading only, behind a signed cookie."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from rushes.dashboard.browsers import (
    GZIP_BYTES_MIN,
    GZIP_LEVEL,
    SIGN_IN_BYTES_MAX,
    STYLES,
    asset_answer,
    first_of,
    form_fields,
    is_own,
    keep_cookie,
)
from rushes.dashboard.gate import local_page
from rushes.dashboard.look import keep_look, look_of
from rushes.dashboard.markup import Markup
from rushes.dashboard.pages.batch.waits import waits_for
from rushes.dashboard.pieces import url
from rushes.dashboard.portal import pages
from rushes.dashboard.portal.tickets import TICKET_SECONDS, Tickets
from rushes.dashboard.words import speaking, tr
from rushes.domain.brake import SLOW_SECONDS, Brake
from rushes.domain.catalogue.catalogue import Catalogue
from rushes.domain.errors import NotFound, StoreError
from rushes.domain.notation import iso_time
from rushes.files.links import FileLinks
from rushes.read import batches
from rushes.read.deliveries import delivery_page
from rushes.read.forecasts import Forecaster
from rushes.read.items import ItemFilter, item_page
from rushes.read.ledger import LedgerFilter, balance, ledger_page
from rushes.read.scope import Scope
from rushes.read.tenant.usage import DAY_MS, usage
from rushes.store import keys
from rushes.store.database import Database
from rushes.store.keys import KeyOwner
from rushes.store.webhooks import endpoints

COOKIE: Final = "rushes_portal"
ROWS: Final = 50
OFFSET_MAX: Final = 1_000_000
USAGE_DAYS: Final = 30

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline';"
    " img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalParts:
    """What the pages work with. `secret` signs the cookies; `base_url` is the service's public URL."""

    secret: bytes
    database: Database
    now_ms: Callable[[], int]
    catalogue: Catalogue
    forecaster: Forecaster
    links: FileLinks
    base_url: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request by somebody who is signed in."""

    request: Request
    owner: KeyOwner
    root: str

    @property
    def offset(self) -> int:
        """How many rows to leave out; 0 for what is no number."""
        text = self.request.query_params.get("offset", "")
        is_number = text.isascii() and text.isdecimal() and len(text) <= 7
        return min(int(text), OFFSET_MAX) if is_number else 0


Show: TypeAlias = Callable[[Asked], Awaitable[tuple[str, Markup]]]


class Portal:
    """The pages; nothing is kept between requests."""

    def __init__(self, parts: PortalParts) -> None:
        self._parts = parts
        self._tickets = Tickets(parts.secret, parts.database)
        self._brake = Brake()
        shows: dict[str, Show] = {
            "/": self._overview,
            "/batches": self._batches,
            "/batches/{batch_id}": self._batch,
            "/ledger": self._ledger,
            "/usage": self._usage,
            "/keys": self._keys,
            "/webhooks": self._webhooks,
        }
        self.app = Starlette(
            routes=[
                Route("/assets/{name}", _asset),
                Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
                Route("/sign-out", self._sign_out, methods=["POST"]),
                Route("/look", self._keep_look, methods=["POST"]),
                *(Route(path, self._page(show)) for path, show in shows.items()),
            ],
            middleware=[Middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL)],
        )

    def _page(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            root: str = request.scope.get("root_path", "")
            look = look_of(request)
            try:
                ticket = request.cookies.get(COOKIE, "")
                owner = await self._tickets.owner_of(ticket, now_ms=self._parts.now_ms())
                if owner is None:
                    return RedirectResponse(f"{root}/sign-in", 303, headers=HEADERS)
                with speaking(look.language):
                    title, content = await show(Asked(request, owner, root))
            except NotFound:
                return PlainTextResponse("there is no such page", 404, headers=HEADERS)
            except StoreError:
                return _away()
            path = request.url.path.removeprefix(root)
            with speaking(look.language):
                html = pages.framed(root, title, content, look=look, account=owner.account, path=path)
            return HTMLResponse(html, headers=HEADERS)

        return endpoint

    # --- signing in and out -----------------------------------------------------------------------------

    async def _sign_in(self, request: Request) -> Response:
        root: str = request.scope.get("root_path", "")
        look = look_of(request)
        if request.method != "POST":
            return HTMLResponse(pages.sign_in_form(root, look=look), headers=HEADERS)
        if not is_own(request.headers, self._parts.base_url):
            return _foreign()
        try:
            key = first_of(await form_fields(request, bytes_max=SIGN_IN_BYTES_MAX), "key").strip()
            ticket = await self._tickets.for_key(key, now_ms=self._parts.now_ms())
        except StoreError:
            return _away()
        address = request.client.host if request.client else ""
        now = asyncio.get_running_loop().time()
        if ticket is None:
            if self._brake.failed(address, now) > 0:
                await asyncio.sleep(SLOW_SECONDS)
            form = pages.sign_in_form(root, look=look, is_wrong=True)
            return HTMLResponse(form, 403, headers=HEADERS)
        self._brake.succeeded(address)
        answer = RedirectResponse(f"{root}/", 303, headers=HEADERS)
        keep_cookie(
            answer, COOKIE, ticket, seconds=TICKET_SECONDS, request=request, base_url=self._parts.base_url
        )
        return answer

    async def _sign_out(self, request: Request) -> Response:
        if not is_own(request.headers, self._parts.base_url):
            return _foreign()
        root: str = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}/sign-in", 303, headers=HEADERS)
        answer.delete_cookie(COOKIE, path=root or "/")
        return answer

    async def _keep_look(self, request: Request) -> Response:
        """The language and the theme, in the browser's cookies."""
        if not is_own(request.headers, self._parts.base_url):
            return _foreign()
        fields = await form_fields(request, bytes_max=SIGN_IN_BYTES_MAX)
        root: str = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}{local_page(first_of(fields, 'back'))}", 303, headers=HEADERS)
        keep_look(
            answer,
            request,
            theme=first_of(fields, "theme"),
            language=first_of(fields, "language"),
            base_url=self._parts.base_url,
        )
        return answer

    # --- pages ------------------------------------------------------------------------------------------

    async def _overview(self, asked: Asked) -> tuple[str, Markup]:
        parts = self._parts
        its_balance = await parts.database.read(balance, asked.owner.account, now_ms=parts.now_ms())
        newest, _ = await self._newest(asked, after=None, limit=10)
        return tr("Overview"), pages.overview(asked.root, its_balance, newest)

    async def _newest(
        self, asked: Asked, *, after: str | None, limit: int
    ) -> tuple[list[dict[str, object]], bool]:
        parts = self._parts
        return await parts.database.read(
            batches.batch_page,
            Scope(asked.owner.account_id),
            limit=limit,
            after=after,
            forecaster=parts.forecaster,
            now_ms=parts.now_ms(),
        )

    async def _batches(self, asked: Asked) -> tuple[str, Markup]:
        after = asked.request.query_params.get("after") or None
        found, has_more = await self._newest(
            asked, after=None if after is None else _id_of(after), limit=ROWS
        )
        following = str(found[-1]["batch_id"]) if has_more else None
        return tr("Batches"), pages.batch_list(asked.root, found, following=following)

    async def _batch(self, asked: Asked) -> tuple[str, Markup]:
        parts, scope = self._parts, Scope(asked.owner.account_id)
        batch_id = _id_of(asked.request.path_params["batch_id"])
        batch, eta = await parts.database.read(
            batches.batch_and_eta, scope, batch_id, forecaster=parts.forecaster, now_ms=parts.now_ms()
        )
        items, total = await parts.database.read(
            item_page,
            scope,
            batch_id,
            ItemFilter(),
            limit=ROWS,
            offset=asked.offset,
            catalogue=parts.catalogue,
            links=parts.links,
            now_ms=parts.now_ms(),
        )
        more = self._more(asked, total)
        shown = pages.batch_page(batch, items, waits=waits_for(eta.waits), more=more)
        return batch["name"] or batch_id, shown

    async def _ledger(self, asked: Asked) -> tuple[str, Markup]:
        entries, total = await self._parts.database.read(
            ledger_page, Scope(asked.owner.account_id), LedgerFilter(), limit=ROWS, offset=asked.offset
        )
        return tr("Ledger"), pages.ledger(asked.root, entries, more=self._more(asked, total))

    async def _usage(self, asked: Asked) -> tuple[str, Markup]:
        now_ms = self._parts.now_ms()
        found = await self._parts.database.read(
            usage,
            asked.owner.account_id,
            groups=("day", "model"),
            from_ms=now_ms - USAGE_DAYS * DAY_MS,
            to_ms=now_ms + 1,
        )
        return tr("Usage"), pages.usage(found)

    async def _keys(self, asked: Asked) -> tuple[str, Markup]:
        """The account's keys, for those that may list them over the API too."""
        if not asked.owner.may("admin"):
            return tr("Keys"), pages.no_keys(asked.owner.scope)
        rows = await self._parts.database.read(keys.of_account, asked.owner.account_id)
        shown = [row | {"last_used_at": iso_time(row["last_used_at_ms"])} for row in rows]
        return tr("Keys"), pages.key_list(shown, own=asked.owner.key_id)

    async def _webhooks(self, asked: Asked) -> tuple[str, Markup]:
        account_id = asked.owner.account_id
        its_endpoints = await self._parts.database.read(endpoints.of_account, account_id)
        sent, _ = await self._parts.database.read(
            delivery_page, Scope(account_id), status=None, limit=ROWS, after=None
        )
        return tr("Webhooks"), pages.webhooks(its_endpoints, sent)

    @staticmethod
    def _more(asked: Asked, total: int) -> str | None:
        following = asked.offset + ROWS
        return url(str(asked.request.url.path), offset=following) if following < total else None


def _id_of(text: str) -> str:
    """The text, if it can be a batch's id. Raises `NotFound`: PostgreSQL takes no NUL, not even to look."""
    if not text.isascii() or not text.isprintable():
        raise NotFound("there is no such batch")
    return text


async def _asset(request: Request) -> Response:
    return asset_answer(request.path_params["name"], request.headers, (STYLES,))


def _away() -> Response:
    headers = {**HEADERS, "retry-after": "5"}
    return PlainTextResponse("The database cannot be reached; try again in a moment.", 503, headers=headers)


def _foreign() -> Response:
    return PlainTextResponse("this request came from another site's page", 403, headers=HEADERS)
