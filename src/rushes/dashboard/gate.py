"""In front of every page: nobody passes without a session, and no other site's page acts in its name.

The gate is ASGI around all of /dashboard, the streams of changes included, so no page can forget to ask.
"""

import asyncio
import math
import re
from functools import partial
from typing import Final
from urllib.parse import quote, unquote, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rushes import telemetry
from rushes.dashboard.browsers import (
    SCRIPT,
    SIGN_IN_BYTES_MAX,
    STYLES,
    asset_answer,
    first_of,
    form_fields,
    is_own,
    keep_cookie,
)
from rushes.dashboard.look import look_of
from rushes.dashboard.pages.sign_in import sign_in_page
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import SESSION_SECONDS, Session, Sessions
from rushes.domain.brake import SLOW_SECONDS, Brake
from rushes.domain.errors import StoreError

COOKIE: Final = "rushes_session"
ASSETS: Final = "/assets/"
"""Where the files of pages are, which are nobody's secret: no session is looked up for them."""

AWAY: Final = "The database cannot be reached. Nothing was done; try again in a moment."
WANTED_CHARACTERS_MAX: Final = 1000
"""The longest address that signing in leads on to."""

REFUSALS_LOGGED_MAX: Final = 20
"""Refused sign-ins of a minute, over all addresses, that go into the log of actions: it is never shortened,
and whoever guesses must not fill the disk."""

_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~-._"
_LOCAL: Final = re.compile(r"/[A-Za-z0-9%/:@!$&'()*+,;=~._?-]*")

_HEADERS: Final = {
    # videos are where the provider keeps them; the width of a bar is an attribute of its element
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self';"
    " style-src-attr 'unsafe-inline'; img-src 'self' data: http: https:; media-src 'self' http: https:;"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}

EVENTS: Final = "text/event-stream"
"""What a page accepts that asks to be kept up to date."""

FROM_SCRIPT: Final = "x-rushes-script"
"""The header by which our own script asks; other sites' pages cannot set it."""


log = telemetry.logger()


class Route:
    """What metrics call everything behind the gate: its paths hold batch ids."""

    path = "/dashboard"


