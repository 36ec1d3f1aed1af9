"""Plain modern English in the code's words, the pages and the messages; and one item is "1 item"."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rushes.domain.notation import counted

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rushes"
BANNED = {
    r"\bshall\b": "will, must or should",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\btold\b": "reported, sent, given; told apart: distinguished",
    r"\bin vain\b": "without success",
    r"\bfor ever\b": "permanently, indefinitely",
    r"\b(go|goes|went|going|gone) on (with|where)\b": "resume, continue",
    r"\b(becomes?|became) of\b": "the outcome of",
    r"\bkeeps? house\b": "clean up",
    r"\b(begin|begins|began|begun|beginning)\b": "start",
    r"\bso (many|much)\b": "the number's name",
    r"\bof no use\b": "no longer valid",
    r"\bas things stand\b": "in this state",
    r"\btried again\b": "retried",
    r"\b(of before|pays anew)\b": "previous; is charged again",
    r"\bfaults to order\b": "configurable faults",
}
ALLOWED = {
    r"\bbegin_(snapshot|body)\b|\bengine\.begin\(\)": "names of functions, ours and SQLAlchemy's",
    r'"begin"': "SQLAlchemy's event",
    r"\" ?BEGIN\b.*?\"": "SQL",
}
COUNTED_BY_HAND = re.compile(
    r"(?<!_MAX)\} (days|tries|items|tasks|files|videos|batches|credits|prompts|models|polls|problems"
    r"|entries|deliveries)\b"
)


def _source_files() -> list[Path]:
    # a change of the schema is never edited again
    return [path for path in sorted(SOURCE.rglob("*.py")) if "versions" not in path.parts]


def _pages() -> list[Path]:
    made = ROOT / "docs" / "reference"  # made from the code, which is read itself
    pages = [path for path in (ROOT / "docs").rglob("*.md") if made not in path.parents]
    return [ROOT / "README.md", ROOT / "Makefile", *sorted(pages)]


def _old_words(text: str) -> list[str]:
    # comment marks at the start of a line are no words: a phrase may go over the end of a line
    flat = re.sub(r"\s+", " ", re.sub(r"\n\s*#", "\n", text))
    for allowed in ALLOWED:
        flat = re.sub(allowed, "", flat)
    return [match[0] for banned in BANNED for match in re.finditer(banned, flat, re.IGNORECASE)]


def _counted_by_hand(source: str) -> list[int]:
    """The lines of f-strings that write a plural after a number themselves."""
    texts = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr))
    return [text.lineno for text in texts if COUNTED_BY_HAND.search(ast.unparse(text))]


def test_the_words_of_another_century_are_found() -> None:
    assert _old_words("It goes on\n    # where it stopped, for\never.") == ["for ever", "goes on where"]
    assert _old_words("begin_snapshot(connection); engine.begin(); it starts") == []
    assert _old_words("It begins.") == ["begins"]


@pytest.mark.parametrize("pages", [_source_files, _pages], ids=["src", "pages"])
def test_code_and_pages_are_in_plain_modern_english(pages: Callable[[], list[Path]]) -> None:
    found = {str(path.relative_to(ROOT)): _old_words(path.read_text()) for path in pages()}
    assert {path: words for path, words in found.items() if words} == {}


def test_what_is_unreleased_is_in_plain_modern_english() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    assert unreleased.startswith("[Unreleased]")
    assert _old_words(unreleased) == []


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 items"), (1, "1 item"), (2, "2 items"), (1000, "1000 items")]
)
def test_an_item_is_counted_in_the_right_number(count: int, text: str) -> None:
    assert counted(count, "item") == text
    assert counted(count, "batch", "batches").endswith("batch" if count == 1 else "batches")
    assert counted(12_345, "item", digits=",") == "12,345 items"


def test_the_command_line_and_the_dashboard_count_by_the_one_helper() -> None:
    assert _counted_by_hand("f'{n} items'") == [1]
    assert _counted_by_hand("f'must be 0 to {ITEMS_MAX} items'") == [], "a limit is never one"
    assert _counted_by_hand("f'{n} stored'\nf'{counted(n, \"item\")} left'") == []
    files = [path for room in ("cli", "dashboard") for path in (SOURCE / room).rglob("*.py")]
    found = {path.name: _counted_by_hand(path.read_text()) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}
