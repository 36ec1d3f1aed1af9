"""What the codes of the database are called, for people; and what an act changed, in one line."""

from collections.abc import Mapping
from typing import Any

from rushes.dashboard.words import tr
from rushes.domain.acceptance.verdicts import Verdict


def file_word(state: str) -> str:
    """Where the file of a success stands."""
    match state:
        case "due":
            return tr("to be fetched")
        case "stored":
            return tr("stored")
        case "expired":
            return tr("lost: its link ended")
        case "refused":
            return tr("refused")
        case "removed":
            return tr("removed")
        case _:
            return state


def verdict_word(verdict: str) -> str:
    """Whether a clip is good enough."""
    match verdict:
        case Verdict.ACCEPTED:
            return tr("good")
        case Verdict.REJECTED:
            return tr("bad")
        case Verdict.UNDECIDED:
            return tr("undecided")
        case _:
            return verdict


def note_words(note: str) -> str:
    """What is to be known of a model; an own catalogue's notes stay as they are."""
    match note:
        case "a public list calls it deprecated since 2026-11-17":
            return tr("a public list calls it deprecated since 2026-11-17")
        case "closed at OpenAI, sold by Grsai":
            return tr("closed at OpenAI, sold by Grsai")
        case "closed at OpenAI: needs another server of its API":
            return tr("closed at OpenAI: needs another server of its API")
        case _:
            return note


def source_word(source: str) -> str:
    """Where a setting comes from."""
    match source:
        case "environment":
            return tr("environment")
        case "default":
            return tr("default")
        case _:
            return source


def facts_words(facts: Mapping[str, Any]) -> str:
    """What an act changed: `amount 5,000 · kind permanent`; what is not set is left out."""
    return " · ".join(
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in facts.items()
        if value is not None and value != "" and value != []
    )


def _value(value: Any) -> str:
    match value:
        case bool():
            return tr("yes") if value else tr("no")
        case int():
            return f"{value:,}"
        case list():
            return ", ".join(_value(one) for one in value)
        case dict():
            return facts_words(value)
        case _:
            return str(value)