class Gate:
    """Lets those with a session through to `pages`; signs in and out by itself."""

    def __init__(self, pages: ASGIApp, parts: DashboardParts) -> None:
        self._pages = pages
        self._parts = parts
        self._sessions = Sessions(parts.database, parts.secret)
        self._brake = Brake()
        self._logged = Brake(in_all_max=REFUSALS_LOGGED_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = Route
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        root: str = scope.get("root_path", "")
        path = scope["path"].removeprefix(root) or "/"
        headers = Headers(scope=scope)
        if scope["method"] in ("GET", "HEAD") and path.startswith(ASSETS):
            file = asset_answer(path.removeprefix(ASSETS), headers, (STYLES, SCRIPT))
            file.headers.update(_HEADERS)
            await file(scope, receive, send)
            return
        try:
            session = await self.session_of(headers, is_use=headers.get("accept") != EVENTS)
            answer = await self._answer(scope, receive, path, headers, session)
        except StoreError as error:
            log.error(telemetry.DATABASE_TROUBLE, error=str(error))
            answer = PlainTextResponse(AWAY, 503, headers={"retry-after": "5"})
        if answer is not None:
            answer.headers.update(_HEADERS)
            await answer(scope, receive, send)
            return

        async def session_now() -> Session | None:
            return await self.session_of(headers, is_use=False)

        # a copy: what the pages' own router writes into it is not for the metrics
        theirs = {**scope, "rushes_session": session, "rushes_session_now": session_now}
        await self._pages(theirs, receive, _guarded(send))

    async def session_of(self, headers: Headers, *, is_use: bool) -> Session | None:
        """Who sent a request with these headers, if somebody who is signed in. The one place that asks.

        What an open page asks for by itself is no use: it keeps no session from being idle.
        """
        token = _token_of(headers)
        return await self._sessions.session_of(token, is_use=is_use, now_ms=self._parts.now_ms())

    async def _answer(
        self, scope: Scope, receive: Receive, path: str, headers: Headers, session: Session | None
    ) -> Response | None:
        """The gate's own answer; None for what goes on to the pages."""
        root: str = scope.get("root_path", "")
        if scope["method"] not in ("GET", "HEAD") and not is_own(headers, self._parts.base_url):
            return PlainTextResponse("this request came from another site's page", 403)
        match path.rstrip("/"):
            case "/sign-in":
                request = Request(scope, receive)
                wanted = local_page(request.query_params.get("next", ""))
                return await self._sign_in(request, root, wanted, is_signed_in=session is not None)
            case "/sign-out" if scope["method"] == "POST":
                if (token := _token_of(headers)) is not None:
                    await self._sessions.sign_out(token)
                answer = RedirectResponse(f"{root}/sign-in", 303)
                answer.delete_cookie(COOKIE, path=root or "/")
                return answer
        if session is not None:
            return None
        if FROM_SCRIPT in headers:
            return PlainTextResponse("sign in first", 401)
        return RedirectResponse(sign_in_url(root, _wanted_page(scope, path)), 303)

    async def _sign_in(self, request: Request, root: str, wanted: str, *, is_signed_in: bool) -> Response:
        """`wanted` is the page, below `root`, to go on to."""
        look = look_of(request)
        form = partial(
            sign_in_page,
            root,
            action=sign_in_url(root, wanted),
            look=look,
            asks_name=await self._sessions.take_names(),
        )
        if request.method != "POST":
            if is_signed_in:
                return RedirectResponse(root + wanted, 303)
            return HTMLResponse(form())
        address = request.client.host if request.client else ""
        now = asyncio.get_running_loop().time()
        fields = await form_fields(request, bytes_max=SIGN_IN_BYTES_MAX)
        name, secret = first_of(fields, "name").strip(), first_of(fields, "secret")
        token = self._parts.new_nonce()
        opened = await self._sessions.sign_in(
            name,
            secret,
            token=token,
            place=address,
            logs_refusal=self._logged.wait_seconds(address, now) == 0,
            now_ms=self._parts.now_ms(),
        )
        if opened is None:
            self._logged.failed(address, now)
            wait_seconds = self._brake.failed(address, now)
            if wait_seconds > 0:
                # the right one is always taken: nobody can lock others out
                await asyncio.sleep(SLOW_SECONDS)
                headers = {"retry-after": str(math.ceil(wait_seconds))}
                return HTMLResponse(form(is_wrong=True, is_slow=True), 429, headers=headers)
            return HTMLResponse(form(is_wrong=True), 403)
        self._brake.succeeded(address)
        answer = RedirectResponse(root + wanted, 303)
        keep_cookie(
            answer, COOKIE, token, seconds=SESSION_SECONDS, request=request, base_url=self._parts.base_url
        )
        return answer


def sign_in_url(root: str, wanted: str) -> str:
    """Where one signs in, and is then led on to the page `wanted` below `root`."""
    return f"{root}/sign-in" if wanted == "/" else f"{root}/sign-in?{urlencode({'next': wanted})}"


def local_page(text: str) -> str:
    """The path below the dashboard, with its query, that this text is; `/` for whatever else it may be.

    Nothing that a browser could take for another host, or that leads out of the dashboard, is let through.
    """
    path = unquote(text.partition("?")[0])
    if (
        len(text) > WANTED_CHARACTERS_MAX
        or not _LOCAL.fullmatch(text)
        or "//" in path
        or "\\" in path
        or not path.isprintable()
        or any(part in (".", "..") for part in path.split("/"))
    ):
        return "/"
    return text


def _wanted_page(scope: Scope, path: str) -> str:
    """What was asked for, as `local_page` has it; `/` for what is no page."""
    if scope["method"] != "GET":
        return "/"
    query = scope.get("query_string", b"").decode("latin-1")
    return local_page(quote(path, safe=_PATH_CHARACTERS) + (f"?{query}" if query else ""))


def _token_of(headers: Headers) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _guarded(send: Send) -> Send:
    """Adds the headers that every page has."""

    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                *((name.encode(), value.encode()) for name, value in _HEADERS.items()),
            ]
        await send(message)

    return send_guarded
