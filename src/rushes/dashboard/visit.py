"""What a page is made from, and what it is: a `Visit` goes in, a `Page` comes out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from urllib.parse import urlencode

from rushes.dashboard.markup import Markup
from rushes.dashboard.parts import DashboardParts
from rushes.dashboard.session import Role, Session
from rushes.dashboard.words import Language
from rushes.store.action_log import Actor

NUMBER_DIGITS_MAX: Final = 18
PLACE: Final = "dashboard"
"""Where operators act from here, in the log of actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request for a page by somebody who is signed in.

    `root` is the path under which the dashboard is mounted, `path` the page's below it; `names` are what the
    page's address names, such as a batch's id. `form_token` is of the form that was sent, until it has done
    something.
    """

    parts: DashboardParts
    session: Session
    root: str
    path: str
    query: Mapping[str, str]
    names: Mapping[str, str]
    language: Language
    theme: str
    now_ms: int
    said: str | None = None
    dismissed: Mapping[str, int] = field(default_factory=dict)
    filters: Mapping[str, str] = field(default_factory=dict)
    form_token: str = ""
    is_from_script: bool = False

    def at(self, now_ms: int) -> "Visit":
        """The same visit at a later time."""
        return replace(self, now_ms=now_ms, said=None)

    @property
    def address(self) -> str:
        """The page's path below the root, with its query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def actor(self) -> Actor:
        """Who visits, for the log of actions."""
        return Actor(self.session.operator, PLACE)

    def may(self, role: Role) -> bool:
        """Whether who visits may do what takes this role."""
        return self.session.may(role)

    def text(self, name: str, *, characters_max: int = 200) -> str | None:
        """A parameter of the query, without spaces around it; None when it is empty."""
        return self.query.get(name, "")[:characters_max].strip() or None

    def number(self, name: str, default: int, *, low: int = 1, high: int = 10**9) -> int:
        """A whole number of the query; the default for what is none."""
        found = self.query.get(name, "")
        if not (found.isascii() and found.isdigit() and len(found) <= NUMBER_DIGITS_MAX):
            return default
        return min(max(low, int(found)), high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: its parts, by name and in order. Those that change are sent again by themselves.

    One that `is_fragment` is sent without the document around it. `fragments` are parts within the parts:
    what a form that is being filled in gets as an answer.
    """

    title: str
    section: str
    parts: Mapping[str, Markup]
    status: int = 200
    is_live: bool = True
    is_fragment: bool = False
    fragments: Mapping[str, Markup] = field(default_factory=dict)


Show: TypeAlias = Callable[[Visit], Awaitable[Page]]
