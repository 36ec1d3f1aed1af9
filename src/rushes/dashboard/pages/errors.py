"""What is shown where there is no page, and when one could not be made."""

from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import tr


def not_found_page(visit: Visit, why: str, *, status: int = 404) -> Page:
    """There is nothing here, and why."""
    content = _message(visit, tr("Not found"), why)
    return Page(
        title=tr("Not found"),
        section=visit.path.split("/")[1],
        parts={"error": content},
        status=status,
        is_live=False,
    )


def trouble_page(visit: Visit, request_id: str, *, is_database: bool) -> Page:
    """The page could not be made; the request's id finds the reason in the log."""
    title = tr("The database does not answer") if is_database else tr("Something went wrong here")
    hint = tr("Nothing was lost. Load the page again in a moment.")
    found = tr("In the log: {request_id}", request_id=request_id)
    content = _message(visit, title, joined(tag("span", hint), " ", tag("span", found, class_="mono")))
    return Page(
        title=title,
        section=visit.path.split("/")[1],
        parts={"error": content},
        status=503 if is_database else 500,
        is_live=False,
    )


def _message(visit: Visit, title: str, text: Markup | str) -> Markup:
    again = tag("a", tr("Load again"), href=f"{visit.root}{visit.address}", class_="button")
    home = tag("a", tr("To the overview"), href=f"{visit.root}/", class_="button primary")
    return tag(
        "div",
        tag("h1", title),
        tag("p", text, class_="muted"),
        tag("div", again, home, class_="actions"),
        class_="card alone",
    )
