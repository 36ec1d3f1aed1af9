"""In front of every page: nobody passes without a session, and no other site's page acts in its name.

The gate is ASGI around all of /dashboard, NiceGUI's connection included, so no page can forget to ask.
"""

import asyncio
import re
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import SESSION_SECONDS, Brake, Sessions
from rushes.dashboard.sign_in import STYLESHEET, sign_in_page

COOKIE: Final = "rushes_session"
FORM_BYTES_MAX: Final = 4096
WANTED_CHARACTERS_MAX: Final = 1000
"""The longest address that signing in leads on to."""

_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~-._"
_LOCAL: Final = re.compile(r"/[A-Za-z0-9%/:@!$&'()*+,;=~._?-]*")

_HEADERS: Final = {
    # NiceGUI makes its components from templates in the browser, hence 'unsafe-eval'; videos are where the
    # provider keeps them
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: http: https:; media-src 'self' http: https:;"
    " font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Route:
    """What metrics call everything behind the gate: its paths hold batch ids."""

    path = "/dashboard"


class Gate:
    """Lets those with a session through to `pages`; signs in and out by itself."""

    def __init__(self, pages: ASGIApp, parts: DashboardParts) -> None:
        self._pages = pages
        self._parts = parts
        self._sessions = Sessions(parts.secret)
        self._brake = Brake()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = Route
        root: str = scope.get("root_path", "")
        path = scope["path"].removeprefix(root) or "/"
        headers = Headers(scope=scope)
        expires_at_ms = self._sessions.expiry_ms(
            cookie_parser(headers.get("cookie", "")).get(COOKIE), now_ms=self._parts.now_ms()
        )
        if scope["type"] == "websocket":
            if expires_at_ms is None or not self._is_own(headers):
                await send({"type": "websocket.close", "code": 1008})
                return
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive, path, headers, signed_in=expires_at_ms is not None)
            if answer is not None:
                answer.headers.update(_HEADERS)
                await answer(scope, receive, send)
                return
        # a copy: what the pages' own router writes into it is not for the metrics
        await self._pages({**scope, "rushes_session_ends_at_ms": expires_at_ms}, receive, _guarded(send))

    async def _answer(
        self, scope: Scope, receive: Receive, path: str, headers: Headers, *, signed_in: bool
    ) -> Response | None:
        """The gate's own answer; None for what goes on to the pages."""
        root: str = scope.get("root_path", "")
        if scope["method"] not in ("GET", "HEAD") and not self._is_own(headers):
            return PlainTextResponse("this request came from another site's page", 403)
        match path.rstrip("/"):
            case "/sign-in.css":
                return FileResponse(STYLESHEET, media_type="text/css")
            case "/sign-in":
                request = Request(scope, receive)
                wanted = local_page(request.query_params.get("next", ""))
                return await self._sign_in(request, root, wanted, signed_in=signed_in)
            case "/sign-out" if scope["method"] == "POST":
                answer = RedirectResponse(f"{root}/sign-in", 303)
                answer.delete_cookie(COOKIE, path=root or "/")
                return answer
        if signed_in:
            return None
        if path.startswith("/_nicegui"):
            return PlainTextResponse("sign in first", 401)
        return RedirectResponse(sign_in_url(root, _wanted_page(scope, path)), 303)

    async def _sign_in(self, request: Request, root: str, wanted: str, *, signed_in: bool) -> Response:
        """`wanted` is the page, below `root`, to go on to."""
        if request.method != "POST":
            if signed_in:
                return RedirectResponse(root + wanted, 303)
            return HTMLResponse(sign_in_page(root, action=sign_in_url(root, wanted)))
        address = request.client.host if request.client else ""
        now = asyncio.get_running_loop().time()
        wait_seconds = self._brake.wait_seconds(address, now)
        if wait_seconds > 0:
            seconds = int(wait_seconds) + 1
            return HTMLResponse(
                sign_in_page(
                    root,
                    action=sign_in_url(root, wanted),
                    error=f"Too many wrong secrets. Try again in {seconds} seconds.",
                ),
                429,
                headers={"retry-after": str(seconds)},
            )
        given = await _secret_of_form(request)
        if given is None or not self._sessions.is_secret(given):
            self._brake.failed(address, now)
            page = sign_in_page(
                root, action=sign_in_url(root, wanted), error="That is not the operator's secret."
            )
            return HTMLResponse(page, 403)
        self._brake.succeeded(address)
        answer = RedirectResponse(root + wanted, 303)
        answer.set_cookie(
            COOKIE,
            self._sessions.new_cookie(nonce=self._parts.new_nonce(), now_ms=self._parts.now_ms()),
            max_age=SESSION_SECONDS,
            path=root or "/",
            secure=request.url.scheme == "https" or (self._parts.base_url or "").startswith("https://"),
            httponly=True,
            samesite="lax",
        )
        return answer

    def _is_own(self, headers: Headers) -> bool:
        """Whether the request comes from one of our pages. Browsers always name the origin of a POST."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        own = {headers.get("host", "").lower()}
        if self._parts.base_url is not None:
            own.add(urlsplit(self._parts.base_url).netloc.lower())
        return urlsplit(origin).netloc.lower() in own


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


async def _secret_of_form(request: Request) -> str | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            return None
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=5).get("secret", [""])[0]
    except ValueError:
        return None


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
