"""What pages do: each act asks first and says what is at stake, then does it, and is written down.

An act is asked about by GET and done by POST, with the script in a dialog, without it on a page of its own.
What was agreed to is sent along: when it is no longer what would be done, the act asks again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from rushes.dashboard.browsers import FORM_BYTES_MAX
from rushes.dashboard.markup import Child, Markup, tag
from rushes.dashboard.pieces import facts_list
from rushes.dashboard.session import Role
from rushes.dashboard.visit import Page, Show, Visit
from rushes.dashboard.words import tr
from rushes.store import action_log, operators

P = ParamSpec("P")
T = TypeVar("T")

AGREED: Final = "agreed"
"""The field with what was agreed to."""

ONCE: Final = "token"
"""The field that makes a form itself: sent again, it does nothing."""

TOKEN_CHARACTERS_MAX: Final = 64


def storable(text: str) -> str:
    """The text as every database can look for it: PostgreSQL takes no NUL, which no name has."""
    return text.replace("\0", "\N{SUBSTITUTE}")


@dataclass(frozen=True, slots=True)
class Form:
    """What was filled in, and what is wrong with it, by field; under "" what is wrong with all of it."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        """A field's text, without spaces around it."""
        return storable(self.values.get(name, "")).strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an act asks. `stakes` are lines of a name and a value; `agreed` is what must still hold when it
    is done. With a `refusal` nothing can be done, and it says why; one that is not `is_complete` waits for a
    choice among its fields."""

    title: str
    action: str
    stakes: Sequence[tuple[str, Child]] = ()
    note: Child = None
    fields: Child = None
    is_harmful: bool = False
    agreed: str = ""
    refusal: str | None = None
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in words, and the page below the root to see it on; a warning when it was not all."""

    said: str
    to: str
    is_warning: bool = False


Ask: TypeAlias = Callable[[Visit, Form], Awaitable[Question]]
Do: TypeAlias = Callable[[Visit, Form], Awaitable[Done]]


class SentTwice(Exception):
    """The form did something before."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done, at an address, by who has the role. What moves credits without the state of
    things refusing a second time takes only a form `with_token`."""

    path: str
    section: str
    role: Role
    ask: Ask
    do: Do
    with_token: bool = False


@dataclass(frozen=True, slots=True)
class FormPage:
    """A page with a form that is sent as often as one likes: it answers with the page, or with what was
    done. Only who has the role may send it."""

    path: str
    section: str
    role: Role
    show: Show
    answer: Callable[[Visit, Form], Awaitable[Page | Done]]
    bytes_max: int = FORM_BYTES_MAX


async def carry_out(
    visit: Visit,
    action: str,
    subject: str,
    facts: Mapping[str, Any] | Callable[[T], Mapping[str, Any] | None],
    function: Callable[Concatenate[Any, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """`function(connection, …)` as one transaction, which also writes into the log of actions who did what.

    `facts` are what the log keeps of it, or a function of the result that gives them: None where nothing was
    done. Raises `SentTwice` for a visit with a form that did something before.
    """

    def run(connection: Any) -> T:
        if visit.form_token and not operators.take_form(connection, visit.form_token, now_ms=visit.now_ms):
            raise SentTwice
        result = function(connection, *args, **kwargs)
        after = facts(result) if callable(facts) else facts
        if after is not None:
            action_log.record(connection, visit.actor, action, subject, after=after, now_ms=visit.now_ms)
        return result

    return await visit.parts.database.transact(run)


# --- how it looks ---------------------------------------------------------------------------------------


def question_form(visit: Visit, question: Question, form: Form, *, heading: str = "h2") -> Markup:
    """The question as a form that does what it asks about. The first button is the one that does nothing."""
    problem = form.errors.get("")
    keep = tag(
        "a",
        tr("Close") if question.refusal or not question.is_complete else tr("Keep as it is"),
        href=f"{visit.root}{page_of_act(visit.path)}",
        class_="button",
        data_close=True,
    )
    act = tag(
        "button",
        question.action,
        type="submit",
        class_="button danger" if question.is_harmful else "button primary",
        data_submit=True,
    )
    return tag(
        "form",
        tag(heading, question.title, id="dialog-title", class_="dialog-title"),
        tag("p", problem, class_="problem", role="alert") if problem else None,
        tag("p", question.refusal, class_="problem") if question.refusal else None,
        facts_list(question.stakes, "stakes") if question.stakes else None,
        question.fields,
        tag("p", question.note, class_="muted") if question.note else None,
        tag("input", type="hidden", name=AGREED, value=question.agreed) if question.agreed else None,
        tag("input", type="hidden", name=ONCE, value=visit.parts.new_nonce()),
        tag(
            "div",
            keep,
            act if question.is_complete and not question.refusal else None,
            class_="dialog-actions",
        ),
        method="post",
        action=f"{visit.root}{visit.address}",
        class_="question",
    )


def field_row(
    form: Form, name: str, label: str, *, hint: str | None = None, **attributes: str | int | bool | None
) -> Markup:
    """A field with its label, and what is wrong with it next to it."""
    error, identity = form.errors.get(name), f"field-{name}"
    described = f"{identity}-error" if error else f"{identity}-hint" if hint else None
    return tag(
        "div",
        tag("label", label, for_=identity),
        tag(
            "input",
            id=identity,
            name=name,
            value=form.get(name) or None,
            aria_invalid="true" if error else None,
            aria_describedby=described,
            **attributes,
        ),
        tag("p", error, id=f"{identity}-error", class_="field-error") if error else None,
        tag("p", hint, id=f"{identity}-hint", class_="hint") if hint and not error else None,
        class_="field",
    )


def reason_row(form: Form, name: str, *, characters_max: int, hint: str) -> Markup:
    """The field in which an act's reason must be given."""
    return field_row(
        form, name, tr("Reason"), required=True, maxlength=characters_max, autocomplete="off", hint=hint
    )


def act_link(
    visit: Visit,
    path: str,
    text: str,
    *,
    role: Role = Role.OPERATOR,
    label: str | None = None,
    class_: str = "button",
) -> Markup:
    """Leads to an act's question; for who may not do it, a button that is off and says why."""
    if not visit.may(role):
        why = tr("Your role may not do this")
        return tag("span", text, class_=class_, aria_disabled="true", title=why)
    return tag(
        "a",
        text,
        href=f"{visit.root}{path}",
        class_=class_,
        data_dialog=True,
        aria_label=label,
        role="button",
    )


def page_of_act(path: str) -> str:
    """The page that an act belongs to: its address without its last word."""
    return path.rpartition("/")[0] or "/"
