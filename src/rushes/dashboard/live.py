"""A part of a page that stays up to date: HTML from a function, asked for again every few seconds.

While the page's tab is hidden nothing is asked for.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from nicegui import events, ui

from rushes.dashboard.markup import Markup, joined, tag
from rushes.domain.errors import RushesError, StoreError

REFRESH_SECONDS: Final = 2.0

Act: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

_WATCH_VISIBILITY: Final = (
    "<script>document.addEventListener('visibilitychange',"
    " () => emitEvent('rushes_visible', {visible: !document.hidden}))</script>"
)


_FOCUS_BACK: Final = (
    "(window.rushesOpener?.isConnected ? window.rushesOpener : document.getElementById('main')).focus()"
)


class LiveHtml(ui.element, component="live_html.js"):
    """The browser's side, see the script: HTML that is changed in place."""

    def __init__(self, acts: Mapping[str, Act]) -> None:
        super().__init__()
        self._acts = acts
        self._props["html"] = ""
        self.on("act", self._on_act)

    def show(self, html: Markup) -> None:
        """Show this from now on; nothing is sent when nothing changed."""
        if html != self._props["html"]:
            self._props["html"] = html
            self.update()

    async def _on_act(self, event: events.GenericEventArguments) -> None:
        arguments = event.args if isinstance(event.args, dict) else {}
        act = self._acts.get(str(arguments.get("act")))
        if act is None:
            return
        try:
            await act(arguments)
        except RushesError as error:
            ui.notify(error.message, type="negative", position="top", close_button="Close")


class Live:
    """One part of a page. `render()` gives its HTML; `acts` are what its buttons and forms do."""

    def __init__(
        self, render: Callable[[], Awaitable[Markup]], acts: Mapping[str, Act] | None = None
    ) -> None:
        self._render = render
        self._shown: Markup = Markup()
        self._element = LiveHtml(acts or {})
        self._timer = ui.timer(REFRESH_SECONDS, self.refresh, immediate=False)
        ui.on("rushes_visible", self._on_visible)

    async def refresh(self) -> None:
        """Look again now."""
        try:
            self._shown = await self._render()
            self._element.show(self._shown)
        except StoreError as error:
            said = tag("p", f"{error.message}. Trying again …", class_="banner bad", role="alert")
            self._element.show(joined(said, self._shown))

    async def _on_visible(self, event: events.GenericEventArguments) -> None:
        is_visible = bool(event.args.get("visible", True)) if isinstance(event.args, dict) else True
        self._timer.active = is_visible
        if is_visible:
            await self.refresh()


def watch_visibility() -> None:
    """Let this page tell when its tab is hidden and shown."""
    ui.add_body_html(_WATCH_VISIBILITY)


async def confirmed(title: str, text: str, *, action: str, is_harmful: bool = False) -> bool:
    """Ask before something is done."""
    dialog, card = named_dialog(title)
    with card:
        ui.label(text).classes("muted")
        with ui.row().classes("dialog-actions"):
            dialog_button("Keep as it is", lambda: dialog.submit(False)).props("autofocus")
            dialog_button(
                action,
                lambda: dialog.submit(True),
                class_="button danger" if is_harmful else "button primary",
            )
    return bool(await answer_of(dialog))


def dialog_button(text: str, act: Callable[[], object], *, class_: str = "button") -> ui.html:
    """A button as on the pages: of Quasar's own one cannot see that it has the focus."""
    return ui.html(tag("span", text), tag="button", sanitize=False).classes(class_).on("click", act)


async def answer_of(dialog: ui.dialog) -> object:
    """Show it until it is closed; the keyboard's focus then goes back to what opened it."""
    answer: object = await dialog
    if not dialog.is_deleted:  # as it is when its page was left meanwhile
        dialog.delete()
        ui.run_javascript(_FOCUS_BACK)
    return answer


def named_dialog(title: str, class_: str = "dialog") -> tuple[ui.dialog, ui.card]:
    """A dialog with its heading, and the card for its content."""
    with ui.dialog() as dialog, ui.card().classes(class_) as card:
        ui.label(title).classes("dialog-title")
    dialog.props["aria-label"] = title
    return dialog, card


def said(text: str) -> None:
    """Tell that something was done."""
    ui.notify(text, type="positive", position="top")
