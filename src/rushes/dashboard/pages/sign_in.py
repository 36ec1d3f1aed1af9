"""The page that one sees before signing in: plain HTML, without a script."""

from rushes.dashboard.frame import html_of, logo
from rushes.dashboard.look import Look
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.words import speaking, tr


def sign_in_page(
    root: str,
    *,
    action: str,
    look: Look,
    asks_name: bool = False,
    is_wrong: bool = False,
    is_slow: bool = False,
) -> str:
    """The form, which is sent to `action`, with what was wrong with the last try.

    With `asks_name` operators sign in with their names, else with the installation's one secret.
    """
    with speaking(look.language):
        wrong = tr("Name or secret is wrong.") if asks_name else tr("That is not the operator's secret.")
        error = wrong if is_wrong else None
        slow = " " + tr("Too many wrong ones came: answers are slow now.") if is_slow else ""
        form = tag(
            "form",
            tag("div", logo()),
            tag("h1", tr("Sign in")),
            tag(
                "p",
                tr("Enter your name and the secret that you were given.")
                if asks_name
                else tr("Enter the operator's secret of this installation."),
                class_="muted",
            ),
            _name_field() if asks_name else None,
            tag("label", tr("Operator secret"), for_="secret"),
            tag(
                "input",
                id="secret",
                name="secret",
                type="password",
                autocomplete="current-password",
                required=True,
                autofocus=not asks_name,
                aria_invalid="true" if error else None,
                aria_describedby="problem" if error else None,
            ),
            tag("p", f"{error}{slow}", id="problem", class_="problem", role="alert") if error else None,
            tag("button", tr("Sign in"), type="submit", class_="button primary wide"),
            method="post",
            action=action,
            class_="card sign-in",
        )
        body = tag("body", tag("main", form, class_="sign-in-page"))
        return html_of(root, tr("Sign in"), body, spoken=look.language, theme=look.theme)


def _name_field() -> Markup:
    return joined(
        tag("label", tr("Name"), for_="name"),
        tag("input", id="name", name="name", autocomplete="username", required=True, autofocus=True),
    )
