"""The page that one sees before signing in: plain HTML, without a script."""

from pathlib import Path
from typing import Final

from rushes.dashboard.markup import Markup, joined, tag

STYLESHEET: Final = Path(__file__).with_name("dashboard.css")


def sign_in_page(root: str, *, action: str, error: str | None = None) -> str:
    """The form, which is sent to `action`, with what was wrong with the last try."""
    form = tag(
        "form",
        tag("div", logo(), class_="sign-in-logo"),
        tag("h1", "Sign in"),
        tag("p", "Enter the operator's secret of this installation.", class_="muted"),
        tag("label", "Operator secret", for_="secret"),
        tag(
            "input",
            id="secret",
            name="secret",
            type="password",
            autocomplete="current-password",
            required=True,
            autofocus=True,
            aria_describedby="problem" if error else None,
        ),
        tag("p", error, id="problem", class_="problem", role="alert") if error else None,
        tag("button", "Sign in", type="submit", class_="button primary wide"),
        method="post",
        action=action,
        class_="card sign-in",
    )
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "Sign in · rushes"),
        tag("link", rel="stylesheet", href=f"{root}/sign-in.css"),
        tag("link", rel="icon", href="data:,"),
    )
    body = tag("body", tag("main", form, class_="sign-in-page"), class_="rushes system-theme")
    return f"<!doctype html>{tag('html', tag('head', head), body, lang='en')}"


def logo() -> Markup:
    """The mark: a frame of film, and the name."""
    holes = "".join(
        f'<rect x="{x}" y="{y}" width="3" height="3" rx=".8" fill="currentColor" opacity=".55"/>'
        for x in (3, 18)
        for y in (3.5, 10.5, 17.5)
    )
    picture = (
        '<svg class="mark" viewBox="0 0 24 24" width="26" height="26" aria-hidden="true">'
        '<rect x="1" y="1" width="22" height="22" rx="5" fill="currentColor" opacity=".16"/>'
        f'{holes}<path d="M9.4 7.6v8.8l7-4.4z" fill="currentColor"/></svg>'
    )
    return tag("span", Markup(picture), tag("span", "rushes", class_="wordmark"), class_="logo")
