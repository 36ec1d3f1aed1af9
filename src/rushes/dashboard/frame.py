"""What all pages share: the bar with the way to the others, the colours, the sign-out."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from rushes.dashboard.live import LiveHtml, watch_visibility
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.sign_in import STYLESHEET, logo

THEME_COOKIE: Final = "rushes_theme"
_THEMES: Final = {"system": None, "light": False, "dark": True}
_NEXT_THEME: Final = {"system": "light", "light": "dark", "dark": "system"}

_SESSION_CHECK_SECONDS: Final = 30.0

_ICONS: Final = {
    "Overview": '<path d="M3 13h8V3H3zm0 8h8v-6H3zm10 0h8V11h-8zm0-18v6h8V3z"/>',
    "Batches": '<path d="M4 6h16v2.4H4zm0 4.8h16v2.4H4zm0 4.8h10V18H4z"/>',
    "Accounts": '<path d="M3 6h18v13H3zm2 2v2h14V8zm0 5v4h14v-4zm2 1h4v2H7z"/>',
    "Workers": '<path d="M4 4h16v7H4zm0 9h16v7H4zm3-6.600v2.200h2.200V6.400zm0 9v2.200h2.200v-2.200z"/>',
    "Deliveries": '<path d="M2.500 20.500 22 12 2.500 3.500v6.600L16 12 2.500 13.900z"/>',
}
_PATHS: Final = {
    "Overview": "/",
    "Batches": "/batches",
    "Accounts": "/accounts",
    "Workers": "/workers",
    "Deliveries": "/deliveries",
}


@contextlib.contextmanager
def page_frame(parts: DashboardParts, request: Request, title: str, *, section: str) -> Iterator[str]:
    """A page's frame; within it, its content. Gives the path under which the dashboard is mounted."""
    root: str = request.scope.get("root_path", "")
    theme = request.cookies.get(THEME_COOKIE, "system")
    theme = theme if theme in _THEMES else "system"
    ui.page_title(f"{title} · rushes")
    ui.add_css(STYLESHEET.read_text())
    ui.query("html").props("lang=en")
    ui.query("body").classes("rushes")
    dark = ui.dark_mode(_THEMES[theme])
    watch_visibility()
    _leave_when_the_session_ends(parts, request)
    state = {"theme": theme}

    async def change_theme(_arguments: dict[str, Any]) -> None:
        state["theme"] = chosen = _NEXT_THEME[state["theme"]]
        dark.value = _THEMES[chosen]
        ui.run_javascript(
            f"document.cookie = '{THEME_COOKIE}={chosen}; path={root or '/'}; max-age=31536000; samesite=lax'"
        )
        bar.show(_bar(root, section, chosen))

    bar = LiveHtml({"theme": change_theme})
    bar.show(_bar(root, section, theme))
    # the landmark <main> is Quasar's, around it
    with ui.element("div").classes("page").props("id=main tabindex=-1"):
        yield root


def _leave_when_the_session_ends(parts: DashboardParts, request: Request) -> None:
    ends_at_ms: int | None = request.scope.get("rushes_session_ends_at_ms")

    def check() -> None:
        if ends_at_ms is not None and parts.now_ms() >= ends_at_ms:
            ui.navigate.reload()  # the gate asks to sign in, and leads back here

    ui.timer(_SESSION_CHECK_SECONDS, check, immediate=False)


def _bar(root: str, section: str, theme: str) -> Markup:
    links = [
        tag(
            "a",
            Markup(f'<svg viewBox="0 0 24 24" aria-hidden="true">{_ICONS[name]}</svg>'),
            tag("span", name),
            href=f"{root}{path}",
            aria_current="page" if name == section else None,
        )
        for name, path in _PATHS.items()
    ]
    return joined(
        tag("a", "Skip to content", href="#main", class_="skip"),
        tag(
            "header",
            tag("a", logo(), href=f"{root}/", class_="home", aria_label="rushes: overview"),
            tag("nav", links, aria_label="Pages"),
            tag(
                "div",
                tag(
                    "button",
                    f"Theme: {theme}",
                    type="button",
                    class_="button quiet",
                    data_act="theme",
                ),
                tag(
                    "form",
                    tag("button", "Sign out", type="submit", class_="button quiet"),
                    method="post",
                    action=f"{root}/sign-out",
                ),
                class_="bar-end",
            ),
            class_="bar",
        ),
    )
