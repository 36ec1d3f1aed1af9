"""How somebody wants to see the pages: theme and language, kept in a cookie of their browser each."""

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from rushes.dashboard.browsers import keep_cookie
from rushes.dashboard.words import LANGUAGES, Language, best_language

THEMES: Final = ("system", "light", "dark")
THEME_COOKIE: Final = "rushes_theme"
LANGUAGE_COOKIE: Final = "rushes_language"
YEAR_SECONDS: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class Look:
    """A theme of `THEMES` and a language."""

    theme: str
    language: Language


def look_of(request: Request) -> Look:
    """What the browser's cookies say; the language else as the browser asks for it."""
    theme = request.cookies.get(THEME_COOKIE, "system")
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    language: Language = best_language(request.headers.get("accept-language", ""))
    for name in LANGUAGES:
        if name == chosen:
            language = name
    return Look(theme if theme in THEMES else "system", language)


def keep_look(answer: Response, request: Request, *, theme: str, language: str, base_url: str | None) -> None:
    """Store what was chosen, where it is one of the choices."""
    for cookie, value, choices in (
        (THEME_COOKIE, theme, THEMES),
        (LANGUAGE_COOKIE, language, tuple(LANGUAGES)),
    ):
        if value in choices:
            keep_cookie(answer, cookie, value, seconds=YEAR_SECONDS, request=request, base_url=base_url)
