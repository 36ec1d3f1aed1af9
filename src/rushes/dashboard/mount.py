"""The dashboard as one ASGI application, for `rushes.service` to mount."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from rushes import telemetry
from rushes.dashboard.acting import (
    AGREED,
    ONCE,
    TOKEN_CHARACTERS_MAX,
    Act,
    Done,
    Form,
    FormPage,
    Question,
    SentTwice,
    page_of_act,
    question_form,
    storable,
)
from rushes.dashboard.browsers import FORM_BYTES_MAX, GZIP_BYTES_MIN, GZIP_LEVEL, form_fields, keep_cookie
from rushes.dashboard.downloads import download_routes
from rushes.dashboard.frame import document
from rushes.dashboard.gate import EVENTS, FROM_SCRIPT, Gate, local_page
from rushes.dashboard.look import keep_look, look_of
from rushes.dashboard.markup import tag
from rushes.dashboard.pages import (
    accounts,
    batches,
    deliveries,
    item,
    item_actions,
    saved_filters,
    selected_batches,
    system,
)
from rushes.dashboard.pages.batch import actions, credit_proof, events, failures, table, wall
from rushes.dashboard.pages.books import Prover
from rushes.dashboard.pages.errors import not_found_page, trouble_page
from rushes.dashboard.pages.new_batch import making, page
from rushes.dashboard.pages.new_batch.pictures import answer_upload
from rushes.dashboard.pages.overview import providers
from rushes.dashboard.pages.overview.inbox import read_dismissed, show_items, with_dismissed
from rushes.dashboard.pages.overview.page import Lookout, page_of
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import Role
from rushes.dashboard.stream import Streams
from rushes.dashboard.visit import Page, Show, Visit
from rushes.dashboard.words import speaking, tr
from rushes.domain.errors import InputError, NotFound, RushesError, StoreError

SAID_COOKIE: Final = "rushes_said"
SAID_SECONDS: Final = 60
DISMISSED_COOKIE: Final = "rushes_dismissed"
DISMISSED_SECONDS: Final = 7 * 86_400
SELECTED: Final = frozenset({"items", "batches"})
"""The parameters that name what was selected."""

NEW_BATCH_BYTES_MAX: Final = 48 * 1024 * 1024
"""Ten thousand prompts of some hundred characters, each of three bytes that a form writes as nine."""

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

log = telemetry.logger()


class Dashboard:
    """The pages behind their gate. It keeps nothing between requests that another process would need."""

    def __init__(self, parts: DashboardParts) -> None:
        self._parts = parts
        self._streams = Streams()
        pages = Starlette(
            routes=self._routes(),
            middleware=[Middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL)],
            exception_handlers={HTTPException: self._no_page},
        )
        self._gate = Gate(pages, parts)
        self.app: ASGIApp = self._gate

    def close(self) -> None:
        """End the streams of changes, so that the server can stop."""
        self._streams.close()

    def _routes(self) -> list[Route]:
        lookout = Lookout(self._parts)
        pages: dict[str, Show] = {
            "/": page_of(lookout),
            "/review/{kind}": show_items,
            "/batches": batches.show,
            "/batches/{batch_id}": wall.show,
            "/batches/{batch_id}/tiles": wall.show_tiles,
            "/batches/{batch_id}/table": table.show,
            "/batches/{batch_id}/failures": failures.show,
            "/batches/{batch_id}/credits": credit_proof.show,
            "/batches/{batch_id}/events": events.show,
            "/items/{item_id}": item.show,
            "/accounts": accounts.show,
            "/deliveries": deliveries.show,
            "/deliveries/{delivery_id}": deliveries.show_one,
            "/system": system.show,
        }
        form_pages = (new_batch_page(),)
        acts = (
            *actions.ACTS,
            *item_actions.ACTS,
            *accounts.ACTS,
            *deliveries.ACTS,
            *providers.ACTS,
            *selected_batches.ACTS,
            Prover(self._parts).act,
        )
        return [
            Route("/workers", _to_system),
            Route("/look", self._keep_look, methods=["POST"]),
            Route("/batches/new/upload", self._answering(self._keep_upload), methods=["POST"]),
            Route("/dismiss", self._dismiss, methods=["POST"]),
            Route("/filters", self._keep_filters, methods=["POST"]),
            *download_routes(self._parts, self._answering),
            *(Route(one.path, self._form_endpoint(one), methods=["GET", "POST"]) for one in form_pages),
            *(Route(act.path, self._act_endpoint(act), methods=["GET", "POST"]) for act in acts),
            *(Route(path, self._page_endpoint(show)) for path, show in pages.items()),
        ]

    # --- pages ------------------------------------------------------------------------------------------

    def _page_endpoint(self, show: Show) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = self._visit(request)
            if request.headers.get("accept") == EVENTS:
                return self._stream(request, visit, show)
            with speaking(visit.language):
                return _page_answer(visit, await _shown(show, visit))

        return self._answering(endpoint)

    def _answering(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint; what it raises becomes a page, and a defect also a line of the log."""

        async def answering(request: Request) -> Response:
            try:
                return await endpoint(request)
            except HTTPException:
                raise
            except Exception as error:
                return await self._failed(request, error)

        return answering

    def _stream(self, request: Request, visit: Visit, show: Show) -> Response:
        if self._streams.is_full:
            return Response(status_code=503, headers={"retry-after": "5"})

        async def found(again: Visit) -> Page:
            return await _shown(show, again)

        events = self._streams.of_page(
            visit,
            found,
            version=request.headers.get(FROM_SCRIPT, ""),
            session_now=request.scope["rushes_session_now"],
        )
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events, media_type=EVENTS, headers=headers)

    def _visit(self, request: Request) -> Visit:
        look = look_of(request)
        root: str = request.scope.get("root_path", "")
        said = request.cookies.get(SAID_COOKIE)
        return Visit(
            parts=self._parts,
            session=request.scope["rushes_session"],
            root=root,
            path=request.url.path.removeprefix(root) or "/",
            # what is checked several times is a list; the script writes it as one: 1,4,7-9
            query={
                storable(name): storable(
                    ",".join(request.query_params.getlist(name))
                    if name in SELECTED
                    else request.query_params[name]
                )
                for name in request.query_params
            },
            names={name: storable(text) for name, text in request.path_params.items()},
            language=look.language,
            theme=look.theme,
            now_ms=self._parts.now_ms(),
            said=None if said is None else unquote(said),
            dismissed=read_dismissed(request.cookies.get(DISMISSED_COOKIE)),
            filters=saved_filters.read_filters(request.cookies.get(saved_filters.COOKIE)),
            is_from_script=FROM_SCRIPT in request.headers,
        )

    async def _keep_upload(self, request: Request) -> Response:
        visit = self._visit(request)
        with speaking(visit.language):
            return await answer_upload(request, visit)

    # --- acts -------------------------------------------------------------------------------------------

    def _act_endpoint(self, act: Act) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = self._visit(request)
            with speaking(visit.language):
                if not visit.may(act.role):
                    return _refused(request, visit, act, tr("Your role may not do this"), 403)
                try:
                    if request.method != "POST":
                        return await _asked(request, visit, act, Form(visit.query), 200)
                    return await self._done(request, visit, act)
                except NotFound as error:
                    return _refused(request, visit, act, error.message, 404)

        return self._answering(endpoint)

    async def _done(self, request: Request, visit: Visit, act: Act) -> Response:
        values = await form_values(request)
        if values is None:
            return _refused(request, visit, act, tr("The form is too large."), 413)
        form = Form({**visit.query, **values})
        question = await act.ask(visit, form)
        if question.refusal is not None:
            return await _asked(request, visit, act, form, 409)
        problem = _problem(act, question, form)
        if problem is not None:
            return await _asked(request, visit, act, Form(form.values, {"": problem}), 409)
        try:
            done = await act.do(replace(visit, form_token=form.get(ONCE)[:TOKEN_CHARACTERS_MAX]), form)
        except SentTwice:
            said = tr("This form was sent before. It was done then, and not again.")
            done = Done(said, page_of_act(visit.path), is_warning=True)
        except InputError as error:
            errors = {error.field or "": error.message.removeprefix(f"{error.field}: ")}
            return await _asked(request, visit, act, Form(form.values, errors), 422)
        except (StoreError, NotFound):
            raise
        except RushesError as error:
            return await _asked(request, visit, act, Form(form.values, {"": error.message}), 409)
        return self._done_answer(request, visit, done)

    def _form_endpoint(self, form_page: FormPage) -> Endpoint:
        show = self._page_endpoint(form_page.show)

        async def endpoint(request: Request) -> Response:
            if request.method != "POST":
                return await show(request)
            visit = self._visit(request)
            with speaking(visit.language):
                if not visit.may(form_page.role):
                    return HTMLResponse(tr("Your role may not do this"), 403)
                values = await form_values(request, bytes_max=form_page.bytes_max)
                if values is None:
                    return HTMLResponse(tr("The form is too large."), 413)
                found = await form_page.answer(visit, Form(values))
                if isinstance(found, Done):
                    return self._done_answer(request, visit, found)
                if FROM_SCRIPT not in request.headers:
                    return _page_answer(visit, found)
                return Response(json.dumps({"parts": found.fragments}), media_type="application/json")

        return self._answering(endpoint)

    def _done_answer(self, request: Request, visit: Visit, done: Done) -> Response:
        if FROM_SCRIPT in request.headers:
            answer = {"said": done.said, "to": f"{visit.root}{done.to}", "is_warning": done.is_warning}
            return Response(json.dumps(answer), media_type="application/json")
        shown = RedirectResponse(f"{visit.root}{done.to}", 303)
        self._keep(shown, request, SAID_COOKIE, quote(done.said), seconds=SAID_SECONDS)
        return shown

    async def _keep_look(self, request: Request) -> Response:
        values = await form_values(request) or {}
        root: str = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}{local_page(values.get('back', ''))}", 303)
        keep_look(
            answer,
            request,
            theme=values.get("theme", ""),
            language=values.get("language", ""),
            base_url=self._parts.base_url,
        )
        return answer

    def _keep(self, answer: Response, request: Request, name: str, value: str, *, seconds: int) -> None:
        keep_cookie(answer, name, value, seconds=seconds, request=request, base_url=self._parts.base_url)

    async def _dismiss(self, request: Request) -> Response:
        """Hide an alert from this browser, until it is about more than it was."""
        values = await form_values(request) or {}
        root: str = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}/", 303)
        count = values.get("count", "")
        if values.get("key") and count.isascii() and count.isdigit() and len(count) < 12:
            known = read_dismissed(request.cookies.get(DISMISSED_COOKIE))
            kept = with_dismissed(known, values["key"], int(count))
            self._keep(answer, request, DISMISSED_COOKIE, kept, seconds=DISMISSED_SECONDS)
        return answer

    async def _keep_filters(self, request: Request) -> Response:
        """Save a filter of the list of batches in this browser, or forget one."""
        values = await form_values(request) or {}
        query = values.get("query", "")
        wanted = local_page(f"/batches?{query}" if query else "/batches")
        root: str = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}{wanted}", 303)
        known = saved_filters.read_filters(request.cookies.get(saved_filters.COOKIE))
        kept = saved_filters.changed(known, values if wanted != "/" else {})
        self._keep(answer, request, saved_filters.COOKIE, kept, seconds=saved_filters.COOKIE_SECONDS)
        return answer

    # --- what went wrong --------------------------------------------------------------------------------

    async def _no_page(self, request: Request, error: Exception) -> Response:
        visit = self._visit(request)
        status = error.status_code if isinstance(error, HTTPException) else 404
        with speaking(visit.language):
            return _page_answer(visit, not_found_page(visit, tr("There is no such page."), status=status))

    async def _failed(self, request: Request, error: Exception) -> Response:
        visit = self._visit(request)
        request_id = str(request.scope.get("rushes_request_id", ""))
        is_known = isinstance(error, StoreError)
        if is_known:
            log.error(telemetry.DATABASE_TROUBLE, request_id=request_id, error=str(error))
        else:
            log.error(telemetry.DASHBOARD_DEFECT, request_id=request_id, exc_info=error)
        with speaking(visit.language):
            return _page_answer(visit, trouble_page(visit, request_id, is_database=is_known))


