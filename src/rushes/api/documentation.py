"""The interactive documentation at /docs: Swagger UI over /openapi.json, with all its files from here."""

from html import escape
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

DOCUMENTATION_PATH: Final = "/docs"
FILES_PATH: Final = "/docs/files"


def add_documentation(app: FastAPI, *, notice: str | None) -> None:
    """The page and its files; `notice` is what whoever reads it first must know, in one sentence."""

    async def page(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        shown = get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title}: HTTP API",
            swagger_js_url=f"{root}{FILES_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{FILES_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{root}{FILES_PATH}/favicon-32x32.png",
            swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
        )
        text = bytes(shown.body).decode()
        if notice is not None:
            box = "margin:0;padding:12px 20px;background:#fff3cd;color:#3d2f00;font:16px/1.5 sans-serif"
            text = text.replace("<body>", f'<body><p role="status" style="{box}">{escape(notice)}</p>', 1)
        return HTMLResponse(text)

    app.add_route(DOCUMENTATION_PATH, page, methods=["GET"], include_in_schema=False)
    app.mount(FILES_PATH, StaticFiles(packages=[("fastapi_swagger", "resources")]))
