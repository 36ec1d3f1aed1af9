"""The document around every page: its head, the bar with the way to the others, and what was just done."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

from rushes.dashboard.browsers import FOLDER, SCRIPT, STYLES
from rushes.dashboard.look import THEMES
from rushes.dashboard.markup import Markup, joined, tag
from rushes.dashboard.visit import Page, Visit
from rushes.dashboard.words import LANGUAGES, Language, language, tr

_AGES: Final = re.compile(r"(<time [^>]*>)[^<]*")


SECTIONS: Final = {
    "overview": "/",
    "batches": "/batches",
    "accounts": "/accounts",
    "deliveries": "/deliveries",
    "system": "/system",
}
"""The pages that the bar leads to, by the name of their section."""

_ICONS: Final = {
    "overview": '<path d="M3 13h8V3H3zm0 8h8v-6H3zm10 0h8V11h-8zm0-18v6h8V3z"/>',
    "batches": '<path d="M4 6h16v2.4H4zm0 4.8h16v2.4H4zm0 4.8h10V18H4z"/>',
    "accounts": '<path d="M3 6h18v13H3zm2 2v2h14V8zm0 5v4h14v-4zm2 1h4v2H7z"/>',
    "deliveries": '<path d="M2.500 20.500 22 12 2.500 3.500v6.600L16 12 2.500 13.900z"/>',
    "system": '<path d="M4 4h16v7H4zm0 9h16v7H4zm3-6.600v2.200h2.200V6.400zm0 9v2.200h2.200v-2.200z"/>',
}


_FAVICON: Final = "data:image/svg+xml," + (FOLDER / "favicon.svg").read_text().strip().replace("#", "%23")


def section_word(section: str) -> str:
    """What the bar calls a section."""
    match section:
        case "overview":
            return tr("Overview")
        case "batches":
            return tr("Batches")
        case "accounts":
            return tr("Accounts")
        case "deliveries":
            return tr("Deliveries")
        case _:
            return tr("System")


def document(visit: Visit, page: Page) -> str:
    """The whole page as HTML."""
    main = tag(
        "main",
        *(part(name, content) for name, content in page.parts.items()),
        id="main",
        tabindex=-1,
        data_version=version_of(page.parts) if page.is_live else None,
    )
    body = tag(
        "body",
        tag("a", tr("Skip to content"), href="#main", class_="skip"),
        _bar(visit, page.section),
        tag("p", visit.said, class_="toast", role="status") if visit.said else None,
        main,
        tag("div", id="lost", class_="lost", role="status", hidden=True),
        tag("dialog", id="dialog", aria_labelledby="dialog-title"),
        data_words=json.dumps(_script_words(), ensure_ascii=False),
        data_root=visit.root,
        data_section=page.section,
    )
    return html_of(visit.root, page.title, body, spoken=visit.language, theme=visit.theme, with_script=True)


def html_of(
    root: str, title: str, body: Markup, *, spoken: Language, theme: str, with_script: bool = False
) -> str:
    """A document with the styles and, where there is something to do, the script."""
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark" if theme == "system" else theme),
        tag("title", f"{title} · rushes"),
        tag("link", rel="stylesheet", href=f"{root}/assets/{STYLES.name}"),
        tag("script", src=f"{root}/assets/{SCRIPT.name}", defer=True, fetchpriority="low")
        if with_script
        else None,
        tag("link", rel="icon", href=_FAVICON),
    )
    lang = "zh-CN" if spoken == "zh" else "en"
    whole = tag("html", tag("head", head), body, lang=lang, data_theme=theme)
    return f"<!doctype html>{whole}"


def part(name: str, content: Markup) -> Markup:
    """A part of a page, which the script changes in place when it is sent again."""
    return tag("div", content, data_part=name)


def version_of(parts: Mapping[str, Markup]) -> str:
    """The same as long as nothing that is shown changes; how long ago something was is not counted."""
    digest = hashlib.blake2b(digest_size=9)
    for name, content in parts.items():
        digest.update(f"{name}\0{without_ages(content)}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def without_ages(content: str) -> str:
    """The HTML without how long ago something was: the script counts that by itself."""
    return _AGES.sub(r"\1", content)


def _bar(visit: Visit, section: str) -> Markup:
    links = [
        tag(
            "a",
            Markup(f'<svg viewBox="0 0 24 24" aria-hidden="true">{_ICONS[name]}</svg>'),
            tag("span", section_word(name)),
            href=f"{visit.root}{path}",
            aria_current="page" if name == section else None,
        )
        for name, path in SECTIONS.items()
    ]
    return tag(
        "header",
        tag("a", logo(), href=f"{visit.root}/", aria_label=tr("rushes: overview")),
        tag("nav", links, aria_label=tr("Pages")),
        tag("div", _search(visit), _menu(visit), class_="bar-end"),
        class_="bar",
    )


def _search(visit: Visit) -> Markup:
    return tag(
        "form",
        tag(
            "input",
            type="search",
            name="search",
            id="search",
            placeholder=tr("Search"),
            aria_label=tr("Search batches, items and accounts"),
            maxlength=200,
            autocomplete="off",
        ),
        tag("kbd", "Ctrl K", aria_hidden="true"),
        method="get",
        action=f"{visit.root}/batches",
        role="search",
        class_="search",
    )


def _menu(visit: Visit) -> Markup:
    leave = tag(
        "form",
        tag("button", tr("Sign out"), type="submit", class_="button small"),
        method="post",
        action=f"{visit.root}/sign-out",
    )
    return look_menu(
        visit.session.operator, f"{visit.root}/look", theme=visit.theme, back=visit.address, leave=leave
    )


def look_menu(name: str, action: str, *, theme: str, back: str, leave: Markup) -> Markup:
    """Who is signed in; their theme and language; the way out. It works without the script."""
    look: dict[str, str] = {"method": "post", "action": action, "class_": "choices"}
    hidden = tag("input", type="hidden", name="back", value=back)
    return tag(
        "details",
        tag("summary", tag("span", name), class_="button quiet", aria_label=tr("Menu")),
        tag(
            "div",
            tag("form", tag("span", tr("Theme"), class_="muted"), _themes(theme), hidden, **look),
            tag("form", tag("span", tr("Language"), class_="muted"), _languages(), hidden, **look),
            leave,
            class_="menu",
        ),
        class_="who",
    )


def _themes(chosen: str) -> Markup:
    words = {"system": tr("System"), "light": tr("Light"), "dark": tr("Dark")}
    return joined(
        *(
            tag(
                "button",
                words[theme],
                type="submit",
                name="theme",
                value=theme,
                class_="button small",
                aria_pressed="true" if theme == chosen else "false",
            )
            for theme in THEMES
        )
    )


def _languages() -> Markup:
    return joined(
        *(
            tag(
                "button",
                word,
                type="submit",
                name="language",
                value=name,
                lang="zh-CN" if name == "zh" else "en",
                class_="button small",
                aria_pressed="true" if name == language() else "false",
            )
            for name, word in LANGUAGES.items()
        )
    )


def _script_words() -> dict[str, str]:
    """What the script says by itself."""
    return {
        "lost": tr("No answer from the server. What you see is {age} old."),
        "trouble": tr("The database does not answer. What you see is {age} old."),
        "failed": tr("That did not reach the server: nothing was done. Try again when it answers."),
        "copied": tr("Copied"),
        "close": tr("Close"),
        "ago": tr("{age} ago"),
        "in": tr("in {age}"),
        "s": tr("{n} s"),
        "min": tr("{n} min"),
        "h": tr("{n} h"),
        "d": tr("{n} d"),
        "selected": tr("{n} selected"),
    }


def logo() -> Markup:
    """The mark: a frame of film, and the name."""
    holes = "".join(
        f'<rect x="{x}" y="{y}" width="3" height="3" rx=".8" fill="currentColor" opacity=".55"/>'
        for x in (3, 18)
        for y in (3.5, 10.5, 17.5)
    )
    picture = (
        '<svg class="mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">'
        '<rect x="1" y="1" width="22" height="22" rx="5" fill="currentColor" opacity=".16"/>'
        f'{holes}<path d="M9.4 7.6v8.8l7-4.4z" fill="currentColor"/></svg>'
    )
    return tag("span", Markup(picture), tag("span", "rushes", class_="wordmark"), class_="logo")