async def _shown(show: Show, visit: Visit) -> Page:
    """The page, or the one that says that what it is about is not there."""
    try:
        return await show(visit)
    except NotFound as error:
        return not_found_page(visit, error.message)


def _page_answer(visit: Visit, shown: Page) -> Response:
    html = "".join(shown.parts.values()) if shown.is_fragment else document(visit, shown)
    answer = HTMLResponse(html, shown.status, headers={"cache-control": "no-store"})
    if visit.said is not None:
        answer.delete_cookie(SAID_COOKIE, path=visit.root or "/")
    return answer


def _problem(act: Act, question: Question, form: Form) -> str | None:
    """Why what the form asks for is not done yet."""
    if not question.is_complete or question.agreed != form.values.get(AGREED, ""):
        return tr("What is at stake has changed meanwhile. Nothing was done yet.")
    if act.with_token and not form.get(ONCE):
        return tr("The form was not whole. Nothing was done yet.")
    return None


async def _asked(request: Request, visit: Visit, act: Act, form: Form, status: int) -> Response:
    return _question_answer(request, visit, act, await act.ask(visit, form), form, status)


def _refused(request: Request, visit: Visit, act: Act, refusal: str, status: int) -> Response:
    question = Question(title=tr("This cannot be done"), action="", refusal=refusal)
    return _question_answer(request, visit, act, question, Form(), status)


def _question_answer(
    request: Request, visit: Visit, act: Act, question: Question, form: Form, status: int
) -> Response:
    if FROM_SCRIPT in request.headers:
        headers = {"cache-control": "no-store"}
        return HTMLResponse(question_form(visit, question, form), status, headers=headers)
    content = tag("div", question_form(visit, question, form, heading="h1"), class_="card alone")
    parts = {"question": content}
    alone = Page(title=question.title, section=act.section, parts=parts, status=status, is_live=False)
    return _page_answer(visit, alone)


async def form_values(request: Request, *, bytes_max: int = FORM_BYTES_MAX) -> dict[str, str] | None:
    """The last value of each field of a form, and all items that are selected; None for no such form."""
    fields = await form_fields(request, bytes_max=bytes_max)
    if fields is None:
        return None
    return {name: ",".join(found) if name in SELECTED else found[-1] for name, found in fields.items()}


def new_batch_page() -> FormPage:
    """The page of a new batch, whose form may hold ten thousand prompts."""
    return FormPage(
        "/batches/new", "batches", Role.OPERATOR, page.show, making.answer, bytes_max=NEW_BATCH_BYTES_MAX
    )


async def _to_system(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/system", 308)
